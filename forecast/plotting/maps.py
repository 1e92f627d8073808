"""Maps of a forecast, its truth and its error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from configs.style import new_figure, numbers, picture_style, with_units
from data_prep.store.outputs import check_output
from forecast.inference.reader import ForecastFile
from forecast.plotting.figure import SUFFIXES, save
from forecast.plotting.panels import Panel, make_panels
from forecast.plotting.places import Box
from forecast.plotting.projections import PIXELS, MapView, map_view
from forecast.plotting.selection import Selection, TrueFields, check_anomaly, fields_at, long_name
from sphere_ops.grid import Grid


def plot_map(
    forecast: str | Path,
    variable: str,
    out: str | Path,
    *,
    lead: str | int | None = None,
    init: str | int | None = None,
    member: int | None = None,
    projection: str | None = None,
    truth: str | Path | None = None,
    anomaly: bool = False,
    centre: tuple[float, float] | None = None,
    box: Box | None = None,
    latitude_limit: float | None = None,
    limits: tuple[float, float] | None = None,
    coastlines: bool | None = None,
) -> None:
    """Draw one variable at one lead time, with the truth and the error beside it if given.

    Args:
        forecast: Forecast file.
        variable: Short name of the variable.
        out: Picture: `.png`, `.pdf` or `.svg`.
        lead: Lead time, as "12h", "3mo" or a number in the unit of the file; the last if None.
        init: Start of the forecast: a date, the number of a trajectory or an index; the first if
            None.
        member: Number of a member; None for the mean over the members.
        projection: Map projection out of `PROJECTIONS`; "robinson" if None, or "plate-carree" with
            a box.
        truth: Store with the truth.
        anomaly: True to draw departures from the climatology of the store, or from its mean if it
            has no climatology.
        centre: Latitude and longitude of the middle of the map, degrees. Only an orthographic map
            uses the latitude.
        box: Region to show.
        latitude_limit: Distance from the equator of the edge of a polar map, degrees.
        limits: Limits of the colours of forecast and truth; from the fields if None.
        coastlines: True to draw coastlines; if None, they are drawn unless the data are
            trajectories of a solver.

    Raises:
        ValueError: If variable, lead time, start or member are not in the file, the view is not
            possible, or file and store do not fit.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If the output exists.
        OSError: If the output cannot be written.
    """
    check_output(out, SUFFIXES)
    view = map_view(projection, centre=centre, box=box, latitude_limit=latitude_limit)
    file = ForecastFile(forecast)
    figure = draw_map(
        Selection.find(file, init, member),
        file.check_variable(variable),
        file.find_lead(lead),
        view,
        truth=truth,
        anomaly=anomaly,
        limits=limits,
        coastlines=coastlines,
    )
    save(figure, out)


@picture_style()
def draw_map(
    selection: Selection,
    variable: str,
    position: int,
    view: MapView,
    *,
    truth: str | Path | None = None,
    anomaly: bool = False,
    limits: tuple[float, float] | None = None,
    coastlines: bool | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of `plot_map`.

    Args:
        selection: Forecast of an open file.
        variable: Short name of the variable.
        position: Position of the lead time.
        view: Projection and region.
        truth: See `plot_map`.
        anomaly: See `plot_map`.
        limits: See `plot_map`.
        coastlines: See `plot_map`.
        size: Width and height of the figure, inches; from the view if None.
    """
    check_anomaly(anomaly, truth)
    file = selection.file
    true = None if truth is None else TrueFields.open(selection, truth, variable)
    fields = fields_at(selection, variable, position, true, anomaly)
    weights = map_weights(view, file.grid)
    panels = make_panels(file, variable, fields, weights=weights, anomaly=anomaly, limits=limits)
    figure = new_figure(*(size or map_size(view, len(panels))))
    draw_panels(figure, panels, view, file.grid, earth(selection, coastlines))
    figure.suptitle(selection.title(map_name(file, variable, view, anomaly), position))
    return figure


def draw_panels(
    figure: Figure,
    panels: Sequence[Panel],
    view: MapView,
    grid: Grid,
    coastlines: bool,
    pixels: int | None = None,
) -> list[Any]:
    """Draw panels side by side and return their axes; equal colours share a colour bar.

    Args:
        figure: Empty figure.
        panels: Panels from left to right.
        view: Projection and region.
        grid: Grid of the fields.
        coastlines: True to draw coastlines.
        pixels: Number of pixels along the longer side of each map; from the number of panels if
            None.
    """
    stacked = stacks(view, len(panels))
    rows, columns = (len(panels), 1) if stacked else (1, len(panels))
    pixels = pixels or (PIXELS if columns == 1 else 2 * PIXELS // 3)
    drawn: list[Any] = []
    for number, panel in enumerate(panels, 1):
        axes = view.axes(figure, rows, columns, number)
        view.draw_image(axes, view.on_map(panel.field, grid, pixels), **panel.colours)
        view.draw_lines(axes, panel.style.graticule, coastlines=coastlines)
        if len(panels) > 1:
            axes.set_title(panel.title)
        drawn.append(axes)
    groups: list[list[int]] = []
    for i, panel in enumerate(panels):
        if groups and panels[groups[-1][0]].scale == panel.scale:
            groups[-1].append(i)
        else:
            groups.append([i])
    for group in groups:
        of_group = [drawn[i] for i in group]
        colour_bar(figure, of_group, panels[group[0]], labelled=view.labelled, vertical=stacked)
    return drawn


def colour_bar(
    figure: Figure,
    axes: Sequence[Any],
    panel: Panel,
    *,
    labelled: bool = False,
    vertical: bool = False,
) -> None:
    """Draw the colour bar of a panel below the given axes, or to their right.

    Args:
        figure: Figure of the axes.
        axes: Axes that share the colours.
        panel: Panel with these colours.
        labelled: True if there are labels below the axes.
        vertical: True for a bar to the right of the axes.
    """
    place: dict[str, Any] = {"location": "right", "aspect": 15 * len(axes), "pad": 0.02}
    if not vertical:
        pad = 0.08 if labelled else 0.04
        shrink = 0.7 / len(axes) + 0.05
        place = {"location": "bottom", "aspect": 30, "pad": pad, "shrink": shrink}
    bar = figure.colorbar(
        ScalarMappable(Normalize(panel.low, panel.high), colormaps[panel.style.colours]),
        ax=list(axes),
        extend=panel.extend,
        label=with_units(panel.quantity, panel.units, panel.power),
        format=numbers(panel.power),
        **place,
    )
    if vertical:
        bar.ax.yaxis.label.set_wrap(True)
    bar.outline.set_linewidth(0.5)


def stacks(view: MapView, n_panels: int) -> bool:
    """Return True for several maps that are so wide that they are drawn one below the other."""
    return n_panels > 1 and view.ratio < 0.4


def map_weights(view: MapView, grid: Grid) -> NDArray[np.floating[Any]]:
    """Return the area weights (nlat, nlon) of the grid points on a map, 0 elsewhere.

    Raises:
        ValueError: If a box holds no grid point.
    """
    return np.where(view.shown(grid), grid.area_weights.numpy(), 0.0)


def map_size(view: MapView, n_panels: int) -> tuple[float, float]:
    """Return width and height of a figure with maps side by side, inches."""
    if stacks(view, n_panels):
        return 8.6, n_panels * (7.4 * view.ratio + 0.6) + 0.8
    width, height = (8.0, 4.4) if n_panels == 1 else (5.4, 4.2)
    width = max(min(width, height / view.ratio), 2.6)
    labels, titles = (0.4 if view.labelled else 0.0), (1.6 if n_panels == 1 else 2.0)
    return max(n_panels * (width + labels), 5.4), min(width * view.ratio, height) + titles


def map_name(file: ForecastFile, variable: str, view: MapView, anomaly: bool = False) -> str:
    """Return the name of a variable, and the region if the map shows one that has a name."""
    name = long_name(file, variable, anomaly)
    return f"{name}, {view.box.label}" if view.box is not None and view.box.name else name


def earth(selection: Selection, coastlines: bool | None) -> bool:
    """Return True if coastlines are to be drawn: unless the data are trajectories of a solver."""
    return selection.file.trajectory is None if coastlines is None else coastlines
