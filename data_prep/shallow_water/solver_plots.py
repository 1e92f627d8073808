"""Pictures of solver runs: what a trajectory looked like before it failed, and diagnostics."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from data_prep.shallow_water.diagnostics import INTEGRALS


def draw_failure(path: Path, vorticity: NDArray[np.floating], title: str) -> None:
    """Map of the vorticity of the last state that was finite.

    Args:
        path: of the picture.
        vorticity: s⁻¹, (nlat, nlon), north first.
        title: case, seed and time.
    """
    figure = _figure(8, 4.2)
    axes = figure.add_subplot()
    limit = float(np.nanmax(np.abs(vorticity))) or 1.0
    image = axes.imshow(
        vorticity, extent=(0, 360, -90, 90), aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit
    )
    axes.set(xlabel="longitude (° E)", ylabel="latitude (° N)", title=title)
    figure.colorbar(image, label="relative vorticity (s⁻¹)")
    figure.savefig(path, dpi=100)


def draw_diagnostics(
    path: Path,
    days: NDArray[np.float64],
    values: NDArray[np.float64],
    spectrum: NDArray[np.float64],
    title: str,
) -> None:
    """Course of each integral, relative to its start, and the spectrum at the start and the end.

    Args:
        path: of the picture.
        days: since the first time, (time,).
        values: (trajectory, time, 4), see `diagnostics.INTEGRALS`; NaN where there is none.
        spectrum: kinetic energy by degree, m² s⁻², (trajectory, time, lmax).
        title: what was solved.
    """
    figure = _figure(11, 6, layout=None)  # an engine would draw everything once more
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.08, top=0.93, wspace=0.3, hspace=0.4)
    axes = figure.subplots(2, 3).flat
    for i, (long_name, _) in enumerate(INTEGRALS.values()):
        start = values[:, :1, i]
        change = (values[:, :, i] - start) / np.where(start == 0, 1.0, np.abs(start))
        shown = change[np.isfinite(change).any(axis=1)]
        curves = np.stack((np.broadcast_to(days, shown.shape), shown), axis=-1)
        alpha = max(0.1, 1 / len(values))
        # One artist for all: a thousand lines of their own would take seconds to lay out.
        axes[i].add_collection(
            LineCollection(list(curves), colors="#0b6e99", alpha=alpha, linewidths=1)
        )
        axes[i].autoscale()
        axes[i].set(xlabel="days", ylabel="relative change")
        axes[i].set_title(long_name, fontsize=9, pad=14)  # clear of the axis's power of ten
    degree = np.arange(spectrum.shape[-1])
    for when, colour in ((0, "#c1592b"), (-1, "#0b6e99")):
        mean = np.nanmean(spectrum[:, when], axis=0)
        shown = (degree > 0) & (mean > 0)
        axes[4].loglog(degree[shown], mean[shown], color=colour, label=f"day {days[when]:.4g}")
    axes[4].set(xlabel="degree", ylabel="m² s⁻² per degree")
    axes[4].set_title("Kinetic energy", fontsize=9, pad=14)
    axes[4].legend()
    axes[5].set_axis_off()
    axes[5].text(0, 0.95, title, va="top", wrap=True)
    figure.savefig(path, dpi=100)


def _figure(
    width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure
