"""Zonal-mean sections: latitude and pressure, or latitude and lead time."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MultipleLocator, NullLocator
from numpy.typing import NDArray

from configs.style import INK, new_figure, picture_style
from configs.variables import variable as known_variable
from data_prep.store.outputs import check_output
from forecast.inference.reader import ForecastFile
from forecast.plotting.figure import SUFFIXES, save
from forecast.plotting.hovmoeller import Profile, colour_bars, default_box, draw_hovmoeller
from forecast.plotting.panels import Panel, make_panels
from forecast.plotting.places import Box, latitude_label
from forecast.plotting.selection import Selection, TrueFields, long_name

Array = NDArray[np.floating[Any]]

_COLOURS = 16  # steps of the colours between the limits


def plot_section(
    forecast: str | Path,
    variable: str,
    out: str | Path,
    *,
    lead: str | int | None = None,
    init: str | int | None = None,
    member: int | None = None,
    box: Box | None = None,
    truth: str | Path | None = None,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw zonal means of a variable: on all its pressure levels, or at all lead times.

    Args:
        forecast: Forecast file.
        variable: Short name without level, as "u" for u850, u500 and others, for latitude and
            pressure at one lead time. Any other name is drawn against latitude and lead time.
        out: Picture: `.png`, `.pdf` or `.svg`.
        lead: Lead time of latitude and pressure, as in `plot_map`; the last if None.
        init: Start of the forecast, as in `plot_map`.
        member: Number of a member; None for the mean over the members.
        box: Region over whose longitudes the means are taken; the sphere if None.
        truth: Store with the truth, which adds the truth and the error.
        limits: Limits of the colours of forecast and truth; from the values if None.

    Raises:
        ValueError: If variable, lead time, start or member are not in the file, or a lead time is
            given for a variable without levels.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If the output exists.
    """
    check_output(out, SUFFIXES)
    file = ForecastFile(forecast)
    selection = Selection.find(file, init, member)
    levels = levels_of(file, variable)
    if len(levels) < 2:
        file.check_variable(variable)
        if lead is not None:
            raise ValueError(
                f"{file.path} has {variable} on a single level, which is drawn at all lead times; "
                "leave out --lead"
            )
        figure = draw_hovmoeller(
            selection, variable, along="latitude", box=box, truth=truth, limits=limits
        )
    else:
        position = file.find_lead(lead)
        figure = draw_section(selection, variable, position, box=box, truth=truth, limits=limits)
    save(figure, out)


def levels_of(file: ForecastFile, base: str) -> dict[int, str]:
    """Return the names of the variables on the pressure levels of a name, from the top down.

    Args:
        file: Forecast file.
        base: Short name without level, as "u".

    Returns:
        Names by pressure in hPa; empty if there are none.
    """
    found = {}
    for name in (*file.channel_names, *file.derived_names):
        try:
            known = known_variable(name)
        except ValueError:  # a variable of the user's own
            continue
        if known.level is not None and known.base == base:
            found[known.level] = name
    return dict(sorted(found.items()))


@picture_style()
def draw_section(
    selection: Selection,
    variable: str,
    position: int,
    *,
    box: Box | None = None,
    truth: str | Path | None = None,
    limits: tuple[float, float] | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of zonal means on pressure levels.

    Args:
        selection: Forecast of an open file.
        variable: Short name without level.
        position: Position of the lead time.
        box: See `plot_section`.
        truth: See `plot_section`.
        limits: See `plot_section`.
        size: Width and height of the figure, inches.
    """
    file, levels = selection.file, levels_of(selection.file, variable)
    box = box or default_box(file.grid, "latitude")
    profile = Profile(file.grid, "latitude", box)
    stacks = {"Forecast": np.stack([selection.field(name, position) for name in levels.values()])}
    if truth is not None:
        stacks["Truth"] = TrueFields.open(selection, truth, *levels.values()).fields(position)
    fields = {title: profile.means(stack) for title, stack in stacks.items()}
    first = next(iter(levels.values()))
    panels = make_panels(file, first, fields, weights=profile.weights, limits=limits)
    name = _without_level(long_name(file, first))
    panels[:2] = [replace(panel, quantity=name) for panel in panels[:2]]
    n = len(panels)
    figure = new_figure(*(size or (max(4.6 * n, 6.4), 5.0)))
    grid_of_axes = figure.subplots(1, n, squeeze=False, sharex=True, sharey=True)[0]
    for axes, panel in zip(grid_of_axes, panels, strict=True):
        _draw(axes, panel, profile, np.array(list(levels)))
        if n > 1:
            axes.set_title(panel.title)
        axes.label_outer()
    colour_bars(figure, list(grid_of_axes), panels)
    region = f", {box.label}" if box.name or box.width < 360 else ""
    figure.suptitle(selection.title(f"{name}, zonal mean{region}", position))
    return figure


def _draw(axes: Axes, panel: Panel, profile: Profile, pressure: NDArray[np.int64]) -> None:
    """Draw filled contours and lines over latitude and the logarithm of pressure."""
    # The outermost rows continue to the poles, and a full profile leaves no gap there.
    latitude = np.concatenate([profile.edges[:1], profile.coordinate, profile.edges[-1:]])
    values = np.ma.masked_invalid(np.pad(panel.field, ((0, 0), (1, 1)), mode="edge"))
    levels = np.linspace(panel.low, panel.high, _COLOURS + 1)
    axes.contourf(latitude, pressure, values, levels, extend="both", **panel.colours)
    if values.count() and values.min() < values.max():
        lines: dict[str, Any] = {"colors": INK, "linewidths": 0.5, "alpha": 0.6}
        axes.contour(latitude, pressure, values, levels[1:-1:2], **lines)
    axes.set_yscale("log")
    axes.set_ylim(pressure[-1], pressure[0])
    axes.yaxis.set_major_locator(FixedLocator(list(_spaced(pressure))))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda level, _: f"{level:g}"))
    axes.set_ylabel("pressure [hPa]")
    axes.set_xlim(latitude[-1], latitude[0])
    width = latitude[0] - latitude[-1]
    axes.xaxis.set_major_locator(MultipleLocator(30 if width > 90 else 10))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda degrees, _: latitude_label(degrees)))
    axes.grid(False)


def _spaced(pressure: NDArray[np.int64]) -> list[int]:
    """Return the levels whose labels do not touch on a logarithmic axis, from the ground up."""
    least = np.log(pressure[-1] / pressure[0]) / 14
    chosen = [int(pressure[-1])]
    for level in pressure[-2::-1]:
        if np.log(chosen[-1] / level) >= least:
            chosen.append(int(level))
    return chosen


def _without_level(name: str) -> str:
    """Return a long name without its pressure: "Temperature" for "Temperature at 850 hPa"."""
    return re.sub(r",? (at )?\d+ hPa$", "", name)
