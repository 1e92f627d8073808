"""Forced barotropic vorticity equation on a rotating sphere, spectral in space.

In vorticity ζ = ∇²ψ, with the wind V = k × ∇ψ, planetary vorticity f = 2Ω sin φ, drag r,
hyperdiffusion and a steady forcing F,

    ∂ζ/∂t = −∇·(ζV) − V·∇f − rζ − ν∇⁸ζ + F.

The planetary, drag and diffusion terms act on each coefficient alone and are propagated exactly:
V·∇f is −2iΩm/(l(l+1)) ζ_lm. Products are formed on a grid without aliasing, so that advection
conserves energy and enstrophy but for the error of the time step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from configs.solvers import BarotropicData, BarotropicParameters
from data_prep.equations.harmonic import unit_harmonic
from data_prep.equations.problem import Description, Evolution, real_type, store_grid
from data_prep.equations.spectral_solver import SpectralSolver
from data_prep.solvers.sampling import FieldSampler
from data_prep.solvers.time_stepping import round_steps
from data_prep.solvers.truncation import Hyperdiffusion, quadratic_grid
from sphere_ops.harmonics.random_fields import GaussianField
from sphere_ops.harmonics.transforms import (
    InverseRealVectorSHT,
    RealVectorSHT,
    power_spectrum,
    vorticity_divergence_from_wind,
    wind_from_vorticity_divergence,
)

CHANNELS = ("vorticity", "eastward_wind", "northward_wind")
"""Variables that a state can be sampled as."""

_COURANT_CHOSEN = 0.7  # for automatic steps, in shortest wavelengths as for shallow water


class Barotropic(SpectralSolver):
    """Solver of the barotropic vorticity equation.

    A state holds the coefficients of ζ, s⁻¹, complex, (..., lmax, lmax).

    Args:
        lmax: Triangular truncation, exclusive.
        parameters: Sphere, forcing and damping.
        dtype: Real type, float64 or float32.
        forcing: Coefficients of F, s⁻², (lmax, lmax); default: the harmonic of the parameters.
    """

    def __init__(
        self,
        lmax: int,
        parameters: BarotropicParameters,
        dtype: torch.dtype = torch.float64,
        forcing: Tensor | None = None,
    ) -> None:
        self.parameters = parameters
        super().__init__(quadratic_grid(lmax), lmax, _linear_rate(lmax, parameters), dtype)
        if forcing is None:
            pattern = unit_harmonic(lmax, parameters.forcing_degree, parameters.forcing_order)
            forcing = parameters.forcing * pattern
        self.forcing = forcing.to(self.complex_dtype)
        self._to_flux = RealVectorSHT(self.grid, lmax, lmax)
        self._to_wind = InverseRealVectorSHT(self.grid, lmax, lmax)

    def tendency(self, state: Tensor, time: float) -> Tensor:
        """Return −∇·(ζV) + F, (..., lmax, lmax); the time has no effect."""
        flux = self.synthesis(state).unsqueeze(-3) * self.wind(state)
        _, divergence = vorticity_divergence_from_wind(self._to_flux, flux, self.parameters.radius)
        return self.forcing - divergence

    def wind(self, state: Tensor) -> Tensor:
        """Return eastward and northward wind on the grid, m s⁻¹, (..., 2, nlat, nlon)."""
        zero = torch.zeros_like(state)
        return wind_from_vorticity_divergence(self._to_wind, state, zero, self.parameters.radius)

    def steps_for(self, state: Tensor, duration: float) -> Tensor:
        """Return the number of steps in a duration (s) that resolves the flow, int64, (...,).

        Waves are propagated exactly, so that the wind alone limits the step.
        """
        speed = self.wind(state).square().sum(-3).amax((-2, -1)).sqrt()
        per_speed = math.sqrt(self.lmax * (self.lmax - 1)) / self.parameters.radius
        courant = speed * per_speed * duration / _COURANT_CHOSEN
        return round_steps(torch.where(courant.isfinite(), courant, 1.0))

    def energy_spectrum(self, state: Tensor) -> Tensor:
        """Return the kinetic energy of each degree, m² s⁻², (..., lmax); it sums to |V|²/2."""
        degree = torch.arange(self.lmax, dtype=self.dtype)
        eigenvalue = (degree * (degree + 1)).clamp(min=1) / self.parameters.radius**2
        return power_spectrum(state) / eigenvalue / 2

    def enstrophy(self, state: Tensor) -> Tensor:
        """Return the area mean of ζ²/2, s⁻², (...,)."""
        return power_spectrum(state).sum(-1) / 2

    def initial_states(self, seeds: Sequence[int]) -> Tensor:
        """Return Gaussian random states of a given rms wind, (n, lmax, lmax).

        Low degrees do not depend on the truncation but for the scale that gives the wind.
        """
        length = self.parameters.initial_length
        field = GaussianField(self.grid, length, self.lmax, first_degree=2)
        state = field.whole_coefficients([(seed,) for seed in seeds]).to(self.complex_dtype)
        wind = (2 * self.energy_spectrum(state).sum(-1)).sqrt()
        return state * (self.parameters.initial_wind / wind)[:, None, None]


class BarotropicProblem(Evolution):
    """Forced barotropic turbulence as a source of trajectories."""

    def __init__(self, data: BarotropicData) -> None:
        solver = Barotropic(data.lmax, data.parameters, real_type(data))
        description = Description(
            "Forced barotropic turbulence",
            f"spectral solver of the barotropic vorticity equation at T{data.lmax - 1}",
            "barotropic",
            CHANNELS,
            data.parameters.radius,
        )
        super().__init__(description, solver, data)
        self.solver, self._names = solver, data.variables
        self._sampler = FieldSampler(store_grid(data), data.lmax)

    def initial_states(self, seeds: Sequence[int]) -> Tensor:
        """See `Evolution.initial_states`."""
        return self.solver.initial_states(seeds)

    def sample(self, state: Tensor) -> Tensor:
        """See `Evolution.sample`."""
        fields = {"vorticity": self._sampler.scalar(state)}
        if set(self._names) - {"vorticity"}:
            radius = self.solver.parameters.radius
            wind = self._sampler.wind(state, torch.zeros_like(state), radius)
            fields["eastward_wind"], fields["northward_wind"] = wind.unbind(-3)
        return torch.stack([fields[name] for name in self._names], dim=-3)


def _linear_rate(lmax: int, parameters: BarotropicParameters) -> Tensor:
    """Return 2iΩm/(l(l+1)) − r − hyperdiffusion, s⁻¹, (lmax, lmax) complex128."""
    degree = torch.arange(lmax, dtype=torch.float64)
    order = torch.arange(lmax, dtype=torch.float64)
    damping = torch.zeros(lmax, dtype=torch.float64)
    if parameters.drag_days:
        damping += 1 / (86400 * parameters.drag_days)
    if parameters.hyperdiffusion_hours:
        damping += Hyperdiffusion(parameters.hyperdiffusion_hours).rate(lmax)
    eigenvalue = (degree * (degree + 1)).clamp(min=1)
    rossby = 2 * parameters.rotation * order / eigenvalue[:, None]
    return torch.complex(-damping[:, None].expand(lmax, lmax), rossby)
