"""Gaussian random fields on the sphere, with a correlation length."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT


class GaussianField(nn.Module):
    """Isotropic Gaussian random fields with mean 0 and variance 1 at every point.

    The coefficients of degree l are independent, with a variance proportional to
    exp(−l(l+1)L²/2). The correlation of two points at the small distance θ is then close to
    exp(−θ²/2L²): L is the correlation length.

    A field depends on its seed alone: not on the other fields that are drawn with it, the device,
    or the mesh. Truncations agree too: fields with a larger lmax add degrees to those with a
    smaller one, up to the normalisation of the variance.

    Args:
        grid: Grid of the fields.
        length_scale: Correlation length L, radians.
        lmax: Degrees, exclusive; `grid.exact_lmax` if not given.
        first_degree: Smallest degree; 1 for fields without an area mean.

    Raises:
        ValueError: If the length is not positive, or there is no degree to draw.
    """

    scale: Tensor

    def __init__(
        self, grid: Grid, length_scale: float, lmax: int | None = None, first_degree: int = 0
    ) -> None:
        super().__init__()
        if not length_scale > 0:
            raise ValueError(f"length_scale is {length_scale}; expected a positive length, radians")
        self.grid, self._synthesis = grid, InverseRealSHT(grid, lmax, lmax)
        self.lmax, self.length_scale = self._synthesis.lmax, length_scale
        if not 0 <= first_degree < self.lmax:
            raise ValueError(
                f"first_degree is {first_degree}; expected 0 to {self.lmax - 1}, below lmax"
            )
        degree = torch.arange(self.lmax, dtype=torch.float64)
        exponent = degree * (degree + 1) * length_scale**2 / 2
        variance = torch.exp(exponent[first_degree] - exponent) * (degree >= first_degree)
        variance /= ((2 * degree + 1) * variance).sum() / (4 * math.pi)
        self.register_buffer("scale", variance.sqrt().float(), persistent=False)

    def coefficients(self, seeds: Sequence[Sequence[int]]) -> Tensor:
        """Draw coefficients, (n, lmax, mmax) complex64; in a mesh the orders of this rank.

        Args:
            seeds: Seed of each field: some whole numbers from 0, such as (seed, member, step).
        """
        order = self._synthesis.orders.index
        return self.whole_coefficients(seeds)[..., order.to(self.scale.device)]

    def whole_coefficients(self, seeds: Sequence[Sequence[int]]) -> Tensor:
        """Draw coefficients of all orders, (n, lmax, lmax) complex64, on every rank of a mesh."""
        drawn = np.stack([_draw(seed, self.lmax) for seed in seeds]) if len(seeds) else (
            np.zeros((0, self.lmax, self.lmax), dtype=np.complex64))  # fmt: skip
        return torch.from_numpy(drawn).to(self.scale.device) * self.scale[:, None]

    def forward(self, seeds: Sequence[Sequence[int]]) -> Tensor:
        """Draw fields, (n, nlat, nlon) float32; in a mesh the rows of this rank.

        Args:
            seeds: Seed of each field; see `coefficients`.
        """
        return self.synthesise(self.coefficients(seeds))

    def synthesise(self, coeffs: Tensor) -> Tensor:
        """Return the fields (..., nlat, nlon) of coefficients (..., lmax, mmax)."""
        return self._synthesis(coeffs)


def _draw(seed: Sequence[int], lmax: int) -> np.ndarray:
    """Draw the coefficients of one field with variance 1, degree by degree, (lmax, lmax)."""
    values = np.random.default_rng(list(seed)).standard_normal(lmax**2)
    coeffs = np.zeros((lmax, lmax), dtype=np.complex64)
    degree, order = np.tril_indices(lmax)
    real, imaginary = values[degree**2 + order], values[degree**2 + degree + order]
    coeffs[degree, order] = np.where(order > 0, (real + 1j * imaginary) / math.sqrt(2), real)
    return coeffs
