"""Physics that the trajectories of a case share: planet, layer, damping and forcing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from data_prep.solvers.truncation import Hyperdiffusion
from sphere_ops.grid import EARTH_GRAVITY, EARTH_RADIUS, EARTH_ROTATION, Grid


@dataclass(frozen=True)
class Planet:
    """Rotating sphere with gravity.

    Attributes:
        radius: Radius, m.
        rotation: Angular velocity Ω, s⁻¹.
        gravity: Gravitational acceleration, m s⁻².
        axis_tilt: Angle α from the axis of the grid to the axis of rotation, radians.
    """

    radius: float = EARTH_RADIUS
    rotation: float = EARTH_ROTATION
    gravity: float = EARTH_GRAVITY
    axis_tilt: float = 0.0

    def sine_about_axis(self, grid: Grid) -> Tensor:
        """Return the sine of the latitude about the axis of rotation, (nlat, nlon) float64.

        It is sin φ cos α − cos λ cos φ sin α (Williamson et al. 1992).
        """
        latitude = torch.deg2rad(grid.latitude)[:, None]
        longitude = torch.deg2rad(grid.longitude)[None, :]
        return torch.sin(latitude) * math.cos(self.axis_tilt) - (
            torch.cos(longitude) * torch.cos(latitude) * math.sin(self.axis_tilt)
        )

    def around_axis(self, grid: Grid) -> tuple[Tensor, Tensor]:
        """Return the east and north components of k × r̂, k the axis of rotation, (nlat, nlon)."""
        latitude = torch.deg2rad(grid.latitude)[:, None]
        longitude = torch.deg2rad(grid.longitude)[None, :]
        cosine, sine = math.cos(self.axis_tilt), math.sin(self.axis_tilt)
        east = torch.cos(latitude) * cosine + torch.sin(latitude) * torch.cos(longitude) * sine
        return east, (-torch.sin(longitude) * sine).expand(grid.shape)

    def coriolis(self, grid: Grid) -> Tensor:
        """Return the Coriolis parameter f, s⁻¹, (nlat, nlon) float64."""
        return 2 * self.rotation * self.sine_about_axis(grid)


@dataclass(frozen=True)
class Physics:
    """Planet, layer, damping and forcing, the same for all trajectories of a case.

    Attributes:
        planet: Planet.
        mean_geopotential: Geopotential Φ̄ about which φ is linearised, m² s⁻², near the mean of φ.
        hyperdiffusion: Diffusion at small scales; None for no diffusion.
        orography: Coefficients of the surface geopotential Φ_s, m² s⁻², (lmax, lmax); None for a
            flat surface.
        viscosity: Coefficient ν of ν∇² on all three fields, m² s⁻¹. Mass and solid rotation are
            exempt.
        drag: Decay rate of vorticity and divergence, s⁻¹.
        zonal_relaxation: Decay rate of the zonal means of all fields except mass, s⁻¹. With a
            forcing, they relax towards its target.
        forcing: Function of the time in s; tendency of the three fields, (3, lmax, lmax).
        frozen_wind: True if vorticity and divergence are constant, so that φ is advected by a
            given wind.
    """

    planet: Planet
    mean_geopotential: float
    hyperdiffusion: Hyperdiffusion | None = None
    orography: Tensor | None = None
    viscosity: float = 0.0
    drag: float = 0.0
    zonal_relaxation: float = 0.0
    forcing: Callable[[float], Tensor] | None = None
    frozen_wind: bool = False
