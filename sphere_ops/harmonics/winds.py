"""Vorticity and divergence of winds on a grid, and winds of vorticity and divergence."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from sphere_ops.grid import EARTH_RADIUS, Grid
from sphere_ops.harmonics.rows import resolved_lmax, to_gaussian_rows
from sphere_ops.harmonics.transforms import (
    InverseRealSHT,
    InverseRealVectorSHT,
    RealSHT,
    RealVectorSHT,
    gradient,
    vorticity_divergence_from_wind,
    wind_from_vorticity_divergence,
)

_MOST_DEGREES = 361  # those of rows 0.25 degrees apart; tables of more take gigabytes


def vorticity_divergence(
    u: Tensor, v: Tensor, grid: Grid, radius: float = EARTH_RADIUS
) -> tuple[Tensor, Tensor]:
    """Return the vorticity and divergence of winds, by vector spherical harmonics.

    They hold the degrees of `wind_lmax`. The computation is in float64.

    Args:
        u: Eastward wind, (..., nlat, nlon), m s⁻¹; in a mesh this rank's rows, and no gradient.
        v: Northward wind, likewise.
        grid: Grid of both.
        radius: Radius of the sphere, m.

    Returns:
        Vorticity and divergence, (..., nlat, nlon), s⁻¹, in the type of u.
    """
    wind = torch.stack((u.double(), v.double()), dim=-3)
    on, analysis, synthesis = _from_wind(grid)
    if on != grid:
        wind = to_gaussian_rows(wind, grid, vector=True)
    vorticity, divergence = vorticity_divergence_from_wind(analysis, wind, radius)
    return synthesis(vorticity).to(u.dtype), synthesis(divergence).to(u.dtype)


def winds(
    vorticity: Tensor, divergence: Tensor, grid: Grid, radius: float = EARTH_RADIUS
) -> tuple[Tensor, Tensor]:
    """Return the winds of given vorticity and divergence, by Helmholtz's theorem.

    They hold the degrees of `wind_lmax`. The mean of vorticity and divergence is left out, which is
    zero for any wind. The computation is in float64.

    Args:
        vorticity: Vorticity, (..., nlat, nlon), s⁻¹; in a mesh this rank's rows, and no gradient.
        divergence: Divergence, likewise.
        grid: Grid of both.
        radius: Radius of the sphere, m.

    Returns:
        Eastward and northward wind, (..., nlat, nlon), m s⁻¹, in the type of the vorticity. At a
        pole they are those of the meridian of each point.
    """
    fields = torch.stack((vorticity.double(), divergence.double()))
    on, analysis, synthesis = _to_wind(grid)
    if on != grid:
        fields = to_gaussian_rows(fields, grid)
    coeffs = analysis(fields)
    u, v = wind_from_vorticity_divergence(synthesis, coeffs[0], coeffs[1], radius).unbind(-3)
    return u.to(vorticity.dtype), v.to(vorticity.dtype)


def gradient_of(x: Tensor, grid: Grid, radius: float = EARTH_RADIUS) -> tuple[Tensor, Tensor]:
    """Return the horizontal gradient of a scalar, by spherical harmonics.

    It holds the degrees of `wind_lmax`. The computation is in float64.

    Args:
        x: Scalar, (..., nlat, nlon); in a mesh this rank's rows, and no gradient.
        grid: Grid of x.
        radius: Radius of the sphere, m.

    Returns:
        Eastward and northward derivative, (..., nlat, nlon), per metre, in the type of x. At a pole
        they are those along the meridian of each point, as the components of winds are.
    """
    on, analysis, synthesis = _to_wind(grid)
    field = x.double()
    if on != grid:
        field = to_gaussian_rows(field, grid)
    east, north = gradient(synthesis, analysis(field), radius).unbind(-3)
    return east.to(x.dtype), north.to(x.dtype)


def wind_lmax(grid: Grid) -> int:
    """Return the lmax (exclusive) of winds, vorticity and divergence: all degrees of the rows.

    Grids of more rows than 361 have fewer degrees unless the rows are Gaussian.
    """
    return max(grid.exact_lmax, min(resolved_lmax(grid), (grid.nlon + 1) // 2, _MOST_DEGREES))


@lru_cache(maxsize=4)
def _from_wind(grid: Grid) -> tuple[Grid, RealVectorSHT, InverseRealSHT]:
    """Return the grid of the analysis, and transforms; cached, because they own their tables."""
    on, lmax = _grid_of_analysis(grid), wind_lmax(grid)
    return on, RealVectorSHT(on, lmax), InverseRealSHT(grid, lmax)


@lru_cache(maxsize=4)
def _to_wind(grid: Grid) -> tuple[Grid, RealSHT, InverseRealVectorSHT]:
    on, lmax = _grid_of_analysis(grid), wind_lmax(grid)
    return on, RealSHT(on, lmax), InverseRealVectorSHT(grid, lmax)


def _grid_of_analysis(grid: Grid) -> Grid:
    """Return a grid whose quadrature is exact for the degrees of winds."""
    exact = grid.exact_lmax >= wind_lmax(grid)
    return grid if exact else Grid.legendre_gauss(grid.nlat, grid.nlon)
