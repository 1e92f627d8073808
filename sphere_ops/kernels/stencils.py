"""Filters of the differential branch: stencils that converge to covariant derivatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from sphere_ops.grid import Grid
from sphere_ops.kernels.filters import BandedFilters, Filter, band_rows

# These three were chosen together, for a small error and little growth of unresolved scales.
# Degree 4 is the highest that two rows on each side determine; every derivative is then of fourth
# order. The taper reduces the largest real part of the Laplacian's eigenvalues from 0.7 to 0.24
# over the spacing squared, so that grid-scale noise is hardly amplified where it should be damped.
_RADIUS = 2.5  # grid spacings
_DEGREE = 4
_TAPER = 4
# Exponents (east, north) of the monomial and the factor of its coefficient in each derivative.
_DERIVATIVES = ((1, 0, 1), (0, 1, 1), (2, 0, 2), (1, 1, 1), (0, 2, 2))


@dataclass(frozen=True)
class DifferentialFilter(Filter):
    """Settings that identify the filters of a differential branch."""

    order: Literal[1, 2]

    def sample(self, grid: Grid, grid_out: Grid) -> BandedFilters:
        """Return `differential_filters` of this order; the grids are the same."""
        return differential_filters(grid, self.order)


def differential_filters(grid: Grid, order: Literal[1, 2]) -> BandedFilters:
    """Return stencils of ∂_east and ∂_north, for order 2 also of ∂_ee, ∂_en and ∂_nn, per radian.

    Around each point a polynomial of degree 4 in the geodesic normal coordinates of the point is
    fitted by weighted least squares to the points within 2.5 grid spacings. Its coefficients are
    the derivatives. In normal coordinates, second derivatives are the covariant ones. Points beyond
    a pole are treated like all others. Derivatives of a constant are exactly 0. On a pole row, east
    and north are those of the meridian of the point.

    Args:
        grid: Grid of input and output.
        order: Highest order of the derivatives.

    Returns:
        2 or 5 filters, in the order east, north[, east-east, east-north, north-north].
    """
    if order not in (1, 2):
        raise ValueError(f"derivatives of order {order}; expected 1 or 2")
    spacing = max(float(grid.colatitude.diff().max()), 2 * math.pi / grid.nlon)
    radius = _RADIUS * spacing
    first, band = band_rows(grid, grid, radius)
    derivatives = _DERIVATIVES[: 2 if order == 1 else 5]
    terms = [(i, j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)]
    longitude = 2 * np.pi / grid.nlon * np.arange(grid.nlon)
    longitude = np.where(longitude > np.pi, longitude - 2 * np.pi, longitude)
    colatitude, area = grid.colatitude.numpy(), grid.area_weights[:, 0].numpy()
    values = np.zeros((len(derivatives), grid.nlat, band, grid.nlon))
    for row in range((grid.nlat + 1) // 2):
        rows = slice(int(first[row]), int(first[row]) + band)
        east, north, distance = _normal_coordinates(
            colatitude[row], colatitude[rows, None], longitude
        )
        near = distance <= radius
        x, y = east[near] / radius, north[near] / radius
        # Area weights keep the dense points around a pole from dominating the fit. The taper
        # decreases the weights towards the edge of the stencil.
        taper = (1.05 - (distance[near] / radius) ** 2) ** _TAPER
        share = np.broadcast_to(area[rows, None] * grid.nlon * grid.nlat, near.shape)[near]
        weight = np.sqrt(taper * share)
        monomials = np.stack([x**i * y**j for i, j in terms], axis=1)
        fit = np.linalg.pinv(monomials * weight[:, None], rcond=1e-10) * weight
        for k, (i, j, factor) in enumerate(derivatives):
            stencil = np.zeros(near.shape)
            stencil[near] = fit[terms.index((i, j))] * (factor / radius ** (i + j))
            stencil -= near * (stencil.sum() / near.sum())
            values[k, row] = stencil
            # The southern hemisphere mirrors the northern one; northward derivatives change sign.
            mirror = grid.nlat - 1 - row
            mirror_first = grid.nlat - int(first[row]) - band
            if mirror != row:
                values[k, mirror] = np.roll(
                    stencil[::-1] * (-1) ** j, mirror_first - int(first[mirror]), axis=0
                )
    return BandedFilters(first, torch.from_numpy(values))


def _normal_coordinates(
    theta_out: float, theta: np.ndarray, longitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return east and north components of the geodesic from (θ_out, 0), and its length, radians."""
    cos_out, sin_out = np.cos(theta_out), np.sin(theta_out)
    cos_in, sin_in = np.cos(theta), np.sin(theta)
    east = sin_in * np.sin(longitude)
    north = sin_out * cos_in - cos_out * sin_in * np.cos(longitude)
    cosine = cos_out * cos_in + sin_out * sin_in * np.cos(longitude)
    sine = np.hypot(east, north)
    distance = np.arctan2(sine, cosine)
    scale = np.divide(distance, sine, out=np.ones_like(sine), where=sine > 0)
    return east * scale, north * scale, distance
