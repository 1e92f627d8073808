"""Filters of the differential branch: stencils fitted to the degrees that the fields hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.kernels.estimates import best_estimates, orders
from sphere_ops.kernels.filters import BandedFilters, Filter
from sphere_ops.kernels.legendre import legendre_at


@dataclass(frozen=True)
class FittedFilter(Filter):
    """Settings that identify the filters of a differential branch that is fitted to degrees."""

    order: Literal[1, 2]
    lmax: int

    def sample(self, grid: Grid, grid_out: Grid) -> BandedFilters:
        """Return `fitted_filters` of these settings; the grids are the same."""
        return fitted_filters(grid, self.order, self.lmax)


def fitted_filters(grid: Grid, order: Literal[1, 2], lmax: int) -> BandedFilters:
    """Return stencils of covariant derivatives that are accurate for all degrees below lmax.

    They are best linear estimates: see `sphere_ops.kernels.estimates`. Degrees from lmax on are
    suppressed. Derivatives of a constant are exactly 0. On a pole row, east and north are those of
    the meridian of the point.

    Args:
        grid: Grid of input and output.
        order: Highest order of the derivatives.
        lmax: Degrees of the fields, exclusive. Of those, a grid resolves the degrees below nlat.

    Returns:
        2 or 5 filters, in the order of `differential_filters`.
    """
    lmax = min(lmax, grid.nlat)
    mmax, count = orders(grid, lmax), 2 if order == 1 else 5

    def responses(rows: Tensor) -> Tensor:
        return exact_derivatives(grid.colatitude[rows], lmax, mmax)[:count]

    return best_estimates(grid, grid, lmax, responses)


def exact_derivatives(colatitude: Tensor, lmax: int, mmax: int) -> Tensor:
    """Return the derivatives of P_lm e^{imλ} at λ = 0, (5, mmax, lmax, rows) complex128.

    The order is that of `differential_filters`.
    """
    p = legendre_at(colatitude, lmax, mmax)
    slope = legendre_at(colatitude, lmax, mmax + 1, "dP/dθ")
    quotient = legendre_at(colatitude, lmax, mmax, "mP/sinθ")
    m = torch.arange(mmax, dtype=p.dtype)[:, None, None]
    l = torch.arange(lmax, dtype=p.dtype)[:, None]
    # Ladder operators: 2 dP_m/dθ = √((l−m)(l+m+1)) P_{m+1} − √((l+m)(l−m+1)) P_{m−1}.
    up, down = (l - m) * (l + m + 1), (l + m) * (l - m + 1)
    below = torch.cat((-slope[1:2], slope[: mmax - 1]))
    curvature = (up.clamp(min=0).sqrt() * slope[1:] - down.clamp(min=0).sqrt() * below) / 2
    sine, cosine = torch.sin(colatitude), torch.cos(colatitude)
    pole = sine < 1e-9
    mixed = torch.where(
        pole,
        (m == 2) * -cosine.sign() * curvature,
        (cosine * quotient - m * slope[:-1]) / torch.where(pole, 1.0, sine),
    )
    east_east = -l * (l + 1) * p - curvature
    return torch.stack(
        (1j * quotient, -slope[:-1] + 0j, east_east + 0j, 1j * mixed, curvature + 0j)
    )
