"""Fields from one grid to another: spherical harmonics, or a phase shift along the rows."""

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

    Exact for fields that both grids can hold; finer structure is dropped, so that nothing aliases.
    A grid that differs only in its first longitude is a rotation about the axis: the rows are
    shifted in phase, which is exact for all wavenumbers below nlon / 2 and drops no degree.

    Args:
        x: (..., nlat, nlon) on `grid`, any unit.
        grid: grid of x.
        grid_out: grid of the result.
        lmax: degrees kept, exclusive; by default all that both grids hold exactly, and
            everything where the grids differ only in their first longitude.

    Returns:
        (..., nlat_out, nlon_out), in the unit of x.

    Raises:
        ValueError: if x is not on its grid, or one of the grids cannot hold lmax degrees.
    """
    shift = grid_out.first_longitude - grid.first_longitude
    if lmax is None and grid_out.is_rotation_of(grid):
        check_on_grid(x, grid)
        return _shifted(x, shift) if shift else x
    if lmax is None:
        lmax = min(grid.exact_lmax, grid_out.exact_lmax)
    analysis, synthesis = _transforms(grid, grid_out, lmax)
    coeffs = analysis(x)
    if shift:
        order = analysis.orders.index.to(x)
        angle = order * torch.deg2rad(torch.tensor(shift, dtype=x.dtype))
        coeffs = coeffs * torch.polar(torch.ones_like(angle), angle)
    return synthesis(coeffs)


@lru_cache(maxsize=8)
def _transforms(grid: Grid, grid_out: Grid, lmax: int) -> tuple[RealSHT, InverseRealSHT]:
    """Transforms of the last pairs of grids, which own their tables."""
    return RealSHT(grid, lmax, lmax), InverseRealSHT(grid_out, lmax, lmax)


def _shifted(x: Tensor, degrees: float) -> Tensor:
    """Sample the rows of a field so many degrees further east.

    At the wavenumber nlon / 2, of which a row holds the cosine alone, that part is sampled.
    """
    spectrum = torch.fft.rfft(x)  # (..., h, m)
    angle = torch.arange(spectrum.shape[-1], dtype=torch.float64) * math.radians(degrees)
    phase = torch.polar(torch.ones_like(angle), angle).to(spectrum)
    return torch.fft.irfft(spectrum * phase, n=x.shape[-1])
