"""Map projections, regional maps and coastlines; the only importer of cartopy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import cartopy.crs as ccrs
import matplotlib.path
import numpy as np
from cartopy.io.shapereader import Reader
from matplotlib.figure import Figure
from numpy.typing import NDArray

from configs.style import GRATICULE, INK, MISSING
from forecast.model.points.interpolate import at_points
from forecast.plotting.coastlines import FILE
from forecast.plotting.places import Box, latitude_label, longitude_label
from sphere_ops.grid import Grid

Array = NDArray[np.floating[Any]]

PROJECTIONS = ("robinson", "plate-carree", "orthographic", "north-polar", "south-polar")

PIXELS = 900
"""Default number of pixels along the longer side of a map."""

_CENTRE = (35.0, 0.0)  # degrees; an orthographic map then shows a pole and the equator
_LATITUDE_LIMIT = 20.0
_WIDEST_STRETCH = 2.5  # of a box near a pole, whose meridians converge
_STEPS = (1, 2, 5, 10, 15, 20, 30, 60)  # degrees between lines of the graticule
_NATURAL_EARTH = "shapefiles/natural_earth/physical/ne_{}_coastline.shp"


@dataclass(frozen=True)
class MapView:
    """Projection of a map, and the part of the plane that it shows.

    Attributes:
        name: Name of the projection.
        crs: Projection of cartopy.
        extent: Limits of the map in the coordinates of the projection: x0, x1, y0, y1.
        box: Region that the map shows; None for all that the projection shows.
        round: True if the edge of the map is a circle inside the extent.
        stretch: Length of a unit of y divided by that of a unit of x.
    """

    name: str
    crs: Any
    extent: tuple[float, float, float, float]
    box: Box | None = None
    round: bool = False
    stretch: float = 1.0

    @property
    def ratio(self) -> float:
        """Height of the map divided by its width."""
        x0, x1, y0, y1 = self.extent
        return self.stretch * (y1 - y0) / (x1 - x0)

    @property
    def labelled(self) -> bool:
        """True if the lines of the graticule have labels, which need room."""
        return isinstance(self.crs, ccrs.PlateCarree)

    def shape(self, pixels: int) -> tuple[int, int]:
        """Return the height and width of a picture with a longer side of some pixels."""
        scale = pixels / max(self.ratio, 1.0)
        return max(round(scale * self.ratio), 1), max(round(scale), 1)

    def plane(self, pixels: int) -> tuple[Array, Array]:
        """Return the coordinates x (width,) and y (height,) of the pixels, top row first."""
        height, width = self.shape(pixels)
        x0, x1, y0, y1 = self.extent
        x = x0 + (np.arange(width) + 0.5) * (x1 - x0) / width
        y = y1 - (np.arange(height) + 0.5) * (y1 - y0) / height
        return x, y

    def on_map(self, field: Array, grid: Grid, pixels: int = PIXELS) -> Array:
        """Interpolate a field on the sphere to the pixels of a map.

        A map of the cells of the grid would have a seam between the last column and the first, and
        holes at the poles. Interpolation at the pixels has neither.

        Args:
            field: Field (nlat, nlon), NaN where missing.
            grid: Grid of the field.
            pixels: Number of pixels along the longer side of the map.

        Returns:
            Pixels (height, width), top row first; NaN off the sphere and where the nearest grid
            point is missing.
        """
        latitude, longitude = _points(self, pixels)
        known = np.isfinite(latitude)
        values = np.full(latitude.shape, np.nan)
        values[known] = at_points(field, grid, latitude[known], longitude[known])
        return values

    def shown(self, grid: Grid) -> NDArray[np.bool_]:
        """Return True for the grid points (nlat, nlon) that the map shows.

        Raises:
            ValueError: If a box holds no grid point.
        """
        if self.box is not None:
            return self.box.points(grid)
        if not self.round:
            return np.ones(grid.shape, dtype=bool)
        x0, x1, _, _ = self.extent
        longitude, latitude = np.meshgrid(grid.longitude.numpy(), grid.latitude.numpy())
        points = self.crs.transform_points(ccrs.PlateCarree(), longitude, latitude)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.hypot(points[..., 0], points[..., 1]) <= (x1 - x0) / 2)

    def axes(self, figure: Figure, rows: int, columns: int, number: int) -> Any:
        """Add axes of this view to a figure; the numbers are those of `Figure.add_subplot`."""
        axes = figure.add_subplot(rows, columns, number, projection=self.crs)
        axes.set_facecolor(MISSING)
        axes.set_xlim(*self.extent[:2])
        axes.set_ylim(*self.extent[2:])
        axes.set_aspect(self.stretch)
        axes.grid(False)
        if self.round:
            turn = np.linspace(0, 2 * np.pi, 200)
            circle = 0.5 + 0.5 * np.stack([np.sin(turn), np.cos(turn)], axis=-1)
            axes.set_boundary(matplotlib.path.Path(circle), transform=axes.transAxes)
        axes.spines["geo"].set(linewidth=0.8, edgecolor=INK)
        return axes

    def draw_image(self, axes: Any, image: Array, **options: Any) -> Any:
        """Draw the pixels of `on_map` and return the artist, whose data can be replaced."""
        drawn = axes.imshow(
            image,
            origin="upper",
            extent=self.extent,
            transform=self.crs,
            interpolation="nearest",
            **options,
        )
        axes.set_xlim(*self.extent[:2])  # imshow changes limits and aspect
        axes.set_ylim(*self.extent[2:])
        axes.set_aspect(self.stretch)
        return drawn

    def draw_lines(self, axes: Any, colour: str, *, coastlines: bool) -> None:
        """Draw the graticule, and the coastlines if asked for."""
        fixed = {"scalex": False, "scaley": False}
        axes.plot(*self.graticule(), color=colour, **GRATICULE, **fixed)
        if coastlines:
            axes.plot(*self.coastlines(), color=INK, linewidth=0.6, **fixed)
        if self.labelled:
            x0, x1, y0, y1 = self.extent
            middle = self.crs.proj4_params["pm"]
            degrees = _multiples(middle + x0, middle + x1, self._steps[0])
            axes.set_xticks(degrees - middle)
            axes.set_xticklabels([longitude_label(d) for d in degrees])
            degrees = _multiples(y0, y1, self._steps[1])
            degrees = degrees[np.abs(degrees) < 90]
            axes.set_yticks(degrees)
            axes.set_yticklabels([latitude_label(d) for d in degrees])
            axes.tick_params(labelsize=8, length=0, pad=5)

    def graticule(self) -> Array:
        """Return meridians and parallels in the coordinates of the map, as `coastlines`."""
        step_x, step_y = self._steps
        along, across = np.linspace(-180, 180, 361), np.linspace(-90, 90, 181)
        meridians = [np.stack([np.full(181, x), across], 1) for x in np.arange(-180, 180, step_x)]
        latitudes = _multiples(-90, 90, step_y)[1:-1]
        parallels = [np.stack([along, np.full(361, y)], 1) for y in latitudes]
        return self._project([*meridians, *parallels])

    def coastlines(self) -> Array:
        """Return the coastlines in the coordinates of the map, (2, n), with NaN between lines."""
        return self._project(coastline())

    def _project(self, lines: Sequence[Array]) -> Array:
        """Return lines of (longitude, latitude) in the coordinates of the map, (2, n)."""
        gap = np.full((1, 2), np.nan)
        points = np.concatenate([piece for line in lines for piece in (line, gap)])
        known = np.isfinite(points[:, 0])
        on_map = np.full_like(points, np.nan, dtype=np.float64)
        on_map[known] = self.crs.transform_points(ccrs.PlateCarree(), *points[known].T)[:, :2]
        on_map[~np.isfinite(on_map).all(1)] = np.nan  # behind the horizon
        # Points are close, so a long segment joins the two sides of the map and is removed.
        width = self.crs.x_limits[1] - self.crs.x_limits[0]
        with np.errstate(invalid="ignore"):
            leaps = np.flatnonzero(np.hypot(*np.diff(on_map, axis=0).T) > width / 4)
        return np.insert(on_map, leaps + 1, np.nan, axis=0).T

    @property
    def _steps(self) -> tuple[float, float]:
        """Degrees between meridians and between parallels."""
        if self.box is None:
            return 60, 30
        # A narrow map has room for fewer labels.
        across, along = 6 / max(self.ratio, 1.0), 6 * min(2 * self.ratio, 1.0)
        return _step(self.box.width, across), _step(self.box.north - self.box.south, along)


def map_view(
    projection: str | None = None,
    *,
    centre: tuple[float, float] | None = None,
    box: Box | None = None,
    latitude_limit: float | None = None,
) -> MapView:
    """Return the view of a projection.

    Args:
        projection: Name out of `PROJECTIONS`; if None, "plate-carree" with a box and "robinson"
            without.
        centre: Latitude and longitude of the middle of the map, degrees; that of the box if None.
            Only an orthographic map uses the latitude.
        box: Region to show.
        latitude_limit: Distance from the equator of the edge of a polar map, degrees.

    Raises:
        ValueError: If the projection is unknown, the centre is not on the sphere, or the limit is
            not that of a polar map.
    """
    name = projection or ("robinson" if box is None else "plate-carree")
    if name not in PROJECTIONS:
        near = get_close_matches(name, PROJECTIONS, n=1, cutoff=0.4)
        raise ValueError(
            f"unknown projection {name!r}; expected one of {', '.join(PROJECTIONS)}"
            + (f" (nearest: {near[0]})" if near else "")
        )
    polar = name in ("north-polar", "south-polar")
    if latitude_limit is not None and (not polar or box is not None):
        raise ValueError(
            "a latitude limit is for maps in the projection north-polar or south-polar without a "
            "box; leave it out, or change the projection"
        )
    limit = _LATITUDE_LIMIT if latitude_limit is None else abs(latitude_limit)
    if not limit <= 85:
        raise ValueError(
            f"the latitude limit of a polar map is {latitude_limit:g}; expected 0 to 85 degrees"
        )
    crs = _crs(name, _centre(name, centre, box))
    if box is not None:
        middle = np.cos(np.radians((box.south + box.north) / 2))
        stretch = min(1 / max(middle, 1e-3), _WIDEST_STRETCH) if name == "plate-carree" else 1.0
        return MapView(name, crs, _extent(crs, box), box, stretch=stretch)
    if polar:
        edge = limit if name == "north-polar" else -limit
        radius = float(np.hypot(*crs.transform_point(0.0, edge, ccrs.PlateCarree())))
        return MapView(name, crs, (-radius, radius, -radius, radius), round=True)
    return MapView(name, crs, (*crs.x_limits, *crs.y_limits))


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


def _centre(name: str, centre: tuple[float, float] | None, box: Box | None) -> tuple[float, float]:
    """Return the latitude and longitude of the middle of a map."""
    if centre and not (abs(centre[0]) <= 90 and abs(centre[1]) <= 360):
        raise ValueError(
            f"centre {centre[0]:g} {centre[1]:g} is not on the sphere; expected a latitude of -90 "
            "to 90 and then a longitude of -360 to 360, degrees"
        )
    if box is not None:
        return centre or ((box.south + box.north) / 2, box.west + box.width / 2)
    return centre or (_CENTRE if name == "orthographic" else (0.0, 0.0))


def _crs(name: str, centre: tuple[float, float]) -> Any:
    """Return the projection of cartopy; only an orthographic one is centred off the equator."""
    latitude, longitude = centre[0], (centre[1] + 180) % 360 - 180
    match name:
        case "robinson":
            return ccrs.Robinson(central_longitude=longitude)
        case "orthographic":
            return ccrs.Orthographic(central_longitude=longitude, central_latitude=latitude)
        case "north-polar":
            return ccrs.NorthPolarStereo(central_longitude=longitude)
        case "south-polar":
            return ccrs.SouthPolarStereo(central_longitude=longitude)
    return ccrs.PlateCarree(central_longitude=longitude)


def _extent(crs: Any, box: Box) -> tuple[float, float, float, float]:
    """Return the smallest extent of a map that shows a box as far as the projection can."""
    # A full turn ends short of the meridian at which the map is cut.
    east = box.west + min(box.width, 360 - 1e-6)
    longitude, latitude = np.meshgrid(
        np.linspace(box.west, east, 181), np.linspace(box.south, box.north, 91)
    )
    points = crs.transform_points(ccrs.PlateCarree(), longitude, latitude)[..., :2]
    points = points[np.isfinite(points).all(-1)]
    if not len(points):
        raise ValueError(
            f"the box {box.label} is on the far side of the map; leave out the centre, or choose "
            "another projection"
        )
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    return float(x0), float(x1), float(y0), float(y1)


def _step(span: float, most: float) -> float:
    """Return the degrees between lines, of which at most a number, and at least 2, cross a span."""
    return next((step for step in _STEPS if span / step <= max(most, 2)), _STEPS[-1])


def _multiples(low: float, high: float, step: float) -> Array:
    """Return the multiples of a step from a lower to an upper limit."""
    return step * np.arange(np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6) + 1)


@lru_cache(maxsize=4)
def _points(view: MapView, pixels: int) -> tuple[Array, Array]:
    """Return the latitude and longitude (height, width) of the pixels; NaN off the map."""
    x, y = np.meshgrid(*view.plane(pixels))
    points = ccrs.PlateCarree().transform_points(view.crs, x, y)
    longitude, latitude = points[..., 0], points[..., 1]
    off = ~(np.isfinite(longitude) & np.isfinite(latitude))
    if view.round:
        pixel = (view.extent[1] - view.extent[0]) / x.shape[1]
        off |= np.hypot(x, y) > view.extent[1] + pixel  # the edge is cut off by the circle
    return np.where(off, np.nan, latitude), np.where(off, np.nan, longitude)
