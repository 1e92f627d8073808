"""Figures of the shallow-water tests, for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from torch import Tensor

from configs.style import (
    BLUE,
    GREY,
    RED,
    SIGNED,
    VALUES,
    graticule,
    new_figure,
    numbers,
    picture_style,
    power_of_ten,
    with_units,
)
from sphere_ops.grid import Grid


@picture_style()
def draw_maps(
    path: Path,
    maps: Mapping[str, Tensor],
    grid: Grid,
    quantity: tuple[str, str],
    north_only: bool = False,
) -> None:
    """Draw maps with one colour scale, in one or two columns.

    Args:
        path: Path of the picture.
        maps: Titles, and fields (nlat, nlon).
        grid: Grid of the fields.
        quantity: Name and units of the fields.
        north_only: True to draw only latitudes from 10 to 80° N.
    """
    columns = 1 if len(maps) == 1 else 2
    rows = -(-len(maps) // columns)
    figure = new_figure(5.2 * columns, (1.7 if north_only else 2.6) * rows + 0.4)
    axes = np.atleast_1d(figure.subplots(rows, columns)).flatten()
    limits = _limits(torch.stack(list(maps.values())))
    for ax, (title, field) in zip(axes, maps.items(), strict=False):
        image = _mesh(ax, field, grid, limits)
        ax.set(title=title, ylim=(10, 80) if north_only else (-90, 90))
    for ax in axes[len(maps) :]:
        ax.set_axis_off()
    _colour_bar(figure, image, list(axes), *quantity)
    figure.savefig(path, dpi=75)


@picture_style()
def draw_mountain(
    path: Path,
    height: Tensor,
    difference: Tensor,
    grid: Grid,
    days: Sequence[int],
    errors: Sequence[float],
    reference: str,
) -> None:
    """Draw the height on the last day, the difference of T42 from it, and errors by day.

    Args:
        path: Path of the picture.
        height: Height of the surface in the reference, m, (nlat, nlon).
        difference: Height at T42 minus the reference, m, (nlat, nlon).
        grid: Grid of both.
        days: Days of the errors.
        errors: Relative l2 error of the height on these days.
        reference: Name of the reference.
    """
    figure = new_figure(12, 3.2)
    axes = figure.subplots(1, 3, width_ratios=(1.35, 1.35, 1))
    _map(figure, axes[0], height, grid, "height of the surface", "m", reference)
    _map(figure, axes[1], difference, grid, "difference of height", "m", f"T42 less {reference}")
    axes[2].semilogy(days, errors, "o-", color=BLUE)
    axes[2].set(xlabel="time [days]", ylabel=f"relative l2 of T42 against {reference}")
    figure.savefig(path, dpi=75)


@picture_style()
def draw_convergence(path: Path, steps: Sequence[float], errors: Sequence[float]) -> None:
    """Draw the error against the step, and the slope of fourth order."""
    figure = new_figure(4.5, 3.4)
    ax = figure.add_subplot()
    ax.loglog(steps, errors, "o-", color=BLUE, label="relative error of vorticity")
    ax.loglog(steps, [errors[0] * (s / steps[0]) ** 4 for s in steps], "--", color=GREY,
              label="fourth order")  # fmt: skip
    ax.set(xlabel="solver step [s]", ylabel="relative l2 after half a day")
    ax.set_xticks(steps, [f"{s:g}" for s in steps])
    ax.minorticks_off()
    ax.legend()
    figure.savefig(path, dpi=75)


@picture_style()
def draw_series(path: Path, data: np.ndarray, year: int) -> None:
    """Draw integrals and kinetic energies of a long run, (day, 6 or more)."""
    figure = new_figure(8, 5)
    axes = figure.subplots(2, 2, sharex=True).flatten()
    days = np.arange(1, len(data) + 1)
    for ax, column, name, units in (
        (axes[0], 1, "total energy", "m4 s-4"),
        (axes[1], 2, "potential enstrophy", "m-2"),
        (axes[2], 3, "angular momentum", "m4 s-3"),
    ):
        power = power_of_ten(float(np.abs(data[:, column]).max()))
        ax.plot(days, data[:, column], color=BLUE, lw=0.8)
        ax.set(ylabel=with_units(name, units, power))
        ax.yaxis.set_major_formatter(numbers(power))
    axes[3].plot(days, data[:, 4], color=BLUE, lw=0.8, label="kinetic energy")
    axes[3].plot(days, data[:, 5], color=RED, lw=0.8, label="of eddies")
    axes[3].set(ylabel=with_units("energy", "m2 s-2"))
    axes[3].legend()
    for ax in axes[2:]:
        ax.set(xlabel="time [days]")
    for ax in axes:
        for edge in range(year, len(data), year):
            ax.axvline(edge, color=GREY, lw=0.6)
    figure.savefig(path, dpi=75)


@picture_style()
def draw_climate(
    path: Path, vorticity: Tensor, height: Tensor, grid: Grid, spectra: Mapping[str, np.ndarray]
) -> None:
    """Draw vorticity and height of the last day, and spectra of kinetic energy."""
    figure = new_figure(12, 3.2)
    axes = figure.subplots(1, 3, width_ratios=(1.35, 1.35, 1))
    _map(figure, axes[0], vorticity, grid, "vorticity", "s-1")
    _map(figure, axes[1], height, grid, "height of the surface", "m")
    degree = np.arange(1, len(next(iter(spectra.values()))))
    for (name, values), colour in zip(spectra.items(), (BLUE, RED), strict=False):
        axes[2].loglog(degree, values[1:], color=colour, label=name)
    axes[2].set(xlabel="spherical-harmonic degree")
    axes[2].set_ylabel(with_units("kinetic energy per degree", "m2 s-2"))
    axes[2].legend()
    figure.savefig(path, dpi=75)


def _map(
    figure: Figure, ax: Axes, field: Tensor, grid: Grid, name: str, units: str, title: str = ""
) -> None:
    """Draw a map with a colour bar."""
    image = _mesh(ax, field, grid, _limits(field))
    _colour_bar(figure, image, [ax], name, units)
    ax.set(title=title)


def _limits(field: Tensor) -> tuple[float, float]:
    """Return limits of the colours, symmetric about 0 if the field has both signs."""
    low, high = float(field.min()), float(field.max())
    return (-max(-low, high), max(-low, high)) if low < 0 < high else (low, high)


def _mesh(ax: Axes, field: Tensor, grid: Grid, limits: tuple[float, float]) -> QuadMesh:
    style = SIGNED if limits[0] == -limits[1] else VALUES
    image = ax.pcolormesh(
        grid.longitude.numpy(), grid.latitude.numpy(), field.numpy(),
        cmap=style.colours, vmin=limits[0], vmax=limits[1], shading="nearest", rasterized=True,
    )  # fmt: skip
    ax.set(xticks=range(0, 361, 90), yticks=range(-90, 91, 45))
    graticule(ax, style)
    return image


def _colour_bar(
    figure: Figure, image: QuadMesh, axes: Sequence[Axes], name: str, units: str
) -> None:
    power = power_of_ten(float(np.abs(image.get_clim()).max()))
    label = with_units(name, units, power)
    figure.colorbar(image, ax=axes, label=label, format=numbers(power), shrink=0.85)
