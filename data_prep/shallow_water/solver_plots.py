"""Pictures of solver runs: the last state of a failed trajectory, and diagnostics."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from configs.style import (
    BLUE,
    RED,
    SIGNED,
    graticule,
    new_figure,
    numbers,
    picture_style,
    plain_log_ticks,
    power_of_ten,
    with_units,
)
from data_prep.shallow_water.diagnostics import INTEGRALS

_ROUNDING = float(np.finfo(np.float64).eps)  # range of the axis of a constant curve


@picture_style()
def draw_failure(path: Path, vorticity: NDArray[np.floating], title: str) -> None:
    """Draw a map of the vorticity of the last finite state.

    Args:
        path: Path of the picture.
        vorticity: Vorticity, s⁻¹, (nlat, nlon), north first.
        title: Case, seed and time.
    """
    figure = new_figure(8, 4.2)
    axes = figure.add_subplot()
    limit = float(np.nanmax(np.abs(vorticity))) or 1.0
    power = power_of_ten(limit)
    image = axes.imshow(
        vorticity,
        extent=(0, 360, -90, 90),
        aspect="auto",
        cmap=SIGNED.colours,
        vmin=-limit,
        vmax=limit,
    )
    axes.set(xlabel="longitude [°E]", ylabel="latitude [°N]", title=title)
    axes.set(xticks=range(0, 361, 60), yticks=range(-90, 91, 30))
    graticule(axes, SIGNED)
    label = with_units("relative vorticity", "s-1", power)
    figure.colorbar(image, label=label, format=numbers(power))
    figure.savefig(path, format="png")


@picture_style()
def draw_diagnostics(
    path: Path,
    days: NDArray[np.float64],
    values: NDArray[np.float64],
    spectrum: NDArray[np.float64],
    title: str,
) -> None:
    """Draw the change of each integral over time, and the spectrum at the start and the end.

    Args:
        path: Path of the picture.
        days: Days since the first time, (time,).
        values: Integrals, (trajectory, time, 4), see `diagnostics.INTEGRALS`; NaN if missing.
        spectrum: Kinetic energy by degree, m² s⁻², (trajectory, time, lmax).
        title: Title of the picture.
    """
    figure = new_figure(11, 6.6)
    figure.suptitle(title)
    *panels, last = figure.subplot_mosaic([[0, 1, 2], [3, 4, 4]]).values()
    for i, (axes, (long_name, _)) in enumerate(zip(panels, INTEGRALS.values(), strict=True)):
        _draw_change(axes, days, values[:, :, i])
        axes.set_title(fill(long_name, 36))
    degree = np.arange(spectrum.shape[-1])
    for when, colour in ((0, RED), (-1, BLUE)):
        mean = np.nanmean(spectrum[:, when], axis=0)
        shown = (degree > 0) & (mean > 0)
        last.loglog(degree[shown], mean[shown], color=colour, label=f"day {days[when]:.4g}")
    plain_log_ticks(last.xaxis)
    last.set(xlabel="spherical-harmonic degree", title="Kinetic energy, mean of the trajectories")
    last.set_ylabel(with_units("energy per degree", "m2 s-2"))
    last.legend()
    figure.savefig(path, format="png")


def _draw_change(axes: Axes, days: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    """Draw the relative change of an integral, (trajectory, time), since the first time."""
    start = values[:, :1]
    change = (values - start) / np.where(start == 0, 1.0, np.abs(start))
    shown = change[np.isfinite(change).any(axis=1)]
    curves = np.stack((np.broadcast_to(days, shown.shape), shown), axis=-1)
    # One artist for all lines: a thousand artists take seconds to lay out.
    lines = LineCollection(list(curves), colors=BLUE, alpha=max(0.1, 1 / len(values)), linewidths=1)
    axes.add_collection(lines)
    axes.autoscale()
    if not np.nan_to_num(shown).any():
        axes.set_ylim(-_ROUNDING, _ROUNDING)
    power = power_of_ten(float(np.abs(axes.get_ylim()).max()))
    axes.yaxis.set_major_formatter(numbers(power))
    axes.set(xlabel="time [days]", ylabel=with_units("relative change", "1", power))
