"""Potential vorticity of shallow water and on pressure levels."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import partial

import torch
from torch import Tensor

from configs.variables import Variable, variable
from forecast.inference.output.derived import DerivedField, Sphere, levels_of
from sphere_ops.grid import EARTH_GRAVITY
from sphere_ops.harmonics.winds import gradient_of

_SHALLOW_WATER = Variable("potential_vorticity", "Potential vorticity of shallow water", "m-1 s-1")
_REFERENCE = 1000.0  # hPa, pressure of the potential temperature
_KAPPA = 2 / 7  # gas constant over heat capacity of dry air


def find_potential_vorticity(names: Collection[str], sphere: Sphere) -> list[DerivedField]:
    """Return the potential vorticity of shallow water, and of each level between two others."""
    found = []
    if {"vorticity", "geopotential"} <= set(names) and "potential_vorticity" not in names:
        found.append(
            DerivedField(
                ("vorticity", "geopotential"),
                (_SHALLOW_WATER,),
                partial(_of_layer, sphere),
                whole_sphere=False,
            )
        )
    levels = levels_of(names, "u", "v", "t")
    for three in zip(levels, levels[1:], levels[2:], strict=False):
        middle = three[1]
        if f"vo{middle}" in names and f"pv{middle}" not in names:
            inputs = (f"vo{middle}", *(f"{base}{level}" for base in "uvt" for level in three))
            compute = partial(_of_levels, sphere, three)
            found.append(DerivedField(inputs, (variable(f"pv{middle}"),), compute))
    return found


def _of_layer(sphere: Sphere, fields: Tensor) -> Tensor:
    """Return (ζ + f) / h of vorticity and geopotential of the free surface, (b, 1, nlat, nlon)."""
    vorticity, geopotential = fields.unbind(1)
    depth = geopotential / EARTH_GRAVITY
    if sphere.surface is not None:
        depth = depth - sphere.surface.to(depth)
    return ((vorticity + sphere.coriolis.to(vorticity)) / depth)[:, None]


def _of_levels(sphere: Sphere, levels: tuple[int, int, int], fields: Tensor) -> Tensor:
    """Return Ertel's potential vorticity on the middle one of three levels, K m² kg⁻¹ s⁻¹.

    On pressure levels it is −g [(ζ + f) ∂θ/∂p − ∂v/∂p ∂θ/∂x + ∂u/∂p ∂θ/∂y], with derivatives in x
    and y at constant pressure (Hoskins, McIntyre and Robertson 1985). Those in the pressure are
    those of the parabola in ln p through the three levels.

    Args:
        sphere: Geometry.
        levels: Pressures, hPa, increasing.
        fields: Vorticity of the middle level, then u, v and t of the three, (b, 10, nlat, nlon).
    """
    vorticity, winds_and_t = fields[:, 0].double(), fields[:, 1:].double()
    u, v, t = winds_and_t.unflatten(1, (3, 3)).unbind(1)  # each (b, level, h, w)
    pressure = t.new_tensor(levels)[:, None, None]
    theta = t * (_REFERENCE / pressure) ** _KAPPA
    weights = t.new_tensor(_slope_weights([math.log(level) for level in levels]))
    # ∂/∂p = (1/p) ∂/∂ln p, p in Pa
    u_p, v_p, theta_p = (
        torch.einsum("l,blhw->bhw", weights, x) / (100 * levels[1]) for x in (u, v, theta)
    )
    theta_x, theta_y = gradient_of(theta[:, 1], sphere.grid, sphere.radius)
    absolute = vorticity + sphere.coriolis.to(vorticity)
    pv = -EARTH_GRAVITY * (absolute * theta_p - v_p * theta_x + u_p * theta_y)
    return pv.to(fields.dtype)[:, None]


def _slope_weights(x: list[float]) -> list[float]:
    """Return the weights of three values at x in the slope of their parabola at the middle one."""
    below, above = x[1] - x[0], x[2] - x[1]
    whole = below + above
    return [-above / (below * whole), (above - below) / (below * above), below / (above * whole)]
