"""Values of a gridded field at any points of the sphere."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphere_ops.grid import Grid

Array = NDArray[np.floating[Any]]


def at_points(field: Array, grid: Grid, latitude: Array, longitude: Array) -> Array:
    """Bilinear interpolation to any points of the sphere, across the poles and the last column.

    Args:
        field: (nlat, nlon), NaN where missing.
        grid: where it is sampled.
        latitude: of the points, degrees north.
        longitude: of the points, degrees east, any turn.

    Returns:
        One value per point; NaN where the nearest point of the grid is missing.
    """

    # A row beyond each pole is the row before it, half a turn away.
    def turned(row: Array) -> Array:
        return np.interp(
            (grid.longitude.numpy() + 180) % 360, grid.longitude.numpy(), row, period=360
        )

    rows = grid.latitude.numpy()
    if rows[0] < 90 - 1e-9:
        field = np.concatenate([turned(field[0])[None], field, turned(field[-1])[None]])
        rows = np.concatenate([[180 - rows[0]], rows, [-180 - rows[-1]]])
    row = np.interp(-latitude, -rows, np.arange(len(rows)))
    column = ((longitude - grid.first_longitude) % 360) * grid.nlon / 360
    i, j = np.minimum(row.astype(int), len(rows) - 2), column.astype(int) % grid.nlon
    di, dj = row - i, column - np.floor(column)
    corners = [(i, j, (1 - di) * (1 - dj)), (i + 1, j, di * (1 - dj))]
    right = (j + 1) % grid.nlon
    corners += [(i, right, (1 - di) * dj), (i + 1, right, di * dj)]
    total, weight = np.zeros(latitude.shape), np.zeros(latitude.shape)
    for r, c, w in corners:
        value = field[r, c]
        known = np.isfinite(value)
        total += np.where(known, value, 0) * w
        weight += known * w
    nearest = field[np.rint(row).astype(int), np.rint(column).astype(int) % grid.nlon]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.isfinite(nearest), total / weight, np.nan)
