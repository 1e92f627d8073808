"""Vorticity and divergence of winds on a grid, and winds of vorticity and divergence."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from sphere_ops.grid import EARTH_RADIUS, Grid
from sphere_ops.harmonics.transforms import (
    InverseRealSHT,
    InverseRealVectorSHT,
    RealSHT,
    RealVectorSHT,
    vorticity_divergence_from_wind,
    wind_from_vorticity_divergence,
)


def vorticity_divergence(
    u: Tensor, v: Tensor, grid: Grid, radius: float = EARTH_RADIUS
) -> tuple[Tensor, Tensor]:
    """Return the vorticity and divergence of winds, by vector spherical harmonics.

    They hold the degrees below `grid.exact_lmax`. The computation is in float64.

    Args:
        u: Eastward wind, (..., nlat, nlon), m s⁻¹; in a mesh this rank's rows.
        v: Northward wind, likewise.
        grid: Grid of both.
        radius: Radius of the sphere, m.

    Returns:
        Vorticity and divergence, (..., nlat, nlon), s⁻¹, in the type of u.
    """
    analysis, synthesis = _from_wind(grid)
    wind = torch.stack((u.double(), v.double()), dim=-3)
    vorticity, divergence = vorticity_divergence_from_wind(analysis, wind, radius)
    return synthesis(vorticity).to(u.dtype), synthesis(divergence).to(u.dtype)


def winds(
    vorticity: Tensor, divergence: Tensor, grid: Grid, radius: float = EARTH_RADIUS
) -> tuple[Tensor, Tensor]:
    """Return the winds of given vorticity and divergence, by Helmholtz's theorem.

    The mean of both is left out, which is zero for any wind. The computation is in float64.

    Args:
        vorticity: Vorticity, (..., nlat, nlon), s⁻¹; in a mesh this rank's rows.
        divergence: Divergence, likewise.
        grid: Grid of both.
        radius: Radius of the sphere, m.

    Returns:
        Eastward and northward wind, (..., nlat, nlon), m s⁻¹, in the type of the vorticity. At a
        pole they are those of the meridian of each point.
    """
    analysis, synthesis = _to_wind(grid)
    coeffs = analysis(vorticity.double()), analysis(divergence.double())
    u, v = wind_from_vorticity_divergence(synthesis, *coeffs, radius).unbind(-3)
    return u.to(vorticity.dtype), v.to(vorticity.dtype)


@lru_cache(maxsize=4)
def _from_wind(grid: Grid) -> tuple[RealVectorSHT, InverseRealSHT]:
    """Return the transforms of a grid; cached, because they own their tables."""
    return RealVectorSHT(grid), InverseRealSHT(grid)


@lru_cache(maxsize=4)
def _to_wind(grid: Grid) -> tuple[RealSHT, InverseRealVectorSHT]:
    return RealSHT(grid), InverseRealVectorSHT(grid)
