"""Physics of each case from its constants: planet, layer, orography, damping and forcing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from data_prep.shallow_water.forced_climate import Climate, mountains
from data_prep.shallow_water.planet import Physics, Planet
from data_prep.solvers.truncation import Hyperdiffusion, quadratic_grid
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import RealSHT

Values = Mapping[str, float]


def planet_defaults(**constants: float) -> dict[str, float]:
    """Return the constants of the Earth, with others added or replaced."""
    earth = Planet()
    return {
        "radius": earth.radius,
        "rotation": earth.rotation,
        "gravity": earth.gravity,
        **constants,
    }


def layer_defaults(*, mean_height: float, hyperdiffusion_hours: float) -> dict[str, float]:
    """Return the constants of a planet with a layer and its diffusion."""
    return planet_defaults(
        mean_height=mean_height,
        hyperdiffusion_hours=hyperdiffusion_hours,
        hyperdiffusion_power=8.0,
        viscosity=0.0,
    )


def make_physics(values: Values, lmax: int, surface: Tensor | None, **more: object) -> Physics:
    """Return the physics of a layer over a surface.

    Args:
        values: Constants of the case; `mean_height` is the mean height of the free surface.
        lmax: Truncation, exclusive.
        surface: Coefficients of the height of the surface, m; None for a flat surface.
        more: Other attributes of `Physics`, such as its forcing.

    Raises:
        ValueError: if the mean depth of the layer is not positive.
    """
    depth = values["mean_height"]
    if surface is not None:
        depth -= float(surface[0, 0].real) / math.sqrt(4 * math.pi)
    if depth <= 0:
        raise ValueError(
            f"mean_height {values['mean_height']:g} m leaves a layer {depth:g} m deep; expected a "
            "positive depth above the mean of the surface"
        )
    return Physics(
        _planet(values),
        mean_geopotential=values["gravity"] * depth,
        hyperdiffusion=_hyperdiffusion(values),
        viscosity=_not_negative(values, "viscosity"),
        orography=None if surface is None else values["gravity"] * surface,
        **more,  # type: ignore[arg-type]
    )


def mountain(values: Values, lmax: int, surface: Tensor | None) -> Physics:
    """Return the physics of a layer over one conical mountain."""
    return make_physics(values, lmax, analysed(cone(quadratic_grid(lmax), values), lmax))


def tilted(values: Values, lmax: int, surface: Tensor | None) -> Physics:
    """Return the physics of a planet whose axis is tilted by α (degrees) against the grid."""
    return Physics(_planet(values), values["gravity"] * values["mean_height"])


def advection(values: Values, lmax: int, surface: Tensor | None) -> Physics:
    """Return the physics of advection of the height by a given wind."""
    return Physics(_planet(values), mean_geopotential=0.0, frozen_wind=True)


def forced(values: Values, lmax: int, surface: Tensor | None) -> Physics:
    """Return the physics of the forced climate, see `Climate`, with drag.

    Without a given surface it has the mountains of `forced_climate`, times `mountain_scale`.
    """
    if surface is None:
        height = values["mountain_scale"] * mountains(quadratic_grid(lmax)).numpy()
        surface = analysed(height, lmax)
    return make_physics(
        values,
        lmax,
        surface,
        drag=_rate(values, "drag_days"),
        zonal_relaxation=_rate(values, "relaxation_days"),
        forcing=Climate(
            lmax,
            _planet(values),
            values["gravity"] * surface,
            mean_geopotential=values["gravity"] * values["mean_height"],
            jet_speed=values["jet_speed"],
            jet_latitude=values["jet_latitude"],
            jet_width=values["jet_width"],
            season=values["season"],
            relaxation=_rate(values, "relaxation_days"),
            heating=values["gravity"] * values["daily_heating"] / 86400,
        ),
    )


def cone(grid: Grid, values: Values) -> np.ndarray:
    """Return the height of a conical mountain, m, (nlat, nlon), linear in degrees of distance."""
    latitude = grid.latitude.numpy()[:, None] - values["mountain_latitude"]
    longitude = (grid.longitude.numpy()[None, :] - values["mountain_longitude"] + 180) % 360 - 180
    distance = np.minimum(np.hypot(latitude, longitude), values["mountain_radius"])
    return values["mountain_height"] * (1 - distance / values["mountain_radius"])


def analysed(height: np.ndarray, lmax: int) -> Tensor:
    """Return the coefficients (lmax, lmax) of a field on the grid of the solver."""
    transform = RealSHT(quadratic_grid(lmax), lmax=lmax, mmax=lmax)
    return transform(torch.from_numpy(np.ascontiguousarray(height, dtype=np.float64)))


def _planet(values: Values) -> Planet:
    for key in ("radius", "gravity"):
        if values[key] <= 0:
            raise ValueError(f"{key} is {values[key]:g}; expected a positive number")
    return Planet(
        values["radius"],
        values["rotation"],
        values["gravity"],
        math.radians(values.get("alpha", 0.0)),
    )


def _hyperdiffusion(values: Values) -> Hyperdiffusion | None:
    power = int(values["hyperdiffusion_power"])
    if power not in (4, 8):
        raise ValueError(f"hyperdiffusion_power is {power}; expected a power of ∇ of 4 or 8")
    hours = _not_negative(values, "hyperdiffusion_hours")
    return Hyperdiffusion(hours, power) if hours else None


def _rate(values: Values, key: str) -> float:
    """Return the rate of a time in days, s⁻¹."""
    if values[key] <= 0:
        raise ValueError(f"{key} is {values[key]:g}; expected a positive number of days")
    return 1 / (86400 * values[key])


def _not_negative(values: Values, key: str) -> float:
    if values[key] < 0:
        raise ValueError(f"{key} is {values[key]:g}; expected a number of at least 0")
    return values[key]
