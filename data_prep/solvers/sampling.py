"""Sampling of coefficients as fields on any grid, without interpolation."""

from __future__ import annotations

from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import (
    InverseRealSHT,
    InverseRealVectorSHT,
    wind_from_vorticity_divergence,
)


class FieldSampler:
    """Spectral sampling on a grid; degrees and orders that it cannot resolve are left out.

    Args:
        grid: Grid of the fields.
        lmax: Truncation of the coefficients, exclusive.
    """

    def __init__(self, grid: Grid, lmax: int) -> None:
        self._lmax = min(lmax, grid.nlat)
        self._mmax = min(self._lmax, (grid.nlon + 1) // 2)
        self._inverse = InverseRealSHT(grid, self._lmax, self._mmax)
        self._inverse_vector = InverseRealVectorSHT(grid, self._lmax, self._mmax)

    def scalar(self, coeffs: Tensor) -> Tensor:
        """Return the field (..., nlat, nlon) of coefficients (..., lmax, lmax)."""
        return self._inverse(self._kept(coeffs))

    def wind(self, vorticity: Tensor, divergence: Tensor, radius: float) -> Tensor:
        """Return eastward and northward wind (..., 2, nlat, nlon) of coefficients."""
        return wind_from_vorticity_divergence(
            self._inverse_vector, self._kept(vorticity), self._kept(divergence), radius
        )

    def _kept(self, coeffs: Tensor) -> Tensor:
        return coeffs[..., : self._lmax, : self._mmax].contiguous()
