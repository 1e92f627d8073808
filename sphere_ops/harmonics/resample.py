"""From one grid to another, through spherical harmonics."""

from __future__ import annotations

import torch
from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT


def resample(x: Tensor, grid: Grid, grid_out: Grid, *, lmax: int | None = None) -> Tensor:
    """Sample a field on another grid by its spherical harmonics.

    Exact for fields that both grids can hold; finer structure is dropped, so that nothing aliases.

    Args:
        x: (..., nlat, nlon) on `grid`, any unit.
        grid: of x.
        grid_out: where x is wanted.
        lmax: degrees kept, exclusive; by default all that both grids hold exactly.

    Returns:
        (..., nlat_out, nlon_out), in the unit of x.

    Raises:
        ValueError: if x is not on its grid, or one of the grids cannot hold lmax degrees.
    """
    if lmax is None:
        lmax = min(grid.exact_lmax, grid_out.exact_lmax)
    analysis = RealSHT(grid, lmax=lmax, mmax=lmax)
    coeffs = analysis(x)
    shift = grid_out.first_longitude - grid.first_longitude
    if shift:
        order = analysis.orders.index.to(x)
        angle = order * torch.deg2rad(torch.tensor(shift, dtype=x.dtype))
        coeffs = coeffs * torch.polar(torch.ones_like(angle), angle)
    return InverseRealSHT(grid_out, lmax=lmax, mmax=lmax)(coeffs)
