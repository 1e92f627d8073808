"""Winds from vorticity and divergence, the reverse, and wind speed."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import torch
from torch import Tensor

from configs.variables import Variable, variable
from forecast.inference.output.derived import DerivedField, Sphere, levels_of
from sphere_ops.harmonics.winds import vorticity_divergence, winds

_SHALLOW_WATER = ("vorticity", "divergence", "eastward_wind", "northward_wind")
_PRESSURE = ("vo", "d", "u", "v")
_SPEED = Variable("wind_speed", "Wind speed", "m s-1", "wind_speed", positive=True)
_HEIGHTS = (("u10", "v10", "si10"), ("u100m", "v100m", "si100"))


def find_winds(names: Collection[str], sphere: Sphere) -> list[DerivedField]:
    """Return the winds of every pair of vorticity and divergence whose winds are not there."""
    return [
        DerivedField((vorticity, divergence), (variable(u), variable(v)), partial(_winds, sphere))
        for vorticity, divergence, u, v in _groups(names, 0, 1)
        if u not in names or v not in names
    ]


def find_vorticity(names: Collection[str], sphere: Sphere) -> list[DerivedField]:
    """Return vorticity and divergence of every pair of winds that has none of its own."""
    return [
        DerivedField((u, v), (variable(vorticity), variable(divergence)), partial(_turn, sphere))
        for vorticity, divergence, u, v in _groups(names, 2, 3)
        if vorticity not in names or divergence not in names
    ]


def find_speed(names: Collection[str], sphere: Sphere) -> list[DerivedField]:
    """Return the speed of every pair of winds."""
    pairs = [(u, v, _speed_of(u)) for *_, u, v in _groups(names, 2, 3)]
    pairs += [(u, v, variable(speed)) for u, v, speed in _HEIGHTS if u in names and v in names]
    return [
        DerivedField((u, v), (speed,), _speed, whole_sphere=False)
        for u, v, speed in pairs
        if speed.name not in names
    ]


def _groups(names: Collection[str], *needed: int) -> list[tuple[str, ...]]:
    """Return the names of vorticity, divergence and winds of which some are there.

    Args:
        names: Names of variables.
        needed: Places of those that have to be there.
    """
    levels = levels_of(names, *(_PRESSURE[i] for i in needed))
    groups: list[tuple[str, ...]] = [tuple(f"{n}{level}" for n in _PRESSURE) for level in levels]
    if all(_SHALLOW_WATER[i] in names for i in needed):
        groups.insert(0, _SHALLOW_WATER)
    return groups


def _speed_of(u: str) -> Variable:
    return _SPEED if u == "eastward_wind" else variable(f"ws{u.removeprefix('u')}")


def _winds(sphere: Sphere, fields: Tensor) -> Tensor:
    vorticity, divergence = fields.unbind(1)
    return torch.stack(winds(vorticity, divergence, sphere.grid, sphere.radius), dim=1)


def _turn(sphere: Sphere, fields: Tensor) -> Tensor:
    u, v = fields.unbind(1)
    return torch.stack(vorticity_divergence(u, v, sphere.grid, sphere.radius), dim=1)


def _speed(fields: Tensor) -> Tensor:
    u, v = fields.unbind(1)
    return torch.hypot(u, v)[:, None]
