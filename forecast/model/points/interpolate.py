"""Values of a gridded field at any points of the sphere."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import map_coordinates

from sphere_ops.grid import Grid

Array = NDArray[np.floating[Any]]

_MARGIN = 6  # rows and columns; the influence of a spline's end is down by 0.27 with each


def at_points(field: Array, grid: Grid, latitude: Array, longitude: Array) -> Array:
    """Interpolate to any points of the sphere, across the poles and the last column.

    Cubic splines where the field is complete; bilinear between the points that are there where
    some are missing.

    Args:
        field: (nlat, nlon), NaN where missing.
        grid: where it is sampled.
        latitude: of the points, degrees north.
        longitude: of the points, degrees east, any turn.

    Returns:
        One value per point; NaN where the nearest point of the grid is missing.
    """
    rows, field = _over_the_poles(grid, np.asarray(field, dtype=np.float64))
    margin = min(_MARGIN, grid.nlon)
    field = np.concatenate([field[:, -margin:], field, field[:, :margin]], axis=1)
    column = margin + ((longitude - grid.first_longitude) % 360) * grid.nlon / 360
    known = np.isfinite(field)
    if known.all():
        spline = RectBivariateSpline(-rows, np.arange(field.shape[1]), field)
        return spline(-np.asarray(latitude), column, grid=False)
    points = np.stack([np.interp(-latitude, -rows, np.arange(len(rows))), column])
    value = map_coordinates(np.where(known, field, 0.0), points, order=1, mode="nearest")
    weight = map_coordinates(known.astype(np.float64), points, order=1, mode="nearest")
    nearest = map_coordinates(known.astype(np.float64), points, order=0, mode="nearest")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(nearest > 0, value / weight, np.nan)


def _over_the_poles(grid: Grid, field: Array) -> tuple[Array, Array]:
    """Latitudes and rows, continued by those on the other side of each pole, half a turn away."""
    longitude, rows = grid.longitude.numpy(), grid.latitude.numpy()
    at_pole = int(rows[0] > 90 - 1e-9)  # such a row is its own continuation
    margin = min(_MARGIN, grid.nlat - at_pole)
    turned = np.stack([np.interp(longitude + 180, longitude, row, period=360) for row in field])
    north, south = slice(at_pole, at_pole + margin), slice(-at_pole - margin, -at_pole or None)
    return (
        np.concatenate([180 - rows[north][::-1], rows, -180 - rows[south][::-1]]),
        np.concatenate([turned[north][::-1], field, turned[south][::-1]]),
    )
