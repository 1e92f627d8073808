"""Figures of the shallow-water tests, for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from sphere_ops.grid import Grid

_BLUE, _RED = "#0b6e99", "#c1592b"


def draw_maps(
    path: Path, maps: Mapping[str, Tensor], grid: Grid, label: str, north_only: bool = False
) -> None:
    """Maps with one colour scale, one under the other or in two columns."""
    columns = 1 if len(maps) == 1 else 2
    rows = -(-len(maps) // columns)
    figure = _figure(5.2 * columns, (1.7 if north_only else 2.6) * rows + 0.4)
    axes = np.atleast_1d(figure.subplots(rows, columns)).flatten()
    every = np.stack([m.numpy() for m in maps.values()])
    signed = every.min() < 0
    limits = (-np.abs(every).max(), np.abs(every).max()) if signed else (every.min(), every.max())
    for ax, (title, field) in zip(axes, maps.items(), strict=False):
        image = ax.pcolormesh(
            grid.longitude.numpy(), grid.latitude.numpy(), field.numpy(),
            cmap="RdBu_r" if signed else "viridis",
            vmin=limits[0], vmax=limits[1], shading="nearest", rasterized=True,
        )  # fmt: skip
        ax.set(title=title, ylim=(10, 80) if north_only else (-90, 90))
        ax.title.set_fontsize(9)
    for ax in axes[len(maps) :]:
        ax.set_axis_off()
    figure.colorbar(image, ax=list(axes), label=label, shrink=0.8)
    figure.savefig(path, dpi=75)


def draw_mountain(
    path: Path,
    height: Tensor,
    difference: Tensor,
    grid: Grid,
    days: Sequence[int],
    errors: Sequence[float],
    reference: str,
) -> None:
    """Height on the last day, what T42 makes of it, and errors by day.

    Args:
        path: of the picture.
        height: of the surface in the reference, m, (nlat, nlon).
        difference: T42 less the reference, m, (nlat, nlon).
        grid: of both.
        days: of the errors.
        errors: relative l2 of the height on these days.
        reference: its name.
    """
    figure = _figure(12, 3.2)
    axes = figure.subplots(1, 3, width_ratios=(1.35, 1.35, 1))
    _map(figure, axes[0], height, grid, f"height of the surface (m), {reference}")
    _map(figure, axes[1], difference, grid, f"T42 less {reference} (m)")
    axes[2].semilogy(days, errors, "o-", color=_BLUE)
    axes[2].set(xlabel="day", ylabel=f"relative l2 of T42 against {reference}")
    figure.savefig(path, dpi=75)


def draw_convergence(path: Path, steps: Sequence[float], errors: Sequence[float]) -> None:
    """Error against the step, and the slope of fourth order."""
    figure = _figure(4.5, 3.4)
    ax = figure.add_subplot()
    ax.loglog(steps, errors, "o-", color=_BLUE, label="relative error of vorticity")
    ax.loglog(steps, [errors[0] * (s / steps[0]) ** 4 for s in steps], "--", color="#888888",
              label="fourth order")  # fmt: skip
    ax.set(xlabel="solver step (s)", ylabel="relative l2 after half a day")
    ax.set_xticks(steps, [f"{s:g}" for s in steps])
    ax.minorticks_off()
    ax.legend()
    figure.savefig(path, dpi=75)


def draw_series(path: Path, data: np.ndarray, year: int) -> None:
    """Energy, enstrophy, angular momentum and kinetic energies of a long run, (day, 6 or more)."""
    figure = _figure(8, 5)
    axes = figure.subplots(2, 2, sharex=True).flatten()
    days = np.arange(1, len(data) + 1)
    for ax, column, name in (
        (axes[0], 1, "total energy (m⁴ s⁻⁴)"),
        (axes[1], 2, "potential enstrophy (m⁻²)"),
        (axes[2], 3, "angular momentum (m⁴ s⁻³)"),
    ):
        ax.plot(days, data[:, column], color=_BLUE, lw=0.8)
        ax.set(ylabel=name)
    axes[3].plot(days, data[:, 4], color=_BLUE, lw=0.8, label="kinetic energy")
    axes[3].plot(days, data[:, 5], color=_RED, lw=0.8, label="of eddies")
    axes[3].set(ylabel="m² s⁻²")
    axes[3].legend()
    for ax in axes[2:]:
        ax.set(xlabel="day")
    for ax in axes:
        for edge in range(year, len(data), year):
            ax.axvline(edge, color="#cccccc", lw=0.6)
    figure.savefig(path, dpi=75)


def draw_climate(
    path: Path, vorticity: Tensor, height: Tensor, grid: Grid, spectra: Mapping[str, np.ndarray]
) -> None:
    """Vorticity and height of the last day, and spectra of kinetic energy."""
    figure = _figure(12, 3.2)
    axes = figure.subplots(1, 3, width_ratios=(1.35, 1.35, 1))
    _map(figure, axes[0], vorticity, grid, "vorticity (s⁻¹)")
    _map(figure, axes[1], height, grid, "height of the surface (m)")
    degree = np.arange(1, len(next(iter(spectra.values()))))
    for (name, values), colour in zip(spectra.items(), (_BLUE, _RED), strict=False):
        axes[2].loglog(degree, values[1:], color=colour, label=name)
    axes[2].set(xlabel="degree", ylabel="kinetic energy per degree (m² s⁻²)")
    axes[2].legend()
    figure.savefig(path, dpi=75)


def _map(figure: Figure, ax: Axes, field: Tensor, grid: Grid, label: str) -> None:
    """A map with a colour bar of its own, about 0 where the field has both signs."""
    low, high = float(field.min()), float(field.max())
    signed = low < 0 < high
    limits = (-max(-low, high), max(-low, high)) if signed else (low, high)
    image = ax.pcolormesh(
        grid.longitude.numpy(), grid.latitude.numpy(), field.numpy(),
        cmap="RdBu_r" if signed else "viridis",
        vmin=limits[0], vmax=limits[1], shading="nearest", rasterized=True,
    )  # fmt: skip
    figure.colorbar(image, ax=ax, label=label, shrink=0.85)
    ax.set(xticks=range(0, 361, 90), yticks=range(-90, 91, 45))


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
