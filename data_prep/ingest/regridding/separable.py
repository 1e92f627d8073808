"""Conservative and bilinear regridding, as sparse matrices of the rows and of the columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_Float = NDArray[np.float64]
_SLIVER = 1e-9  # overlap that is due to rounding, in cells


@dataclass(frozen=True, eq=False)
class SeparableMap:
    """Linear map of fields whose weights are products of those of rows and of columns.

    Attributes:
        rows: Weights of the rows, (nlat_out, nlat).
        columns: Weights of the columns, (nlon_out, nlon).
        across: Weights of the columns half a turn away, (nlon_out, nlon), for rows beyond a pole.
        beyond: Weights of the first row beyond the north pole, and of the last row beyond the south
            pole, (nlat_out, 2); without any for a map that never reaches beyond.
    """

    rows: sparse.csr_array
    columns: sparse.csr_array
    across: sparse.csr_array
    beyond: sparse.csr_array

    def __call__(self, field: NDArray[np.floating], sign: float = 1.0) -> _Float:
        """Map one field.

        Args:
            field: Field, (nlat, nlon), without missing values.
            sign: Factor of the rows beyond a pole, -1 for components of a vector.

        Returns:
            Field, (nlat_out, nlon_out).
        """
        (nlat_out, nlat), (nlon_out, nlon) = self.rows.shape, self.columns.shape
        values: _Float = np.asarray(field, dtype=np.float64)
        # The smaller product comes first.
        if nlat_out * nlon <= nlat * nlon_out:
            out = _along_columns(self.columns, self.rows @ values)
        else:
            out = self.rows @ _along_columns(self.columns, values)
        if self.beyond.nnz:
            out += sign * (self.beyond @ _along_columns(self.across, values[[0, -1]]))
        return out


def conservative(edges: _Float, longitude: _Float, edges_out: _Float, longitude_out: _Float,
                 ) -> SeparableMap:  # fmt: skip
    """Return the first-order conservative map: means over the cells of the output.

    Args:
        edges: Sine of the latitudes of the edges of the rows, from 1 to -1, (nlat + 1,).
        longitude: Centres of the cells, degrees east, equally spaced, (nlon,).
        edges_out: Edges of the rows of the output, likewise, (nlat_out + 1,).
        longitude_out: Centres of the cells of the output, likewise, (nlon_out,).
    """
    nothing = sparse.csr_array((len(edges_out) - 1, 2))
    columns = _periodic_overlaps(longitude, longitude_out)
    return SeparableMap(_overlaps(-edges, -edges_out), columns, columns, nothing)


def bilinear(latitude: _Float, longitude: _Float, latitude_out: _Float, longitude_out: _Float,
             ) -> SeparableMap:  # fmt: skip
    """Return the map of linear interpolation in latitude and longitude, also across the poles.

    Args:
        latitude: Latitudes, degrees north, north first, (nlat,).
        longitude: Longitudes, degrees east, equally spaced, (nlon,).
        latitude_out: Latitudes of the output, likewise, (nlat_out,).
        longitude_out: Longitudes of the output, likewise, (nlon_out,).
    """
    nodes = np.concatenate([[180 - latitude[0]], latitude, [-180 - latitude[-1]]])
    rows = _between(-nodes, -latitude_out)
    return SeparableMap(
        sparse.csr_array(rows[:, 1:-1]),
        _periodic_between(longitude, longitude_out),
        _periodic_between(longitude, longitude_out + 180),
        sparse.csr_array(rows[:, [0, -1]]),
    )


def _along_columns(matrix: sparse.csr_array, field: _Float) -> _Float:
    """Apply a matrix of columns to the last dimension of a field (nlat, nlon)."""
    return (matrix @ field.T).T


def _overlaps(edges: _Float, wanted: _Float) -> sparse.csr_array:
    """Return the fraction of each wanted cell that each source cell covers; edges ascend."""
    low = np.maximum(wanted[:-1, None], edges[None, :-1])
    high = np.minimum(wanted[1:, None], edges[None, 1:])
    return _fractions(high - low)


def _periodic_overlaps(longitude: _Float, wanted: _Float) -> sparse.csr_array:
    """Return `_overlaps` of cells centred on equally spaced longitudes."""
    source, target = 360 / len(longitude), 360 / len(wanted)
    distance = np.abs((wanted[:, None] - longitude[None, :] + 180) % 360 - 180)
    return _fractions(np.minimum((source + target) / 2 - distance, min(source, target)))


def _fractions(overlap: _Float) -> sparse.csr_array:
    """Return the matrix of the positive overlaps, with rows that sum to 1."""
    total = np.clip(overlap, 0, None).sum(axis=1, keepdims=True)
    overlap = np.where(overlap > _SLIVER * total, overlap, 0.0)
    return sparse.csr_array(overlap / overlap.sum(axis=1, keepdims=True))


def _between(nodes: _Float, wanted: _Float) -> _Float:
    """Return the matrix of linear interpolation between ascending nodes."""
    right = np.clip(np.searchsorted(nodes, wanted), 1, len(nodes) - 1)
    width = nodes[right] - nodes[right - 1]
    # A row at the pole is its own neighbour across the pole, at width 0.
    weight = np.where(width > 0, (wanted - nodes[right - 1]) / np.where(width > 0, width, 1), 1.0)
    matrix = np.zeros((len(wanted), len(nodes)))
    matrix[np.arange(len(wanted)), right - 1] = 1 - weight
    matrix[np.arange(len(wanted)), right] = weight
    return matrix


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
