"""Filters of the integral branch with integrated kernels, fitted to the degrees of the fields."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.kernels.disco import Normalization, integral_filters
from sphere_ops.kernels.estimates import best_estimates, orders
from sphere_ops.kernels.filters import BandedFilters, Filter
from sphere_ops.kernels.legendre import legendre_at

_POINTS = 12  # rows from the centre to the edge of a kernel where it is integrated


@dataclass(frozen=True)
class FittedIntegral(Filter):
    """Settings that identify the filters of an integral branch that is fitted to degrees."""

    theta_cutoff: float
    kernel_shape: tuple[int, ...]
    basis_type: str
    normalization: Normalization
    lmax: int

    def sample(self, grid: Grid, grid_out: Grid) -> BandedFilters:
        """Return filters whose response to harmonics is that of integrals over the kernels.

        The integrals are those of `integral_filters` on rows that do not depend on the grids.
        """
        lmax = min(self.lmax, grid.nlat)
        mmax = orders(grid, lmax)
        nlat = math.ceil(_POINTS * math.pi / self.theta_cutoff)
        fine = Grid.legendre_gauss(nlat, 2 * nlat)
        settings = (self.theta_cutoff, self.kernel_shape, self.basis_type, self.normalization)
        filters = integral_filters(fine, grid_out, *settings)

        def responses(rows: Tensor) -> Tensor:
            symbols = torch.fft.rfft(filters.values[:, rows]).conj()[..., :mmax]  # (k, h, r, m)
            first = filters.first_row[rows]
            start, end = int(first.min()), int(first.max()) + symbols.shape[2]
            p = legendre_at(fine.colatitude[start:end], lmax, mmax)  # (m, l, i)
            near = p[:, :, first[:, None] - start + torch.arange(symbols.shape[2])]
            return torch.einsum("khrm,mlhr->kmlh", symbols, near + 0j)

        return best_estimates(grid, grid_out, lmax, responses, self.theta_cutoff)
