"""Truncation in degree: grids on which products are exact, and diffusion near the last degree."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sphere_ops.grid import Grid


@dataclass(frozen=True)
class Hyperdiffusion:
    """Diffusion of vorticity and divergence by a power of the Laplacian.

    Degrees 0 and 1, mass and solid rotation, are exempt.

    Attributes:
        hours: e-folding time of the highest degree, h.
        power: Power of ∇, 4 or 8.
    """

    hours: float = 4.0
    power: int = 8

    def rate(self, lmax: int) -> Tensor:
        """Return the decay rate of each degree, s⁻¹, (lmax,) float64."""
        degree = torch.arange(lmax, dtype=torch.float64)
        eigenvalue = degree * (degree + 1) / (lmax * (lmax - 1))
        return torch.where(degree > 1, eigenvalue ** (self.power // 2), 0.0) / (3600 * self.hours)


def product_grid(lmax: int, factors: int) -> Grid:
    """Return the smallest Gaussian grid, with a fast FFT, without aliasing of products.

    Args:
        lmax: Degrees of each factor and of the product, exclusive.
        factors: Number of factors, 2 for quadratic terms.
    """
    nlon = (factors + 1) * (lmax - 1) + 1
    while nlon % 4 or _largest_prime_factor(nlon) > 5:
        nlon += 1
    return Grid.legendre_gauss(nlon // 2, nlon)


def quadratic_grid(lmax: int) -> Grid:
    """Return the smallest Gaussian grid, with a fast FFT, without aliasing of quadratic terms."""
    return product_grid(lmax, 2)


def _largest_prime_factor(n: int) -> int:
    factor, largest = 2, 1
    while n > 1:
        while n % factor == 0:
            n, largest = n // factor, factor
        factor += 1
    return largest
