"""Filters of the differential branch: stencils fitted to the degrees that the fields hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.kernels.filters import BandedFilters, Filter
from sphere_ops.kernels.legendre import legendre_at

# Rows to each side of a point: a fixed angle, of 8/3 π / lmax, but no less than four rows. These
# are the same on a grid with three rows to two degrees, on which products of two fields are exact.
_REACH = 8 / 3
_ROWS = 4
# Random fields of the fit: power per coefficient (1 + (8 l / lmax)²)⁻², and white noise with this
# fraction of the power of the last degree. More noise suppresses the degrees from lmax on more,
# and makes the last degrees below lmax less accurate.
_DECAY = 8
_NOISE = 1e-4
_BLOCK = 16  # rows that are fitted together


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

    The weights of a row and a wavenumber are those of the best linear estimate of the derivative
    from the rows of the band, for random fields of the degrees below lmax with white noise.
    Degrees from lmax on count as noise, so that they are suppressed. The band has a fixed angle:
    on finer grids the stencils converge to one operator, and so do trained weights. Derivatives of
    a constant are exactly 0. On a pole row, east and north are those of the meridian of the point.

    Args:
        grid: Grid of input and output.
        order: Highest order of the derivatives.
        lmax: Degrees of the fields, exclusive. Of those, a grid resolves the degrees below nlat.

    Returns:
        2 or 5 filters, in the order of `differential_filters`.
    """
    lmax = min(lmax, grid.nlat)
    mmax = min(lmax, grid.nlon // 2 + 1)
    reach = max(_ROWS, math.ceil(_REACH * (grid.nlat - 1) / lmax))
    band = min(2 * reach + 1, grid.nlat)
    first = (torch.arange(grid.nlat) - band // 2).clamp(0, grid.nlat - band)
    signs = torch.tensor([1, -1, 1, -1, 1][: 2 if order == 1 else 5])  # of the mirror image
    spectrum = torch.zeros(len(signs), grid.nlat, band, grid.nlon // 2 + 1, dtype=torch.complex128)
    for rows in torch.arange((grid.nlat + 1) // 2).split(_BLOCK):
        weights = _best_estimates(grid, rows, first[rows], band, lmax, mmax)[: len(signs)]
        spectrum[:, rows, :, :mmax] = weights
        # The southern hemisphere mirrors the northern one; northward derivatives change sign.
        mirror = grid.nlat - 1 - rows
        spectrum[:, mirror, :, :mmax] = signs[:, None, None, None] * weights.flip(2)
    values = torch.fft.irfft(spectrum.conj(), n=grid.nlon)
    return BandedFilters(first, values)


def _best_estimates(
    grid: Grid, rows: Tensor, first: Tensor, band: int, lmax: int, mmax: int
) -> Tensor:
    """Return the weights of five derivatives for some rows, (5, rows, band, mmax) complex128."""
    start, end = int(first.min()), int(first.max()) + band
    values = legendre_at(grid.colatitude[start:end], lmax, mmax)  # (m, l, i)
    power = (1 + (_DECAY * torch.arange(lmax, dtype=torch.float64) / lmax) ** 2) ** -2
    weighted = values * power[:, None]
    index = first[:, None] - start + torch.arange(band)  # (h, band)
    covariance = (weighted.mT @ values)[:, index[:, :, None], index[:, None, :]]  # (m, h, b, b)
    noise = _NOISE * power[-1] / (4 * math.pi * grid.nlon * grid.area_weights[start:end, 0])
    covariance = covariance + torch.diag_embed(noise[index])
    real, imaginary = exact_derivatives(grid.colatitude[rows], lmax, mmax)  # (k, m, l, h)
    out = torch.zeros(5, len(rows), band, mmax, dtype=torch.complex128)
    for which, exact, unit in (((1, 2, 4), real, 1 + 0j), ((0, 3), imaginary, 1j)):
        joint = exact.mT @ weighted  # (k, m, h, i)
        joint = joint.gather(3, index.expand(*joint.shape[:2], -1, -1))  # (k, m, h, b)
        weights = torch.linalg.solve(covariance, joint.movedim(0, -1))  # (m, h, b, k)
        out[list(which)] = unit * weights.permute(3, 1, 2, 0)
    # At m = 0 the sum of the weights is 0: the best estimate under this constraint.
    ones = torch.linalg.solve(covariance[0], torch.ones(len(rows), band, 1, dtype=noise.dtype))
    total = out[..., 0].sum(dim=2, keepdim=True) / ones[..., 0].sum(dim=1, keepdim=True)
    out[..., 0] -= total * ones[..., 0]
    return out


def exact_derivatives(colatitude: Tensor, lmax: int, mmax: int) -> tuple[Tensor, Tensor]:
    """Return the derivatives of P_lm e^{imλ} at λ = 0: their real and their imaginary parts.

    Returns:
        ∂_north, ∂_ee and ∂_nn, (3, mmax, lmax, rows), and the imaginary ∂_east and ∂_en, (2, ...).
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
    return (
        torch.stack((-slope[:-1], -l * (l + 1) * p - curvature, curvature)),
        torch.stack((quotient, mixed)),
    )
