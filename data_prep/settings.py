"""What acts on the states of each case: planet, layer, orography and diffusion, from numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from data_prep.planet import Hyperdiffusion, Planet, Setting, quadratic_grid
from sphere_ops.grid import Grid, area_mean
from sphere_ops.harmonics import RealSHT

Values = Mapping[str, float]


def planet(**constants: float) -> dict[str, float]:
    """Constants of a planet, and others."""
    earth = Planet()
    return {
        "radius": earth.radius,
        "rotation": earth.rotation,
        "gravity": earth.gravity,
        **constants,
    }


def deep(*, mean_height: float, hyperdiffusion_hours: float) -> dict[str, float]:
    """Constants of a planet with a layer and hyperdiffusion, in hours at the smallest scale."""
    return planet(
        mean_height=mean_height,
        hyperdiffusion_hours=hyperdiffusion_hours,
        hyperdiffusion_power=8.0,
        viscosity=0.0,
    )


def flat(values: Values, lmax: int) -> Setting:
    """A layer without orography."""
    return Setting(
        _planet(values),
        mean_geopotential=values["gravity"] * values["mean_height"],
        hyperdiffusion=_hyperdiffusion(values),
        viscosity=values["viscosity"],
    )


def tilted(values: Values, lmax: int) -> Setting:
    """A layer on a planet whose axis is at an angle α (degrees) to that of the grid."""
    return Setting(_planet(values), values["gravity"] * values["mean_height"])


def advection(values: Values, lmax: int) -> Setting:
    """A given wind that carries the height."""
    return Setting(_planet(values), values["gravity"] * values["mean_height"], frozen_wind=True)


def mountain(values: Values, lmax: int) -> Setting:
    """A layer over one conical mountain: height in m, place and radius in degrees."""
    grid = quadratic_grid(lmax)
    surface = values["gravity"] * torch.from_numpy(cone(grid, values))
    coeffs = RealSHT(grid, lmax=lmax, mmax=lmax)(surface[None])[0]
    layer = values["mean_height"] - float(area_mean(surface, grid)) / values["gravity"]
    return Setting(
        _planet(values),
        mean_geopotential=values["gravity"] * layer,
        hyperdiffusion=_hyperdiffusion(values),
        viscosity=values["viscosity"],
        orography=coeffs,
    )


def cone(grid: Grid, values: Values) -> np.ndarray:
    """Height of a mountain (1 − r/R), r in degrees of latitude and longitude, m (nlat, nlon)."""
    latitude = grid.latitude.numpy()[:, None] - values["mountain_latitude"]
    longitude = _around(grid.longitude.numpy()[None, :] - values["mountain_longitude"])
    distance = np.minimum(np.hypot(latitude, longitude), values["mountain_radius"])
    return values["mountain_height"] * (1 - distance / values["mountain_radius"])


def _around(longitude: np.ndarray) -> np.ndarray:
    """Degrees in [−180, 180)."""
    return (longitude + 180) % 360 - 180


def _planet(values: Values) -> Planet:
    for key in ("radius", "gravity"):
        if values[key] <= 0:
            raise ValueError(f"{key} is {values[key]:g}; expected a positive number")
    return Planet(
        values["radius"],
        values["rotation"],
        values["gravity"],
        float(np.deg2rad(values.get("alpha", 0.0))),
    )


def _hyperdiffusion(values: Values) -> Hyperdiffusion | None:
    hours, power = values["hyperdiffusion_hours"], int(values["hyperdiffusion_power"])
    if hours < 0 or power not in (4, 8):
        raise ValueError(
            f"hyperdiffusion_hours {hours:g} with hyperdiffusion_power {power}; expected hours "
            "above 0 (or 0 for none) and a power of 4 or 8"
        )
    return Hyperdiffusion(hours, power) if hours else None
