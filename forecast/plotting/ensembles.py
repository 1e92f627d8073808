"""Maps of an ensemble: contours of its members, and its mean and spread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from configs.style import (
    CONTOURS,
    GRATICULE_ON_WHITE,
    INK,
    SPREAD,
    new_figure,
    picture_style,
    pretty_units,
)
from data_prep.store.outputs import check_output
from forecast.inference.reader import ForecastFile
from forecast.plotting.figure import SUFFIXES, colour_range, save
from forecast.plotting.maps import draw_panels, earth, map_name, map_size, map_weights
from forecast.plotting.panels import Panel, make_panels
from forecast.plotting.places import Box
from forecast.plotting.projections import PIXELS, MapView, map_view
from forecast.plotting.selection import Selection, TrueFields, units_of

Array = NDArray[np.floating[Any]]

_MOST_LEVELS = len(CONTOURS)
_CONTOUR_PIXELS = PIXELS // 3


def plot_spaghetti(
    forecast: str | Path,
    variable: str,
    out: str | Path,
    *,
    levels: Sequence[float] | None = None,
    lead: str | int | None = None,
    init: str | int | None = None,
    projection: str | None = None,
    truth: str | Path | None = None,
    centre: tuple[float, float] | None = None,
    box: Box | None = None,
    latitude_limit: float | None = None,
    coastlines: bool | None = None,
) -> None:
    """Draw contours of all members of an ensemble at one lead time, and of their mean.

    Args:
        forecast: Forecast file with members.
        variable: Short name of the variable.
        out: Picture: `.png`, `.pdf` or `.svg`.
        levels: Values of the contours, at most three; two round values if None.
        lead: Lead time, as in `plot_map`; the last if None.
        init: Start of the forecast, as in `plot_map`.
        projection: Map projection, as in `plot_map`.
        truth: Store with the truth, whose contours are added.
        centre: Middle of the map, as in `plot_map`.
        box: Region to show.
        latitude_limit: Distance from the equator of the edge of a polar map, degrees.
        coastlines: True to draw coastlines, as in `plot_map`.

    Raises:
        ValueError: If the file has no members, or variable, lead time or start are not in it.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If the output exists.
    """
    check_output(out, SUFFIXES)
    view = map_view(projection, centre=centre, box=box, latitude_limit=latitude_limit)
    file = ForecastFile(forecast)
    position, selection = file.find_lead(lead), Selection.find(file, init)
    figure = draw_spaghetti(
        selection, variable, position, view, levels=levels, truth=truth, coastlines=coastlines
    )
    save(figure, out)


@picture_style()
def draw_spaghetti(
    selection: Selection,
    variable: str,
    position: int,
    view: MapView,
    *,
    levels: Sequence[float] | None = None,
    truth: str | Path | None = None,
    coastlines: bool | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of `plot_spaghetti`, from a forecast of an open file.

    Args:
        selection: Forecast of an open file.
        variable: Short name of the variable.
        position: Position of the lead time.
        view: Projection and region.
        levels: See `plot_spaghetti`.
        truth: See `plot_spaghetti`.
        coastlines: See `plot_spaghetti`.
        size: Width and height of the figure, inches; from the view if None.
    """
    selection.check_members()
    file = selection.file
    mean = Selection(file, selection.forecast_index).field(variable, position)
    inside = mean[view.shown(file.grid)]
    chosen = sorted(levels or _round_levels(inside))
    if len(chosen) > _MOST_LEVELS:
        raise ValueError(f"{len(chosen)} contour levels; expected at most {_MOST_LEVELS}")
    true = None if truth is None else TrueFields.open(selection, truth, variable).field(position)
    figure = new_figure(*(size or map_size(view, 1)))
    axes = view.axes(figure, 1, 1, 1)
    axes.set_facecolor("white")
    view.draw_lines(axes, GRATICULE_ON_WHITE, coastlines=earth(selection, coastlines))
    x, y = view.plane(_CONTOUR_PIXELS)

    def draw(field: Array, **style: Any) -> None:
        pixels = np.ma.masked_invalid(view.on_map(field, file.grid, _CONTOUR_PIXELS))
        crossed = [level for level in chosen if pixels.min() < level < pixels.max()]
        colours = [CONTOURS[chosen.index(level)] for level in crossed]
        if crossed:
            axes.contour(x, y, pixels, crossed, **{"colors": colours, **style})

    for field in selection.members(variable, position):
        draw(field, linewidths=0.5, alpha=0.6)
    draw(mean, linewidths=2.2)
    handles = [
        Line2D([], [], color=colour, label=f"{level:g} {pretty_units(units_of(file, variable))}")
        for level, colour in zip(chosen, CONTOURS, strict=False)
    ]
    handles.append(Line2D([], [], color=INK, linewidth=0.5, label="members"))
    handles.append(Line2D([], [], color=INK, linewidth=2.2, label="mean"))
    if true is not None:
        draw(true, colors=INK, linewidths=1.2, linestyles="--")
        handles.append(Line2D([], [], color=INK, linewidth=1.2, linestyle="--", label="truth"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    name = f"{map_name(file, variable, view)}, {file.n_members} members"
    figure.suptitle(selection.title(name, position, of_member=False))
    return figure


def plot_spread(
    forecast: str | Path,
    variable: str,
    out: str | Path,
    *,
    lead: str | int | None = None,
    init: str | int | None = None,
    projection: str | None = None,
    truth: str | Path | None = None,
    centre: tuple[float, float] | None = None,
    box: Box | None = None,
    latitude_limit: float | None = None,
    limits: tuple[float, float] | None = None,
    coastlines: bool | None = None,
) -> None:
    """Draw the mean and the spread of an ensemble at one lead time.

    The spread is the standard deviation of the members about their mean, with one less than their
    number in the denominator. With a truth, the absolute error of the mean is drawn in the colours
    of the spread: of a reliable ensemble both are of one size.

    Args:
        forecast: Forecast file with members.
        variable: Short name of the variable.
        out: Picture: `.png`, `.pdf` or `.svg`.
        lead: Lead time, as in `plot_map`; the last if None.
        init: Start of the forecast, as in `plot_map`.
        projection: Map projection, as in `plot_map`.
        truth: Store with the truth.
        centre: Middle of the map, as in `plot_map`.
        box: Region to show.
        latitude_limit: Distance from the equator of the edge of a polar map, degrees.
        limits: Limits of the colours of the mean; from its values if None.
        coastlines: True to draw coastlines, as in `plot_map`.

    Raises:
        ValueError: If the file has no members, or variable, lead time or start are not in it.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If the output exists.
    """
    check_output(out, SUFFIXES)
    view = map_view(projection, centre=centre, box=box, latitude_limit=latitude_limit)
    file = ForecastFile(forecast)
    position, selection = file.find_lead(lead), Selection.find(file, init)
    figure = draw_spread(
        selection, variable, position, view, truth=truth, limits=limits, coastlines=coastlines
    )
    save(figure, out)


@picture_style()
def draw_spread(
    selection: Selection,
    variable: str,
    position: int,
    view: MapView,
    *,
    truth: str | Path | None = None,
    limits: tuple[float, float] | None = None,
    coastlines: bool | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of `plot_spread`, from a forecast of an open file.

    Args:
        selection: Forecast of an open file.
        variable: Short name of the variable.
        position: Position of the lead time.
        view: Projection and region.
        truth: See `plot_spread`.
        limits: See `plot_spread`.
        coastlines: See `plot_spread`.
        size: Width and height of the figure, inches; from the view if None.
    """
    file = selection.file
    mean, spread = mean_and_spread(selection, variable, position)
    weights = map_weights(view, file.grid)
    panels = make_panels(file, variable, {"Mean": mean}, weights=weights, limits=limits)
    fields, label = {"Spread": spread}, "Spread"
    if truth is not None:
        true = TrueFields.open(selection, truth, variable).field(position)
        fields["Error of the mean"], label = np.abs(mean - true), "Spread, error"
    values = np.concatenate([field[weights > 0] for field in fields.values()])
    high = colour_range([values], False)[1]
    high = high if high > 0 else 1.0  # members that are all equal
    extend = "max" if (values > high).any() else "neither"
    units = units_of(file, variable)
    panels += [
        Panel(title, field, label, units, 0.0, high, extend, SPREAD)
        for title, field in fields.items()
    ]
    figure = new_figure(*(size or map_size(view, len(panels))))
    draw_panels(figure, panels, view, file.grid, earth(selection, coastlines))
    name = f"{map_name(file, variable, view)}, {file.n_members} members"
    figure.suptitle(selection.title(name, position, of_member=False))
    return figure


def mean_and_spread(selection: Selection, variable: str, position: int) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of the members, each (nlat, nlon).

    The members are read one after the other (Welford 1962, Technometrics 4, 419-420), so that the
    memory does not depend on their number.

    Raises:
        ValueError: If the file has no members, or no such variable.
    """
    mean, square, n = np.zeros(()), np.zeros(()), 0
    for n, field in enumerate(selection.members(variable, position), 1):
        departure = field.astype(np.float64) - mean
        mean = mean + departure / n
        square = square + departure * (field - mean)
    return mean, np.sqrt(square / (n - 1))


def _round_levels(values: Array) -> list[float]:
    """Return two round values that split the values of a field into about thirds."""
    low, high = np.nanpercentile(values, [15, 85])
    ticks = np.asarray(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    nearest = [ticks[np.abs(ticks - np.nanpercentile(values, q)).argmin()] for q in (33, 67)]
    return sorted({float(level) for level in nearest})
