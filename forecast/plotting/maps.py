"""Maps of a forecast, its truth and its error; the only importer of cartopy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import cartopy.crs as ccrs
import numpy as np
from cartopy.io.shapereader import Reader
from cartopy.mpl.geoaxes import GeoAxes
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from configs.style import GRATICULE, INK, MISSING, new_figure, numbers, picture_style, with_units
from data_prep.store.outputs import check_output
from forecast.inference.reader import ForecastFile
from forecast.model.interpolate import at_points
from forecast.plotting.coastlines import FILE
from forecast.plotting.figure import SUFFIXES, save
from forecast.plotting.panels import Panel, long_name, make_panels, map_title, true_field
from sphere_ops.grid import Grid

Array = NDArray[np.floating[Any]]
Projection = Literal["robinson", "orthographic", "plate-carree"]

_PIXELS = 900  # along the longer side of a map
_CENTRE = (35.0, 0.0)  # degrees; an orthographic map then shows a pole and the equator
_NATURAL_EARTH = "shapefiles/natural_earth/physical/ne_{}_coastline.shp"


@picture_style()
def plot_map(
    forecast: str | Path,
    variable: str,
    out: str | Path,
    *,
    lead: str | int | None = None,
    init: str | int | None = None,
    projection: Projection = "robinson",
    truth: str | Path | None = None,
    anomaly: bool = False,
    centre: tuple[float, float] | None = None,
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
        projection: Map projection.
        truth: Store with the truth.
        anomaly: True to draw departures from the climatology of the store, or from its mean if it
            has no climatology.
        centre: Latitude and longitude of the middle of the map, degrees. Only an orthographic map
            uses the latitude.
        coastlines: True to draw coastlines; if None, they are drawn unless the data are
            trajectories of a solver.

    Raises:
        ValueError: If variable, lead time or start are not in the file, the centre is not on the
            sphere, or file and store do not fit.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If the output exists.
    """
    check_output(out, SUFFIXES)
    crs = _crs(projection, centre)
    file = ForecastFile(forecast)
    file.check_variable(variable)
    forecast_index, position = file.find_forecast(init), file.find_lead(lead)
    if file.steps[position] > file.last_step[forecast_index]:
        raise ValueError(
            f"the forecast from {file.forecast_label(forecast_index)} ended at step "
            f"{file.last_step[forecast_index]}; there is nothing to draw at "
            f"{file.lead_label(position)}"
        )
    if anomaly and truth is None:
        raise ValueError("an anomaly needs the store with the climatology; name it with --truth")
    fields = {"Forecast": file.field(variable, forecast_index, position)}
    if truth is not None:
        true, reference = true_field(file, truth, variable, forecast_index, position)
        fields["Truth"] = true
        if anomaly:
            fields = {title: f - reference for title, f in fields.items()}
    panels = make_panels(file, variable, fields, anomaly)
    if coastlines is None:
        coastlines = file.trajectory is None
    figure = new_figure(*_size(projection, len(panels)))
    drawn = []
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1, projection=crs)
        _draw(axes, file.grid, panel, crs, coastlines)
        if len(panels) > 1:
            axes.set_title(panel.title)
        drawn.append(axes)
    shared = drawn[:2] if len(panels) == 3 else drawn
    _colour_bar(figure, shared, panels[0], crs)
    if len(panels) == 3:
        _colour_bar(figure, drawn[2:], panels[2], crs)
    title = map_title(file, long_name(file, variable, anomaly), forecast_index, position)
    figure.suptitle(title)
    save(figure, out)


def coastline() -> list[Array]:
    """Return the coastlines of the Earth, from `CARTOPY_DATA_DIR` or from this package.

    Nothing is downloaded.

    Returns:
        Lines of (longitude, latitude), degrees, each (n, 2).
    """
    folder = os.environ.get("CARTOPY_DATA_DIR")
    for resolution in ("50m", "110m") if folder else ():
        file = Path(str(folder)) / _NATURAL_EARTH.format(resolution)
        if file.is_file():
            lines = [getattr(g, "geoms", [g]) for g in Reader(file).geometries()]
            return [np.asarray(line.coords)[:, :2] for group in lines for line in group]
    with np.load(FILE) as data:
        return np.split(data["points"], np.cumsum(data["length"])[:-1])


def _crs(projection: str, centre: tuple[float, float] | None) -> ccrs.Projection:
    """Return the projection; only an orthographic one can be centred off the equator."""
    if centre and not (abs(centre[0]) <= 90 and abs(centre[1]) <= 360):
        raise ValueError(
            f"centre {centre[0]:g} {centre[1]:g} is not on the sphere; expected a latitude of -90 "
            "to 90 and then a longitude of -360 to 360, degrees"
        )
    match projection:
        case "robinson":
            return ccrs.Robinson(central_longitude=centre[1] if centre else 0.0)
        case "orthographic":
            latitude, longitude = centre or _CENTRE
            return ccrs.Orthographic(central_longitude=longitude, central_latitude=latitude)
        case "plate-carree":
            return ccrs.PlateCarree(central_longitude=centre[1] if centre else 0.0)
    raise ValueError(
        f"unknown projection {projection!r}; expected robinson, orthographic or plate-carree"
    )


def _size(projection: str, npanels: int) -> tuple[float, float]:
    """Return width and height of the figure, inches."""
    if projection == "orthographic":
        return (5.2, 6.0) if npanels == 1 else (4.4 * npanels, 5.8)
    return (8.0, 5.4) if npanels == 1 else (5.4 * npanels, 4.3)


def _draw(axes: GeoAxes, grid: Grid, panel: Panel, crs: ccrs.Projection, coastlines: bool) -> None:
    """Draw one panel."""
    axes.set_facecolor(MISSING)
    (x0, x1), (y0, y1) = crs.x_limits, crs.y_limits
    axes.imshow(
        on_map(panel.field, grid, crs),
        origin="upper",
        extent=(x0, x1, y0, y1),
        transform=crs,
        cmap=colormaps[panel.style.colours],
        norm=Normalize(panel.low, panel.high),
        interpolation="nearest",
    )
    axes.set_global()
    if coastlines:
        axes.plot(*_coastline_on_map(crs), color=INK, linewidth=0.6)
    lines = axes.gridlines(
        draw_labels=isinstance(crs, ccrs.PlateCarree),
        color=panel.style.graticule,
        **GRATICULE,
        xlocs=range(-180, 181, 60),
        ylocs=range(-90, 91, 30),
    )
    lines.top_labels = lines.right_labels = False
    lines.xlabel_style = lines.ylabel_style = {"size": 8}
    axes.spines["geo"].set(linewidth=0.8, edgecolor=INK)


def _colour_bar(figure: Figure, axes: list[GeoAxes], panel: Panel, crs: Any) -> None:
    """Draw the colour bar of a panel below the given axes."""
    bar = figure.colorbar(
        ScalarMappable(Normalize(panel.low, panel.high), panel.style.colours),
        ax=axes,
        orientation="horizontal",
        extend=panel.extend,
        label=with_units(panel.quantity, panel.units, panel.power),
        format=numbers(panel.power),
        shrink=0.7 / len(axes) + 0.05,
        aspect=30,
        pad=0.08 if isinstance(crs, ccrs.PlateCarree) else 0.04,
    )
    bar.outline.set_linewidth(0.5)


def _coastline_on_map(crs: ccrs.Projection) -> Array:
    """Return the coastlines in the coordinates of a map, (2, n), with NaN between lines."""
    gap = np.full((1, 2), np.nan)
    points = np.concatenate([piece for line in coastline() for piece in (line, gap)])
    known = np.isfinite(points[:, 0])
    on_map = np.full_like(points, np.nan, dtype=np.float64)
    on_map[known] = crs.transform_points(ccrs.PlateCarree(), *points[known].T)[:, :2]
    on_map[~np.isfinite(on_map).all(1)] = np.nan  # behind the horizon
    # Points are close, so a long segment joins the two sides of the map and is removed.
    width = crs.x_limits[1] - crs.x_limits[0]
    with np.errstate(invalid="ignore"):
        leaps = np.flatnonzero(np.hypot(*np.diff(on_map, axis=0).T) > width / 4)
    return np.insert(on_map, leaps + 1, np.nan, axis=0).T


def on_map(field: Array, grid: Grid, crs: ccrs.Projection, pixels: int = _PIXELS) -> Array:
    """Interpolate a field on the sphere to the pixels of a map.

    A map of the cells of the grid would have a seam between the last column and the first, and
    holes at the poles. Interpolation at the pixels has neither.

    Args:
        field: Field (nlat, nlon), NaN where missing.
        grid: Grid of the field.
        crs: Projection of the map.
        pixels: Number of pixels along the longer side of the map.

    Returns:
        Pixels (height, width), top row first; NaN off the sphere and where the nearest grid point
        is missing.
    """
    (x0, x1), (y0, y1) = crs.x_limits, crs.y_limits
    scale = pixels / max(x1 - x0, y1 - y0)
    width, height = round((x1 - x0) * scale), round((y1 - y0) * scale)
    x = x0 + (np.arange(width) + 0.5) * (x1 - x0) / width
    y = y1 - (np.arange(height) + 0.5) * (y1 - y0) / height
    x, y = np.meshgrid(x, y)
    points = ccrs.PlateCarree().transform_points(crs, x, y)
    longitude, latitude = points[..., 0], points[..., 1]
    on_sphere = np.isfinite(longitude) & np.isfinite(latitude)
    return np.where(
        on_sphere,
        at_points(field, grid, np.where(on_sphere, latitude, 0), np.where(on_sphere, longitude, 0)),
        np.nan,
    )
