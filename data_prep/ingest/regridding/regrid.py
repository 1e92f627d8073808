"""Horizontal grid of a file, and regridding to another grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from data_prep.ingest.regridding.separable import SeparableMap, bilinear, conservative
from data_prep.ingest.regridding.spectral import SpectralMap
from sphere_ops.grid import Grid

_Float = NDArray[np.float64]
Method = Literal["auto", "conservative", "bilinear", "spectral"]


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
        if lon.ndim == 1 and len(lon):  # 0 to 180 and on from -180, say
            lon = np.where(lon < lon[0], lon + 360, lon)
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
        steps = np.diff(self.rows)
        if (steps == -1).all():
            fields = fields[..., ::-1, :]  # a view, where an index would copy
        elif (steps != 1).any():
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
    """Linear map from the grid of a file to another grid.

    Methods:
        conservative: Mean over the cell of each point, of fields that are constant in the cells of
            the file. The area mean is kept.
        bilinear: Linear interpolation in latitude and longitude.
        spectral: Sum of the spherical harmonics that both grids resolve.
        auto: conservative to a coarser grid; bilinear to a finer one, since cell means would be
            piecewise constant there.

    All keep constants. Only spectral regridding makes new extremes, at coasts and fronts. The
    others leave missing values out; a point is missing if less than half of its weight has values.
    """

    def __init__(self, source: FileGrid, target: Grid, method: Method = "auto") -> None:
        """Build the map.

        Args:
            source: Grid of the file.
            target: Grid of the result.
            method: Method of regridding.

        Raises:
            ValueError: if the method is unknown, or spectral for a file grid of no known kind.
        """
        if method not in get_args(Method):
            raise ValueError(
                f"unknown method of regridding {method!r}; expected one of "
                f"{', '.join(get_args(Method))}"
            )
        if method == "auto":
            coarser = target.nlat <= source.nlat and target.nlon <= source.nlon
            method = "conservative" if coarser else "bilinear"
        self.target, self.method = target, method
        self._map: SeparableMap | SpectralMap
        latitude, longitude = target.latitude.numpy(), target.longitude.numpy()
        if method == "spectral":
            self._map = SpectralMap(_known(source), target)
        elif method == "bilinear":
            self._map = bilinear(source.latitude, source.longitude, latitude, longitude)
        else:
            edges = _quadrature_edges(target)
            self._map = conservative(source.row_edges, source.longitude, edges, longitude)

    def __call__(
        self, fields: NDArray[np.floating], *, vector: bool = False
    ) -> NDArray[np.floating]:
        """Regrid fields in the canonical order; may be called by several threads at once.

        Args:
            fields: Fields (n, nlat, nlon), NaN where missing.
            vector: True for the eastward or northward component of a vector, which changes its
                sign across a pole.

        Returns:
            Fields (n, nlat, nlon) on the target grid, NaN where missing, float32 if the input is,
            else float64. The computation is in float64.

        Raises:
            ValueError: if values are missing and the method is spectral.
        """
        dtype = np.float32 if fields.dtype == np.float32 else np.float64
        if isinstance(self._map, SpectralMap):
            if missing := fields.size - int(np.isfinite(fields).sum()):
                raise ValueError(
                    f"spectral regridding of fields with {missing} missing values; it takes "
                    "complete fields: choose data.regridding=conservative or bilinear"
                )
            return self._map(fields, vector=vector).astype(dtype, copy=False)
        out = np.empty((len(fields), *self.target.shape), dtype=dtype)
        masked = _MaskedMap(self._map, -1.0 if vector else 1.0)
        for i, field in enumerate(fields):  # one by one, in bounded memory
            out[i] = masked(field)
        return out


class _MaskedMap:
    """Separable map that leaves out missing values."""

    def __init__(self, weights: SeparableMap, sign: float) -> None:
        self._weights, self._sign = weights, sign
        self._valid: NDArray[np.bool_] | None = None  # of the previous field with missing values

    def __call__(self, field: NDArray[np.floating]) -> _Float:
        valid = np.isfinite(field)
        if valid.all():
            return self._weights(field, self._sign)
        if self._valid is None or not np.array_equal(valid, self._valid):
            self._valid, self._share = valid, self._weights(valid)
        enough = self._share >= 0.5 - 1e-9
        values = self._weights(np.where(valid, field, 0), self._sign)
        return np.where(enough, values / np.where(enough, self._share, 1.0), np.nan)


def _known(source: FileGrid) -> Grid:
    """Return the grid of a known kind; raise a ValueError if it is of none."""
    if source.grid is None:
        raise ValueError(
            f"spectral regridding from {source.nlat} rows, from {source.latitude[0]:g} to "
            f"{source.latitude[-1]:g}, that are neither equally spaced from pole to pole nor at "
            "Gaussian latitudes; choose data.regridding=conservative or bilinear"
        )
    return source.grid


def _quadrature_edges(grid: Grid) -> _Float:
    """Return the edges, in sine of latitude, of cells with the areas of the quadrature."""
    rows = grid.area_weights.numpy()[:, 0] * grid.nlon
    return np.concatenate([[1.0], 1 - 2 * np.cumsum(rows)[:-1], [-1.0]])


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
