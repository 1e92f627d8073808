"""Diagnostics of a state: conserved integrals and the kinetic energy spectrum."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from data_prep.shallow_water.equations import DIVERGENCE, GEOPOTENTIAL, VORTICITY, ShallowWater
from sphere_ops.harmonics.transforms import power_spectrum
from sphere_ops.parallel.fields import area_mean

INTEGRALS = {
    "mass": ("Mean geopotential of the layer", "m2 s-2"),
    "energy": ("Mean total energy times gravity", "m4 s-4"),
    "potential_enstrophy": ("Mean potential enstrophy over gravity", "m-2"),
    "angular_momentum": ("Mean angular momentum about the axis times gravity", "m4 s-3"),
}
"""Name to long name and units."""


def integrals(solver: ShallowWater, state: Tensor) -> Tensor:
    """Return area means that inviscid, unforced flow conserves, in the order of INTEGRALS.

    With the layer φ, surface Φ_s, wind V and absolute vorticity q = ζ + f, the integrands are φ;
    φ(V²/2 + Φ_s) + φ²/2; q²/(2φ); and φ a (k × r̂)·(V + Ω a k × r̂).

    Args:
        solver: Solver of the state; its grid is used.
        state: Coefficients, (..., 3, lmax, lmax).

    Returns:
        Means, float64, (..., 4).
    """
    planet, grid = solver.physics.planet, solver.grid
    vorticity, phi, east, north = solver.flow(state).double().unbind(-3)
    phi = phi + solver.physics.mean_geopotential
    coriolis = planet.coriolis(grid).to(phi)
    surface = 0.0
    if solver.physics.orography is not None:
        orography = solver.physics.orography.to(state)
        surface = solver.on_grid(orography[None])[0].double()  # type: ignore[assignment]
    turn_east, turn_north = (x.to(phi) for x in planet.around_axis(grid))
    squared = turn_east**2 + turn_north**2
    momentum = planet.radius * (east * turn_east + north * turn_north) + (
        planet.radius**2 * planet.rotation * squared
    )
    fields = (
        phi,
        phi * ((east**2 + north**2) / 2 + surface) + phi**2 / 2,
        (vorticity + coriolis) ** 2 / (2 * phi),
        phi * momentum,
    )
    means = torch.stack([area_mean(field, grid) for field in fields], dim=-1)
    # The mean is a coefficient of the state, without the rounding of a sum over the grid.
    mean = state[..., GEOPOTENTIAL, 0, 0].real.double() / math.sqrt(4 * math.pi)
    means[..., 0] = mean + solver.physics.mean_geopotential
    return means


def kinetic_energy_spectrum(solver: ShallowWater, state: Tensor) -> Tensor:
    """Return the kinetic energy of each degree, (..., lmax), m² s⁻²; its sum is the mean |V|²/2."""
    degree = torch.arange(solver.lmax, dtype=torch.float64, device=state.device)
    scale = torch.where(
        degree > 0, solver.physics.planet.radius**2 / (degree * (degree + 1)).clamp(min=1), 0.0
    )
    power = power_spectrum(state[..., VORTICITY, :, :]) + power_spectrum(
        state[..., DIVERGENCE, :, :]
    )
    return scale / 2 * power.double()
