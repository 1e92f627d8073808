"""Time series at a point or over a region, with the quantiles of the members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from configs.style import (
    BLUE,
    COLOURS,
    INK,
    new_figure,
    numbers,
    picture_style,
    power_of_ten,
    with_units,
)
from data_prep.store.outputs import check_output
from forecast.inference.reader import ForecastFile
from forecast.model.points.interpolate import at_points
from forecast.plotting.figure import SUFFIXES, save
from forecast.plotting.places import Box, latitude_label, longitude_label
from forecast.plotting.selection import (
    Selection,
    TrueFields,
    choose,
    lead_axis,
    lead_ticks,
    long_name,
    units_of,
)
from forecast.verification.metrics import spatial_mean
from sphere_ops.grid import Grid

Array = NDArray[np.floating[Any]]
Value = Callable[[Array], Array]
"""Function of fields (k, nlat, nlon) that returns one number for each, (k,)."""

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MOST_VARIABLES = 6
_MOST_LINES = 5  # fewer members are drawn as lines, since they have no quantiles


def plot_series(
    forecast: str | Path,
    out: str | Path,
    *,
    variables: Sequence[str] | None = None,
    point: tuple[float, float] | None = None,
    box: Box | None = None,
    init: str | int | None = None,
    member: int | None = None,
    truth: str | Path | None = None,
) -> None:
    """Draw variables at a point, or their area means over a region, against lead time.

    Of an ensemble the median and the central 50 % and 90 % of the members are drawn.

    Args:
        forecast: Forecast file.
        out: Picture: `.png`, `.pdf` or `.svg`.
        variables: Variables, one row each; the first six channels if None.
        point: Latitude and longitude, degrees, to which the fields are interpolated.
        box: Region of the area mean; the sphere if neither point nor box is given.
        init: Start of the forecast, as in `plot_map`.
        member: Number of the only member to draw; all if None.
        truth: Store with the truth, which is added.

    Raises:
        ValueError: If variable, start or member are not in the file, a point and a box are given,
            or file and store do not fit.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If the output exists.
    """
    check_output(out, SUFFIXES)
    file = ForecastFile(forecast)
    selection = Selection.find(file, init, member)
    save(draw_series(selection, variables=variables, point=point, box=box, truth=truth), out)


@picture_style()
def draw_series(
    selection: Selection,
    *,
    variables: Sequence[str] | None = None,
    point: tuple[float, float] | None = None,
    box: Box | None = None,
    truth: str | Path | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of `plot_series`; `size` is its width and height, inches."""
    if point is not None and box is not None:
        raise ValueError("a series is either at a point or over a region; leave out one of them")
    file = selection.file
    known = [*file.channel_names, *file.derived_names]
    chosen = choose("variable", known, variables, file.path)
    chosen = chosen or list(file.channel_names[:_MOST_VARIABLES])
    value = _at_point(file.grid, point) if point else _area_mean(file.grid, box)
    lead, unit = lead_axis(file.time_step, file.steps)
    figure = new_figure(*(size or (7.2, 1.4 + 2.3 * len(chosen))))
    rows = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    if truth is not None:
        true = TrueFields.open(selection, truth, *chosen)
        true_values = [value(true.fields(p)) for p in true.known]
    for row, (axes, variable) in enumerate(zip(rows, chosen, strict=True)):
        _draw_members(axes, lead, _values(selection, variable, value))
        if truth is not None:
            values = [of_all[row] for of_all in true_values]
            axes.plot(lead[true.known], values, color=INK, linestyle="--", label="truth", zorder=3)
        power = power_of_ten(max(map(abs, axes.get_ylim())))
        axes.set_ylabel(with_units(variable, units_of(file, variable), power))
        axes.yaxis.set_major_formatter(numbers(power))
        axes.set_title(long_name(file, variable))
    if len(lead) > 1:
        rows[-1].set_xlim(lead[0], lead[-1])
    rows[-1].xaxis.set_major_locator(lead_ticks(unit))
    rows[-1].set_xlabel(f"lead time [{unit}]")
    handles, labels = rows[0].get_legend_handles_labels()
    if len(handles) > 1:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
    figure.suptitle(selection.title(_place(point, box), of_member=selection.member is not None))
    return figure


def _values(selection: Selection, variable: str, value: Value) -> Array:
    """Return the numbers of all members, or of the selected one, (m, k); NaN after the end."""
    file, index = selection.file, selection.forecast_index
    members: Sequence[int | None] = [selection.member]
    if selection.member is None and file.n_members > 1:
        members = range(file.n_members)
    values = np.full((len(members), len(file.steps)), np.nan)
    for row, member in zip(values, members, strict=True):
        for span, fields in Selection(file, index, member).blocks(variable):
            row[span] = value(fields)
    return values


def _draw_members(axes: Axes, lead: Array, values: Array) -> None:
    """Draw a line for a few members, and else their quantiles."""
    if len(values) == 1:
        axes.plot(lead, values[0], color=COLOURS["model"], label="forecast")
        return
    if len(values) <= _MOST_LINES:
        for i, row in enumerate(values):
            label = "" if i else f"{len(values)} members"
            axes.plot(lead, row, color=BLUE, linewidth=0.8, label=label)
        return
    known = np.isfinite(values).all(0)
    lowest, low, middle, high, highest = np.quantile(values[:, known], _QUANTILES, axis=0)
    shade: dict[str, Any] = {"color": BLUE, "linewidth": 0}
    axes.fill_between(lead[known], lowest, highest, alpha=0.18, label="90 % of members", **shade)
    axes.fill_between(lead[known], low, high, alpha=0.35, label="50 %", **shade)
    axes.plot(lead[known], middle, color=BLUE, label="median")


def _at_point(grid: Grid, point: tuple[float, float]) -> Value:
    """Return the function that interpolates fields to a point."""
    latitude, longitude = (np.array([x]) for x in point)
    return lambda fields: np.array([at_points(f, grid, latitude, longitude)[0] for f in fields])


def _area_mean(grid: Grid, box: Box | None) -> Value:
    """Return the function that averages fields over a region."""
    inside = np.ones(grid.shape, dtype=bool) if box is None else box.points(grid)
    area = grid.area_weights.numpy()
    return lambda fields: spatial_mean(fields, inside & np.isfinite(fields), area)


def _place(point: tuple[float, float] | None, box: Box | None) -> str:
    """Return the place of the series in words."""
    if point is not None:
        return f"{latitude_label(point[0])} {longitude_label(point[1])}"
    return "Global mean" if box is None else f"Mean over {box.label}"
