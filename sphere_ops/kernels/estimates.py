"""Filters as best linear estimates, from the rows of a grid, of operators on fields of few degrees.

The weights of an output row and a wavenumber are those of the best linear estimate of the operator
from the rows of a band, for random fields of the degrees below lmax with white noise. Degrees from
lmax on count as noise, so that they are suppressed. The band has a fixed angle: on finer grids the
filters converge to one operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sphere_ops.grid import Grid, whole_number
from sphere_ops.kernels.filters import BandedFilters
from sphere_ops.kernels.legendre import legendre_at

# Rows to each side of a point: a fixed angle, of 8/3 π / lmax, but no less than four rows. These
# are the same on a grid with three rows to two degrees, on which products of two fields are exact.
_REACH = 8 / 3
_ROWS = 4
# Power per coefficient of the random fields, (1 + (8 l / lmax)²)⁻², and of the noise, as a fraction
# of that of the last degree. More noise suppresses the degrees from lmax on more, and makes the
# last degrees below lmax less accurate.
_DECAY = 8
_NOISE = 1e-4
_BLOCK = 16  # output rows that are fitted together
_CONJUGATE_TOLERANCE = 1e-9  # relative

Responses = Callable[[Tensor], Tensor]
"""Returns what K operators make of P_lm e^{imλ} at longitude 0 of some output rows (their indices):
(K, mmax, lmax, rows) complex128."""


def best_estimates(
    grid: Grid, grid_out: Grid, lmax: int, responses: Responses, radius: float = 0.0
) -> BandedFilters:
    """Return filters that act as given operators on fields of degrees below lmax.

    They are exact for constants.

    Args:
        grid: Grid of the input.
        grid_out: Grid of the output.
        lmax: Degrees of the fields, exclusive, below `grid.nlat`.
        responses: Operators, by their responses to spherical harmonics.
        radius: Least radius of the bands, radians.
    """
    mmax = orders(grid, lmax)
    angle = max(_REACH * math.pi / lmax, radius)
    reach = max(_ROWS, math.ceil(angle * (grid.nlat - 1) / math.pi))
    band = min(2 * reach + 1, grid.nlat)
    centre = (grid.colatitude - grid_out.colatitude[:, None]).abs().argmin(dim=1)
    first = (centre - band // 2).clamp(0, grid.nlat - band)
    parts = []
    for rows in torch.arange(grid_out.nlat).split(_BLOCK):
        weights = _weights(grid, first[rows], band, lmax, responses(rows))  # (k, h, band, m)
        spectrum = torch.nn.functional.pad(weights.conj(), (0, grid.nlon // 2 + 1 - mmax))
        parts.append(torch.fft.irfft(spectrum, n=grid.nlon))
    return BandedFilters(first, torch.cat(parts, dim=1))


def check_fit_lmax(fit_lmax: int) -> int:
    """Return the degrees of a fit, or raise a ValueError if they are too few."""
    degrees = whole_number("fit_lmax", fit_lmax)
    if degrees < 2:
        raise ValueError(f"fit_lmax {degrees}; expected 2 or more degrees")
    return degrees


def orders(grid: Grid, lmax: int) -> int:
    """Return the number of orders of fields of degrees below lmax that the grid holds."""
    return min(lmax, grid.nlon // 2 + 1)


def _weights(grid: Grid, first: Tensor, band: int, lmax: int, exact: Tensor) -> Tensor:
    """Return the weights for some rows, (k, rows, band, mmax), from responses (k, m, l, rows)."""
    start, end = int(first.min()), int(first.max()) + band
    values = legendre_at(grid.colatitude[start:end], lmax, exact.shape[1])  # (m, l, i)
    power = (1 + (_DECAY * torch.arange(lmax, dtype=torch.float64) / lmax) ** 2) ** -2
    weighted = values * power[:, None]
    index = first[:, None] - start + torch.arange(band)  # (h, band)
    covariance = (weighted.mT @ values)[:, index[:, :, None], index[:, None, :]]  # (m, h, b, b)
    noise = _NOISE * power[-1] / (4 * math.pi * grid.nlon * grid.area_weights[start:end, 0])
    covariance = covariance + torch.diag_embed(noise[index])
    joint = exact.mT @ (weighted + 0j)  # (k, m, h, i)
    joint = joint.gather(3, index.expand(*joint.shape[:2], -1, -1))  # (k, m, h, b)
    sides = torch.view_as_real(joint).permute(1, 2, 3, 0, 4)  # (m, h, b, k, 2)
    solved = torch.linalg.solve(covariance, sides.flatten(3)).unflatten(3, (-1, 2))
    out = torch.view_as_complex(solved.contiguous()).permute(3, 1, 2, 0)  # (k, h, b, m)
    # The best estimate under the constraint that constants, l = m = 0, are exact.
    ones = torch.linalg.solve(covariance[0], covariance.new_ones(len(first), band, 1))[..., 0]
    excess = out[..., 0].sum(dim=2) - exact[:, 0, 0] / values[0, 0, 0]  # (k, h)
    out[..., 0] -= excess[..., None] * ones / ones.sum(dim=1, keepdim=True)
    return _with_mirror_images(out, exact)


def _with_mirror_images(weights: Tensor, exact: Tensor) -> Tensor:
    """Make the weights of operators that are mirror images in longitude so to the last digit."""
    weights, scale = weights.clone(), exact.abs().amax(dim=(1, 2, 3))
    for i in range(len(exact)):
        for j in range(i, len(exact)):
            for sign in (1, -1):
                distance = (exact[i].conj() - sign * exact[j]).abs().max()
                if distance <= _CONJUGATE_TOLERANCE * scale[i]:
                    weights[i] = (weights[i] + sign * weights[j].conj()) / 2
                    weights[j] = sign * weights[i].conj()
    return weights
