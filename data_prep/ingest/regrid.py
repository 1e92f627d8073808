"""Horizontal grid of a file, and regridding to another grid.

Regridding to a coarser grid is first-order conservative: each value is the mean over its cell.
Regridding to a finer grid is bilinear, since cell means would be piecewise constant. Neither makes
new extremes, unlike a spectral transform at coasts and fronts. Missing values are left out; a point
is missing if less than half of its weight has values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sphere_ops.grid import Grid

_Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FileGrid:
    """Rows and columns of a file, and their canonical order: north first, eastward from [0, 360).

    Attributes:
        latitude: Latitudes, degrees north, north first, (nlat,).
        first_longitude: Longitude of the first column in [0, 360), degrees east.
        rows: Index in the file of each row, (nlat,).
        columns: Index in the file of each column, (nlon,).
        grid: Grid of a known kind, or None.
    """

    latitude: _Float
    first_longitude: float
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    grid: Grid | None

    @staticmethod
    def from_coordinates(latitude: Any, longitude: Any, *, exact: bool) -> FileGrid:
        """Return the grid with the coordinates of a file.

        Args:
            latitude: Latitudes, degrees north, in either order.
            longitude: Longitudes, degrees east, over any full turn.
            exact: True to accept a known kind of `Grid` only; False to accept any rows from pole to
                pole.

        Raises:
            ValueError: if the coordinates are not those of a global grid.
        """
        lat = np.asarray(latitude, dtype=np.float64)
        lon = np.asarray(longitude, dtype=np.float64)
        try:
            grid: Grid | None = Grid.from_coordinates(lat, lon)
            assert grid is not None
            first = grid.first_longitude
            ordered = grid.latitude.numpy()
        except ValueError:
            if exact:
                raise
            grid, ordered = None, _pole_to_pole(lat)
            # Rows of any known kind, to check the columns alone.
            rows = Grid.cell_centred(len(lat), len(lon)).latitude.numpy()
            first = Grid.from_coordinates(rows, lon).first_longitude
        n = len(lon)
        position = np.round((lon - first) * n / 360).astype(np.intp) % n
        return FileGrid(ordered, first, np.argsort(-lat), np.argsort(position), grid)

    @property
    def nlat(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def nlon(self) -> int:
        """Number of columns."""
        return len(self.columns)

    @property
    def longitude(self) -> _Float:
        """Longitudes, degrees east, from the first column, (nlon,)."""
        return np.linspace(0, 360, self.nlon, endpoint=False) + self.first_longitude

    def ordered(self, fields: NDArray[Any]) -> NDArray[Any]:
        """Return fields (..., nlat, nlon) of the file in the canonical order."""
        fields = fields[..., self.rows, :]
        # Columns are usually shifted, not permuted; a shift is a faster copy.
        shift = int(self.columns[0])
        if np.array_equal(self.columns, np.roll(np.arange(self.nlon), -shift)):
            return np.roll(fields, -shift, axis=-1) if shift else fields
        return fields[..., self.columns]

    @cached_property
    def row_edges(self) -> _Float:
        """Sine of the latitudes between the rows, from 1 to -1, (nlat + 1,).

        Cells of a known grid have the areas of its quadrature, so that regridding keeps area means.
        """
        if self.grid is None:
            between = np.sin(np.radians((self.latitude[1:] + self.latitude[:-1]) / 2))
            return np.concatenate([[1.0], between, [-1.0]])
        return _quadrature_edges(self.grid)


class Regridder:
    """Linear map from the grid of a file to another grid."""

    def __init__(self, source: FileGrid, target: Grid) -> None:
        """Build the matrices of rows and columns.

        Args:
            source: Grid of the file.
            target: Grid of the result.
        """
        self._coarser = target.nlat <= source.nlat and target.nlon <= source.nlon
        longitude = source.longitude
        wanted = target.longitude.numpy()
        if self._coarser:
            self._rows = _overlaps(-source.row_edges, -_quadrature_edges(target))
            self._columns = _periodic_overlaps(longitude, wanted)
        else:
            beyond = np.concatenate(
                [[180 - source.latitude[0]], source.latitude, [-180 - source.latitude[-1]]]
            )
            self._rows = _between(-beyond, -target.latitude.numpy())
            self._columns = _periodic_between(longitude, wanted)
            self._across = _periodic_between(longitude, longitude + 180)

    def __call__(self, fields: NDArray[np.floating], *, vector: bool = False) -> _Float:
        """Regrid fields in the canonical order.

        Args:
            fields: Fields (n, nlat, nlon), NaN where missing.
            vector: True for a component of a vector, which changes its sign across a pole.

        Returns:
            Fields (n, nlat, nlon) on the target grid, NaN where missing.
        """
        valid = np.isfinite(fields)
        if valid.all():
            return self._apply(np.asarray(fields, dtype=np.float64), -1.0 if vector else 1.0)
        there = self._apply(valid.astype(np.float64), 1.0)
        values = self._apply(np.where(valid, fields, 0.0), -1.0 if vector else 1.0)
        enough = there >= 0.5 - 1e-9
        return np.where(enough, values / np.where(enough, there, 1.0), np.nan)

    def _apply(self, fields: _Float, sign: float) -> _Float:
        if not self._coarser:
            ends = sign * _along_columns(self._across, fields[:, [0, -1]])
            fields = np.concatenate([ends[:, :1], fields, ends[:, 1:]], axis=1)
        fields = _along_columns(self._columns, fields)
        return np.stack([self._rows @ field for field in fields])


def _along_columns(matrix: sparse.csr_array, fields: _Float) -> _Float:
    """Apply a matrix of columns to the last dimension."""
    flat = fields.reshape(-1, fields.shape[-1])
    return (matrix @ flat.T).T.reshape(*fields.shape[:-1], matrix.shape[0])


def _quadrature_edges(grid: Grid) -> _Float:
    """Return the edges, in sine of latitude, of cells with the areas of the quadrature."""
    rows = grid.area_weights.numpy()[:, 0] * grid.nlon
    return np.concatenate([[1.0], 1 - 2 * np.cumsum(rows)[:-1], [-1.0]])


def _overlaps(edges: _Float, wanted: _Float) -> sparse.csr_array:
    """Return the fraction of each wanted cell that each source cell covers; edges ascend."""
    low = np.maximum(wanted[:-1, None], edges[None, :-1])
    high = np.minimum(wanted[1:, None], edges[None, 1:])
    return sparse.csr_array(np.clip(high - low, 0, None) / np.diff(wanted)[:, None])


def _periodic_overlaps(longitude: _Float, wanted: _Float) -> sparse.csr_array:
    """Return `_overlaps` of cells centred on equally spaced longitudes."""
    source, target = 360 / len(longitude), 360 / len(wanted)
    distance = wanted[:, None] - longitude[None, :]
    distance = np.abs((distance + 180) % 360 - 180)
    overlap = np.minimum((source + target) / 2 - distance, min(source, target))
    return sparse.csr_array(np.clip(overlap, 0, None) / target)


def _between(nodes: _Float, wanted: _Float) -> sparse.csr_array:
    """Return the matrix of linear interpolation between ascending nodes."""
    right = np.clip(np.searchsorted(nodes, wanted), 1, len(nodes) - 1)
    width = nodes[right] - nodes[right - 1]
    # A row at the pole is its own neighbour across the pole, at width 0.
    weight = np.where(width > 0, (wanted - nodes[right - 1]) / np.where(width > 0, width, 1), 1.0)
    matrix = np.zeros((len(wanted), len(nodes)))
    matrix[np.arange(len(wanted)), right - 1] = 1 - weight
    matrix[np.arange(len(wanted)), right] = weight
    return sparse.csr_array(matrix)


def _periodic_between(longitude: _Float, wanted: _Float) -> sparse.csr_array:
    """Return the matrix of linear interpolation between equally spaced longitudes."""
    n = len(longitude)
    position = (wanted - longitude[0]) * n / 360
    left = np.floor(position + 1e-9)
    weight = np.clip(position - left, 0, 1)
    matrix = np.zeros((len(wanted), n))
    rows, left = np.arange(len(wanted)), left.astype(np.intp)
    matrix[rows, left % n] = 1 - weight
    matrix[rows, (left + 1) % n] += weight
    return sparse.csr_array(matrix)


def _pole_to_pole(latitude: _Float) -> _Float:
    """Return rows north first; raise a ValueError unless they reach from pole to pole."""
    rows = -np.sort(-latitude)
    spacing = np.abs(np.diff(rows)).max(initial=0.0)
    if rows.ndim != 1 or len(rows) < 4 or max(90 - rows[0], rows[-1] + 90) > 1.5 * spacing:
        raise ValueError(
            f"{len(rows)} latitudes from {rows[0]:g} to {rows[-1]:g} do not reach from pole to "
            "pole; a regional file cannot be regridded to the globe"
        )
    return rows
