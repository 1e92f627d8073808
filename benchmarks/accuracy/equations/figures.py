"""Figures of the equation sets, for the documentation, from stores of their presets.

python -m benchmarks.accuracy.equations.figures STORE... --out FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh

from configs.style import SIGNED, VALUES, graticule, new_figure, picture_style, with_units
from data_prep.store.reader import Store

_TIMES = 3


def main() -> None:
    """Draw a figure of each store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("stores", nargs="+", type=Path, help="Stores of equation sets.")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"), help="Folder to write.")
    arguments = parser.parse_args()
    for path in arguments.stores:
        store = Store(path)
        out = arguments.out / f"equations_{path.stem}.png"
        if store.channel_names == ("hydraulic_head", "permeability"):
            draw_samples(out, store)
        else:
            draw_times(out, store)


@picture_style()
def draw_times(path: Path, store: Store) -> None:
    """Draw the first channel of the first test trajectory at some times."""
    index, last = int(store.split_indices("test")[0]), len(store.time) - 1
    steps = np.linspace(0, last, _TIMES).round().astype(int)
    fields = [store.state(index, int(step))[0].numpy() for step in steps]
    limit = max(float(np.abs(field).max()) for field in fields)
    figure = new_figure(4.0 * _TIMES, 2.6)
    axes = list(figure.subplots(1, _TIMES, sharey=True))
    for ax, field, step in zip(axes, fields, steps, strict=True):
        image = _map(ax, field, store, limit)
        hours = (store.time[step] - store.time[0]) / np.timedelta64(1, "h")
        ax.set_title(f"{hours:g} h")
    first = store.channels[0]
    figure.colorbar(image, ax=axes, label=with_units(first.long_name.lower(), first.units))
    figure.savefig(path, dpi=75)


@picture_style()
def draw_samples(path: Path, store: Store) -> None:
    """Draw the permeability and the head of the first test sample."""
    head, permeability = store.state(int(store.split_indices("test")[0]), 1).numpy()
    figure = new_figure(9.6, 2.6)
    left, right = figure.subplots(1, 2, sharey=True)
    images = _map(left, permeability, store), _map(right, head, store, float(np.abs(head).max()))
    for ax, image, name in zip((left, right), images, ("permeability", "hydraulic head"),
                               strict=True):  # fmt: skip
        figure.colorbar(image, ax=ax, label=name)
    figure.savefig(path, dpi=75)


def _map(axes: Axes, field: np.ndarray, store: Store, limit: float | None = None) -> QuadMesh:
    """Draw one map; a limit makes the colours symmetric about 0."""
    style = VALUES if limit is None else SIGNED
    image = axes.pcolormesh(
        store.grid.longitude,
        store.grid.latitude,
        field,
        cmap=style.colours,
        vmin=None if limit is None else -limit,
        vmax=limit,
        rasterized=True,
    )
    axes.set(xticks=range(0, 361, 90), yticks=range(-90, 91, 45), ylim=(-90, 90))
    graticule(axes, style)
    return image


if __name__ == "__main__":
    main()
