"""Resampling of fields to another grid, by spherical harmonics or by a phase shift along rows."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT
from sphere_ops.parallel.fields import check_on_grid


def resample(x: Tensor, grid: Grid, grid_out: Grid, *, lmax: int | None = None) -> Tensor:
    """Sample a field on another grid by its spherical harmonics.

    Exact for fields that both grids resolve. Finer structure is dropped, so that nothing aliases.
    Grids that differ only in their first longitude are rotations of each other about the axis. The
    rows are then shifted in phase, which is exact for all wavenumbers below nlon / 2 and drops no
    degree.

    Args:
        x: Field, (..., nlat, nlon) on `grid`, any unit.
        grid: Grid of x.
        grid_out: Grid of the output.
        lmax: Degrees kept, exclusive. By default all that both grids hold exactly, or all degrees
            if the grids differ only in their first longitude.

    Returns:
        Field on `grid_out`, (..., nlat_out, nlon_out), in the unit of x.

    Raises:
        ValueError: If x is not on its grid, or one of the grids cannot hold lmax degrees.
    """
    shift = grid_out.first_longitude - grid.first_longitude
    if lmax is None and grid_out.is_rotation_of(grid):
        check_on_grid(x, grid)
        return _shifted(x, shift) if shift else x
    if lmax is None:
        lmax = min(grid.exact_lmax, grid_out.exact_lmax)
    analysis, synthesis = _transforms(grid, grid_out, lmax)
    return synthesis(rotated(analysis(x), analysis.orders.index, shift))


def rotated(coeffs: Tensor, order: Tensor, degrees: float) -> Tensor:
    """Return the coefficients of a field in longitudes that begin some degrees further east.

    Args:
        coeffs: Coefficients, (..., lmax, mmax) complex.
        order: Order of each column, (mmax,).
        degrees: Longitude of the new first column relative to the old one, degrees east.
    """
    if not degrees:
        return coeffs
    angle = order.to(coeffs.real) * math.radians(degrees)
    return coeffs * torch.polar(torch.ones_like(angle), angle)


@lru_cache(maxsize=8)
def _transforms(grid: Grid, grid_out: Grid, lmax: int) -> tuple[RealSHT, InverseRealSHT]:
    """Return the transforms of a pair of grids; cached, because they own their tables."""
    return RealSHT(grid, lmax, lmax), InverseRealSHT(grid_out, lmax, lmax)


def _shifted(x: Tensor, degrees: float) -> Tensor:
    """Sample the rows of a field at longitudes shifted eastward by some degrees.

    At the wavenumber nlon / 2 a row holds the cosine only, and only the cosine is sampled.
    """
    spectrum = torch.fft.rfft(x)  # (..., h, m)
    angle = torch.arange(spectrum.shape[-1], dtype=torch.float64) * math.radians(degrees)
    phase = torch.polar(torch.ones_like(angle), angle).to(spectrum)
    return torch.fft.irfft(spectrum * phase, n=x.shape[-1])
