"""Tables of associated Legendre functions on the rows of a grid, built once per grid."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from sphere_ops.grid import Grid


def legendre(grid: Grid, lmax: int, mmax: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """P_lm(cos θ_h), orthonormal with Condon-Shortley phase, (mmax, lmax, nlat)."""
    return _legendre(grid.kind, grid.nlat, lmax, mmax, dtype, device)


def legendre_derivatives(
    grid: Grid, lmax: int, mmax: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """dP_lm/dθ and m P_lm / sin θ, both (mmax, lmax, nlat)."""
    return _derivatives(grid.kind, grid.nlat, lmax, mmax, dtype, device)


@lru_cache(maxsize=16)
def _legendre(
    kind: str, nlat: int, lmax: int, mmax: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    from torch_harmonics.legendre import legpoly

    colatitude = Grid.of(kind, nlat, 4).colatitude  # type: ignore[arg-type]
    return legpoly(mmax, lmax, torch.cos(colatitude)).to(device=device, dtype=dtype)


@lru_cache(maxsize=16)
def _derivatives(
    kind: str, nlat: int, lmax: int, mmax: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    from torch_harmonics.legendre import dlegpoly

    colatitude = Grid.of(kind, nlat, 4).colatitude  # type: ignore[arg-type]
    d, s = dlegpoly(mmax, lmax, colatitude).to(device=device, dtype=dtype)
    return d, s
