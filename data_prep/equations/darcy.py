"""Steady Darcy flow on the unit sphere: −∇·(a∇u) = f.

The permeability a takes two values, according to the sign of a Gaussian random field. The source f
is one harmonic, the same for all samples; f and the hydraulic head u have mean 0.

u is the Galerkin solution in the harmonics of degree below lmax: the integrals ∫ a ∇u·∇Y are sums
over a Gaussian grid, on which products of three such fields are exact. The system is symmetric and
positive definite, and is solved by conjugate gradients with the inverse Laplacian as its
preconditioner; the number of steps depends on the contrast of a and not on the resolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.solvers import DarcyData, DarcyParameters
from data_prep.equations.conjugate_gradients import solve
from data_prep.equations.harmonic import unit_harmonic
from data_prep.equations.problem import Description, Problem, store_grid
from data_prep.solvers.batch import Block, Failure
from data_prep.solvers.sampling import FieldSampler
from data_prep.solvers.truncation import quadratic_grid
from sphere_ops.grid import Grid
from sphere_ops.harmonics.random_fields import GaussianField
from sphere_ops.harmonics.transforms import (
    InverseRealVectorSHT,
    RealVectorSHT,
    gradient,
    inverse_laplacian,
    vorticity_divergence_from_wind,
)

CHANNELS = ("hydraulic_head", "permeability")
_TAIL = 6.0  # degrees of the random field times its length: beyond them its variance is e^{-18}


class Darcy:
    """Solver of −∇·(a∇u) = f for many permeabilities at a time, in float64.

    Args:
        lmax: Triangular truncation of u, exclusive.
        grid: Grid of the integrals; default: the smallest on which a product of three fields of
            degree below lmax is exact.
    """

    def __init__(self, lmax: int, grid: Grid | None = None) -> None:
        self.lmax, self.grid = lmax, grid or quadratic_grid(lmax)
        self._to_gradient = InverseRealVectorSHT(self.grid, lmax, lmax)
        self._to_flux = RealVectorSHT(self.grid, lmax, lmax)

    def apply(self, permeability: Tensor, head: Tensor) -> Tensor:
        """Return −∇·(a∇u), (n, lmax, lmax) complex.

        Args:
            permeability: a on the grid of the integrals, (n, nlat, nlon).
            head: Coefficients of u, (n, lmax, lmax) complex.
        """
        flux = permeability.unsqueeze(-3) * gradient(self._to_gradient, head)
        _, divergence = vorticity_divergence_from_wind(self._to_flux, flux, 1.0)
        return -divergence

    def solve(self, permeability: Tensor, source: Tensor, tolerance: float = 1e-10) -> Tensor:
        """Return the coefficients of u, with mean 0, (n, lmax, lmax) complex.

        Args:
            permeability: a on the grid of the integrals, positive, (n, nlat, nlon).
            source: Coefficients of f, with mean 0, (n, lmax, lmax) complex.
            tolerance: Largest residual relative to f.

        Raises:
            ValueError: if f has a mean, for which there is no solution.
        """
        if source[..., 0, 0].abs().max() > 1e-12 * source.abs().max():
            raise ValueError("the source has a mean; subtract it, because a sphere has no outflow")
        scale = (permeability * self.grid.area_weights).sum((-2, -1))[:, None, None]
        return solve(
            lambda head: self.apply(permeability, head),
            lambda residual: -inverse_laplacian(residual) / scale,
            source,
            tolerance,
        )


class RandomPermeability:
    """Piecewise constant permeability from thresholded Gaussian random fields.

    Args:
        parameters: Values and correlation length.

    Attributes:
        lmax: Degrees of the Gaussian field, exclusive.
    """

    def __init__(self, parameters: DarcyParameters) -> None:
        self._parameters = parameters
        self.lmax = math.ceil(_TAIL / parameters.length) + 1
        grid = Grid.legendre_gauss(self.lmax, 2 * self.lmax)
        self._field = GaussianField(grid, parameters.length, self.lmax)

    def coefficients(self, seeds: Sequence[int]) -> Tensor:
        """Return the coefficients of the Gaussian fields of some seeds, (n, lmax, lmax)."""
        return self._field.whole_coefficients([(seed,) for seed in seeds]).to(torch.complex128)

    def sampler(self, grid: Grid) -> FieldSampler:
        """Return the sampler of the Gaussian fields on a grid.

        Raises:
            ValueError: if the grid does not resolve the fields.
        """
        if min(grid.nlat, (grid.nlon + 1) // 2) < self.lmax:
            raise ValueError(
                f"permeability with a correlation length of {self._parameters.length:g} radians on "
                f"a grid {grid}; take at least {_TAIL / (min(grid.shape) / 2 - 1):.2g} radians, or "
                "a finer grid"
            )
        return FieldSampler(grid, self.lmax)

    def on_grid(self, sampler: FieldSampler, coeffs: Tensor) -> Tensor:
        """Return the permeability at the points of the grid of a sampler, (n, nlat, nlon)."""
        above = sampler.scalar(coeffs) > 0
        return torch.where(above, self._parameters.high, self._parameters.low).double()


class DarcyProblem(Problem):
    """Darcy flow as a source of samples.

    A store has times: a sample is a trajectory of two states. The permeability is given in both.
    The head is 0 in the first state, before the source acts, so that the answer is in the second
    state alone.
    """

    def __init__(self, data: DarcyData) -> None:
        p = data.parameters
        self.description = Description(
            "Steady Darcy flow",
            f"spectral Galerkin solver of steady Darcy flow at T{data.lmax - 1}",
            "darcy",
            CHANNELS,
        )
        self._names, self.solver = data.channels, Darcy(data.lmax)
        self._source = unit_harmonic(data.lmax, p.source_degree, p.source_order)
        self._permeability, grid = RandomPermeability(p), store_grid(data)
        self._head = FieldSampler(grid, data.lmax)
        self._at_store = self._permeability.sampler(grid)
        self._at_solver = self._permeability.sampler(self.solver.grid)

    def solve(
        self, seeds: Sequence[int], times: NDArray[np.datetime64], block: int, stopped: Event
    ) -> Iterator[Block | Failure]:
        """See `Problem.solve`."""
        coeffs = self._permeability.coefficients(seeds)
        permeability = self._permeability.on_grid(self._at_solver, coeffs)
        head = self.solver.solve(permeability, self._source.expand(len(seeds), -1, -1))
        fields = {
            "hydraulic_head": self._head.scalar(head),
            "permeability": self._permeability.on_grid(self._at_store, coeffs),
        }
        sample = torch.stack([fields[name] for name in self._names], dim=-3).float().numpy()
        states = np.repeat(sample[:, None], len(times), axis=1)
        states[:, 0, [name == "hydraulic_head" for name in self._names]] = 0
        for start in range(0, len(times), block):
            yield Block(start, tuple(range(len(seeds))), states[:, start : start + block])
