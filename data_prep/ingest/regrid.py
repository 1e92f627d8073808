"""The horizontal grid of a file, and the way from it to another one.

Values go to a coarser grid by first-order conservative remapping (each value is the mean over its
cell), to a finer one bilinearly, since cell means would come out as steps. Neither makes new
extremes, as a spectral transform would at coasts and fronts. Missing values take no part; a point
is missing if less than half of what it is made from is there.
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
    """Rows and columns of a file, brought into the canonical order.

    Attributes:
        latitude: degrees north, north first, (nlat,).
        first_longitude: of the first column in [0, 360), degrees east.
        rows: index in the file of each row, (nlat,).
        columns: index in the file of each column, (nlon,).
        grid: the grid that it is, None where it is of no known kind.
    """

    latitude: _Float
    first_longitude: float
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    grid: Grid | None

    @staticmethod
    def from_coordinates(latitude: Any, longitude: Any, *, exact: bool) -> FileGrid:
        """Recognise the grid of a file.

        Args:
            latitude: degrees north, in either order.
            longitude: degrees east, over any full turn.
            exact: refuse what is no `Grid`; otherwise any rows from pole to pole are accepted.

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
            # Any known rows: what is asked here is whether the columns go round the sphere.
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
        """Degrees east, from the first column, (nlon,)."""
        return np.linspace(0, 360, self.nlon, endpoint=False) + self.first_longitude

    def ordered(self, fields: NDArray[Any]) -> NDArray[Any]:
        """Bring fields (..., nlat, nlon) of the file into the canonical order."""
        fields = fields[..., self.rows, :]
        # Columns are shifted, hardly ever shuffled; a shift is much the faster copy.
        shift = int(self.columns[0])
        if np.array_equal(self.columns, np.roll(np.arange(self.nlon), -shift)):
            return np.roll(fields, -shift, axis=-1) if shift else fields
        return fields[..., self.columns]

    @cached_property
    def row_edges(self) -> _Float:
        """Sine of the latitudes between the rows, from 1 to -1, (nlat + 1,).

        A known grid's cells have the areas of its quadrature, so that remapping keeps area means.
        """
        if self.grid is None:
            between = np.sin(np.radians((self.latitude[1:] + self.latitude[:-1]) / 2))
            return np.concatenate([[1.0], between, [-1.0]])
        return _quadrature_edges(self.grid)


class Regridder:
    """A linear map from the grid of a file to another grid."""

    def __init__(self, source: FileGrid, target: Grid) -> None:
        """Build the map of rows and that of columns.

        Args:
            source: grid of the file.
            target: grid of the result.
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
            fields: (n, nlat, nlon), missing values NaN.
            vector: a component of a vector, which changes its sign across a pole.

        Returns:
            (n, nlat, nlon) on the target grid, missing values NaN.
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
    """Apply a map of columns to the last dimension."""
    flat = fields.reshape(-1, fields.shape[-1])
    return (matrix @ flat.T).T.reshape(*fields.shape[:-1], matrix.shape[0])


def _quadrature_edges(grid: Grid) -> _Float:
    """Edges in the sine of latitude of cells that have the areas of the grid's quadrature."""
    rows = grid.area_weights.numpy()[:, 0] * grid.nlon
    return np.concatenate([[1.0], 1 - 2 * np.cumsum(rows)[:-1], [-1.0]])


def _overlaps(edges: _Float, wanted: _Float) -> sparse.csr_array:
    """Share of each source cell in each wanted cell; edges ascending, over the same interval."""
    low = np.maximum(wanted[:-1, None], edges[None, :-1])
    high = np.minimum(wanted[1:, None], edges[None, 1:])
    return sparse.csr_array(np.clip(high - low, 0, None) / np.diff(wanted)[:, None])


def _periodic_overlaps(longitude: _Float, wanted: _Float) -> sparse.csr_array:
    """`_overlaps` of cells centred on equally spaced longitudes."""
    source, target = 360 / len(longitude), 360 / len(wanted)
    distance = wanted[:, None] - longitude[None, :]
    distance = np.abs((distance + 180) % 360 - 180)
    overlap = np.minimum((source + target) / 2 - distance, min(source, target))
    return sparse.csr_array(np.clip(overlap, 0, None) / target)


def _between(nodes: _Float, wanted: _Float) -> sparse.csr_array:
    """Linear interpolation between ascending nodes."""
    right = np.clip(np.searchsorted(nodes, wanted), 1, len(nodes) - 1)
    width = nodes[right] - nodes[right - 1]
    # Where a file has a row at the pole, the row beyond it is the same row.
    weight = np.where(width > 0, (wanted - nodes[right - 1]) / np.where(width > 0, width, 1), 1.0)
    matrix = np.zeros((len(wanted), len(nodes)))
    matrix[np.arange(len(wanted)), right - 1] = 1 - weight
    matrix[np.arange(len(wanted)), right] = weight
    return sparse.csr_array(matrix)


def _periodic_between(longitude: _Float, wanted: _Float) -> sparse.csr_array:
    """Linear interpolation between equally spaced longitudes."""
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
    """Rows of no known kind, north first, if they reach from pole to pole."""
    rows = -np.sort(-latitude)
    spacing = np.abs(np.diff(rows)).max(initial=0.0)
    if rows.ndim != 1 or len(rows) < 4 or max(90 - rows[0], rows[-1] + 90) > 1.5 * spacing:
        raise ValueError(
            f"{len(rows)} latitudes from {rows[0]:g} to {rows[-1]:g} do not reach from pole to "
            "pole; a regional file cannot be regridded to the globe"
        )
    return rows
