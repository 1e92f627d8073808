"""FitzHugh-Nagumo equations on the unit sphere: two fields that react and diffuse.

In the activator u and the inhibitor v, with diffusivities D and a constant k,

    ∂u/∂t = D_u ∇²u + u − u³ − k − v
    ∂v/∂t = D_v ∇²v + u − v.

The unit of time is `TIME_UNIT`. Diffusion acts on each coefficient alone and is propagated exactly.
The cubic term is formed on a grid without aliasing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from configs.solvers import DiffusionReactionData, DiffusionReactionParameters
from data_prep.equations.problem import Description, Evolution, real_type, store_grid
from data_prep.equations.spectral_solver import SpectralSolver
from data_prep.solvers.sampling import FieldSampler
from data_prep.solvers.time_stepping import round_steps
from data_prep.solvers.truncation import product_grid
from sphere_ops.harmonics.random_fields import GaussianField

TIME_UNIT = 3600.0  # s: one unit of time of the equations is an hour of the store
CHANNELS = ("activator", "inhibitor")

_RATE_CHOSEN = 0.2  # for automatic steps: step times the fastest rate of the reaction


class DiffusionReaction(SpectralSolver):
    """Solver of the FitzHugh-Nagumo equations.

    A state holds the coefficients of u and v, complex, (..., 2, lmax, lmax).

    Args:
        lmax: Triangular truncation, exclusive.
        parameters: Diffusivities and the constant of the reaction.
        dtype: Real type, float64 or float32.
    """

    def __init__(
        self,
        lmax: int,
        parameters: DiffusionReactionParameters,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.parameters = parameters
        degree = torch.arange(lmax, dtype=torch.float64)
        diffusivity = torch.tensor(
            [parameters.activator_diffusivity, parameters.inhibitor_diffusivity],
            dtype=torch.float64,
        )
        rate = -diffusivity[:, None, None] * (degree * (degree + 1))[:, None] / TIME_UNIT
        super().__init__(product_grid(lmax, 3), lmax, rate, dtype)

    def tendency(self, state: Tensor, time: float) -> Tensor:
        """Return the reaction, s⁻¹, (..., 2, lmax, lmax); the time has no effect."""
        u, v = state.unbind(-3)
        activator = u - v - self.analysis(self.synthesis(u) ** 3)
        activator[..., 0, 0] -= self.parameters.constant * math.sqrt(4 * math.pi)
        return torch.stack((activator, u - v), dim=-3) / TIME_UNIT

    def steps_for(self, state: Tensor, duration: float) -> Tensor:
        """Return the number of steps in a duration (s) that resolves the reaction, int64, (...,).

        Diffusion is propagated exactly. The fastest rate of the reaction is close to 1 + 3u².
        """
        largest = self.synthesis(state[..., 0, :, :]).square().amax((-2, -1))
        needed = (1 + 3 * largest) * duration / TIME_UNIT / _RATE_CHOSEN
        return round_steps(torch.where(needed.isfinite(), needed, 1.0))

    def initial_states(self, seeds: Sequence[int]) -> Tensor:
        """Return Gaussian random states of variance 1 at every point, (n, 2, lmax, lmax)."""
        field = GaussianField(self.grid, self.parameters.initial_length, self.lmax)
        numbers = [(seed, i) for seed in seeds for i in range(2)]
        drawn = field.whole_coefficients(numbers).to(self.complex_dtype)
        return drawn.unflatten(0, (len(seeds), 2))


class DiffusionReactionProblem(Evolution):
    """Diffusion and reaction as a source of trajectories."""

    def __init__(self, data: DiffusionReactionData) -> None:
        solver = DiffusionReaction(data.lmax, data.parameters, real_type(data))
        description = Description(
            "Diffusion and reaction (FitzHugh-Nagumo)",
            f"spectral solver of the FitzHugh-Nagumo equations at T{data.lmax - 1}",
            "diffusion_reaction",
            CHANNELS,
        )
        super().__init__(description, solver, data)
        self.solver, self._names = solver, data.variables
        self._sampler = FieldSampler(store_grid(data), data.lmax)

    def initial_states(self, seeds: Sequence[int]) -> Tensor:
        """See `Evolution.initial_states`."""
        return self.solver.initial_states(seeds)

    def sample(self, state: Tensor) -> Tensor:
        """See `Evolution.sample`."""
        return self._sampler.scalar(state[..., [CHANNELS.index(n) for n in self._names], :, :])
