"""Hovmöller diagrams: means over latitudes or longitudes against lead time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from configs.style import graticule, new_figure, picture_style
from data_prep.store.outputs import check_output
from forecast.inference.reader import ForecastFile
from forecast.plotting.figure import SUFFIXES, save
from forecast.plotting.maps import colour_bar
from forecast.plotting.panels import Panel, make_panels
from forecast.plotting.places import Box, latitude_label, longitude_label
from forecast.plotting.selection import (
    Selection,
    TrueFields,
    check_anomaly,
    lead_axis,
    lead_ticks,
    long_name,
)
from sphere_ops.grid import Grid

Array = NDArray[np.floating[Any]]

ALONG = ("longitude", "latitude")
_BAND = 10.0  # degrees from the equator, or the rows beside it on a coarse grid
_TICKS = {"longitude": 60, "latitude": 30}


def plot_hovmoeller(
    forecast: str | Path,
    variable: str,
    out: str | Path,
    *,
    along: str = "longitude",
    box: Box | None = None,
    init: str | int | None = None,
    member: int | None = None,
    truth: str | Path | None = None,
    anomaly: bool = False,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw a variable against longitude or latitude and lead time.

    Args:
        forecast: Forecast file.
        variable: Short name of the variable.
        out: Picture: `.png`, `.pdf` or `.svg`.
        along: "longitude", for means over the latitudes of the box, or "latitude", for means over
            its longitudes.
        box: Region; if None, 10°S to 10°N along longitude, and the sphere along latitude.
        init: Start of the forecast, as in `plot_map`.
        member: Number of a member; None for the mean over the members.
        truth: Store with the truth, which adds the truth and the error.
        anomaly: True to draw departures from the climatology of the store, or from its mean.
        limits: Limits of the colours of forecast and truth; from the values if None.

    Raises:
        ValueError: If variable, start or member are not in the file, the box holds no grid point,
            or file and store do not fit.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If the output exists.
    """
    check_output(out, SUFFIXES)
    file = ForecastFile(forecast)
    selection = Selection.find(file, init, member)
    figure = draw_hovmoeller(
        selection, variable, along=along, box=box, truth=truth, anomaly=anomaly, limits=limits
    )
    save(figure, out)


@picture_style()
def draw_hovmoeller(
    selection: Selection,
    variable: str,
    *,
    along: str = "longitude",
    box: Box | None = None,
    truth: str | Path | None = None,
    anomaly: bool = False,
    limits: tuple[float, float] | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of `plot_hovmoeller`; `size` is its width and height, inches."""
    if along not in ALONG:
        raise ValueError(f"a Hovmöller diagram along {along!r}; expected longitude or latitude")
    check_anomaly(anomaly, truth)
    file = selection.file
    box = box or default_box(file.grid, along)
    profile = Profile(file.grid, along, box)
    true = None if truth is None else TrueFields.open(selection, truth, variable)
    values = np.full((len(file.steps), len(profile.coordinate)), np.nan)
    for span, block in selection.blocks(variable):
        values[span] = profile.means(block)
    fields = {"Forecast": values}
    if true is not None:
        fields["Truth"], reference = np.full((2, *values.shape), np.nan)
        for position in true.known:
            fields["Truth"][position] = profile.means(true.field(position)[None])[0]
            if anomaly:
                shape = (1, *file.grid.shape)
                of_time = np.broadcast_to(true.reference(position), shape)
                reference[position] = profile.means(of_time)[0]
        if anomaly:
            fields = {title: f - reference for title, f in fields.items()}
    panels = make_panels(
        file, variable, fields, weights=profile.weights, anomaly=anomaly, limits=limits
    )
    lead, unit = lead_axis(file.time_step, file.steps)
    n = len(panels)
    wide = along == "latitude"
    figure = new_figure(*(size or ((max(4.4 * n, 6.4), 4.6) if wide else (max(3.9 * n, 5.6), 6.4))))
    grid_of_axes = figure.subplots(1, n, squeeze=False, sharex=True, sharey=True)[0]
    for axes, panel in zip(grid_of_axes, panels, strict=True):
        draw_profile(axes, panel, profile, lead, unit)
        if n > 1:
            axes.set_title(panel.title)
        axes.label_outer()
    colour_bars(figure, list(grid_of_axes), panels)
    name = long_name(file, variable, anomaly)
    mean = "mean over" if along == "longitude" else "zonal mean,"
    region = box.label if along == "longitude" or box.name or box.width < 360 else ""
    figure.suptitle(selection.title(f"{name}, {mean} {region}".rstrip(", ")))
    return figure


def default_box(grid: Grid, along: str) -> Box:
    """Return the box of a diagram that was given none."""
    if along == "latitude":
        return Box(-90.0, 90.0, 0.0, 360.0)
    band = max(_BAND, float(np.sort(np.abs(grid.latitude.numpy()))[:2].max().round(1) + 0.1))
    return Box(-band, band, 0.0, 360.0)


class Profile:
    """Means over the longitudes or over the latitudes of a box.

    Attributes:
        along: "longitude" or "latitude".
        coordinate: Longitudes from the western limit on, or latitudes, degrees (p,).
        edges: Limits of the coordinate's cells (p + 1,).
        weights: Weights of the values of the profile, (p,).
    """

    def __init__(self, grid: Grid, along: str, box: Box) -> None:
        """Find the points of the box.

        Raises:
            ValueError: If the box holds no grid point.
        """
        inside = box.points(grid)
        self.along = along
        self._rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        turned = (grid.longitude.numpy()[columns] - box.west + 1e-6) % 360
        self._columns = columns[np.argsort(turned)]
        area = grid.area_weights.numpy()[self._rows, 0]
        self._area = area[:, None]  # (row, 1)
        if along == "longitude":
            self.coordinate = box.west + np.sort(turned) - 1e-6
            self.edges = _edges(self.coordinate)
            self.weights = np.ones(len(self.coordinate))
        else:
            self.coordinate = grid.latitude.numpy()[self._rows]
            self.edges = _edges(self.coordinate).clip(-90, 90)
            if box.south <= -90 and box.north >= 90:
                self.edges[[0, -1]] = 90, -90
            self.weights = area

    def means(self, fields: Array) -> Array:
        """Return the means (k, p) of fields (k, nlat, nlon) over their points with values."""
        inside = fields[:, self._rows[:, None], self._columns]  # (k, row, column)
        known = np.isfinite(inside)
        weights = np.where(known, self._area, 0.0)
        axis = 1 if self.along == "longitude" else 2
        total = weights.sum(axis)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights * np.where(known, inside, 0.0)).sum(axis) / total)


def draw_profile(axes: Axes, panel: Panel, profile: Profile, lead: Array, unit: str) -> None:
    """Draw profiles at all lead times: time goes down along longitude, to the right otherwise."""
    times = _edges(lead)
    if profile.along == "longitude":
        axes.pcolormesh(profile.edges, times, panel.field, **panel.colours)
        axes.set_ylim(times[-1], times[0])
        axes.set_ylabel(f"lead time [{unit}]")
        axes.yaxis.set_major_locator(lead_ticks(unit))
    else:
        axes.pcolormesh(times, profile.edges, panel.field.T, **panel.colours)
        axes.set_xlabel(f"lead time [{unit}]")
        axes.xaxis.set_major_locator(lead_ticks(unit))
    axis: Axis = axes.xaxis if profile.along == "longitude" else axes.yaxis
    label: Callable[[float], str] = longitude_label if axis is axes.xaxis else latitude_label
    width = abs(profile.edges[-1] - profile.edges[0])
    step = next((s for s in (1, 2, 5, 10, 15, 20, 30) if width / s <= 6), _TICKS[profile.along])
    axis.set_major_locator(MultipleLocator(step))
    axis.set_major_formatter(FuncFormatter(lambda degrees, _: label(degrees)))
    graticule(axes, panel.style)


def colour_bars(figure: Figure, axes: list[Axes], panels: list[Panel]) -> None:
    """Draw the colour bar of forecast and truth, and that of their difference."""
    n_shared = min(len(panels), 2)
    colour_bar(figure, axes[:n_shared], panels[0], labelled=False)
    if len(panels) > 2:
        colour_bar(figure, axes[2:], panels[2], labelled=False)


def _edges(centres: Array) -> Array:
    """Return the limits (n + 1,) of cells with the given centres (n,)."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - middle[0], 2 * centres[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])
