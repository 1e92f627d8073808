"""Budgets: global mean mass, energy, enstrophy and water, where the channels allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from forecast.verification.climate.diagnostic import Coordinate
from forecast.verification.climate.diagnostics.global_series import (
    GlobalSeries,
    series_distances,
    series_statistics,
)
from forecast.verification.climate.setting import Array, Block, Setting
from sphere_ops.harmonics.winds import winds

_GRAVITY = 9.80616
"""Gravitational acceleration of the solver and of its orography, m s⁻²."""
_ROTATION = 7.292e-5
"""Angular velocity of the Earth, s⁻¹."""


class Flow(NamedTuple):
    """Shallow-water flow: layer geopotential φ, winds, relative vorticity, each (k, nlat, nlon)."""

    phi: Array
    east: Array
    north: Array
    vorticity: Array
    surface: Array


@dataclass(frozen=True)
class Budget:
    """Global mean of an integrand.

    Attributes:
        name: Name of the budget.
        long_name: Description.
        units: UDUNITS.
        channels: Channels that it needs.
        integrand: Function of a block that returns fields (k, nlat, nlon).
    """

    name: str
    long_name: str
    units: str
    channels: tuple[str, ...]
    integrand: Callable[[Block], Array]


def budgets(setting: Setting) -> tuple[Budget, ...]:
    """Return the budgets that the channels allow."""
    found = [b for b in _FIXED if setting.complete(*b.channels)]
    for name in setting.names:
        level = name.removeprefix("u")
        if level.isdigit() and setting.complete(name, f"v{level}"):
            found.append(_kinetic_energy(name, f"v{level}", f"{level} hPa"))
    return tuple(found)


class Budgets(GlobalSeries):
    """Area means of mass, energy, enstrophy and water."""

    prefix = "budget"
    statistics = series_statistics("budget", "the budget", "budget")
    distances = series_distances("budget", "the budget")

    def __init__(self, setting: Setting, n_groups: int) -> None:
        """Start with no states."""
        self._budgets = budgets(setting)
        super().__init__(setting, n_groups)

    @classmethod
    def obstacle(cls, setting: Setting) -> str:
        """Return the reason why the diagnostic is left out."""
        return "" if budgets(setting) else "the channels allow none"

    @property
    def quantities(self) -> tuple[tuple[str, str], ...]:
        """Return the names and units of the budgets."""
        return tuple((b.name, b.units) for b in self._budgets)

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Return the coordinates of the budgets."""

        def labels(values: list[str], long_name: str) -> Coordinate:
            return ("budget",), np.array(values, dtype=object), {"long_name": long_name}

        return {
            "budget": labels([b.name for b in self._budgets], "Budget"),
            "budget_long_name": labels([b.long_name for b in self._budgets], "Description"),
            "budget_units": labels([b.units for b in self._budgets], "Units of the budget"),
        }

    def values(self, block: Block) -> Array:
        """Return the area means, (k, q)."""
        means = [(b.integrand(block) * self.setting.area).sum(-2) for b in self._budgets]
        return np.stack(means, -1).mean(1) * self.setting.grid.nlon


def _channel(block: Block, name: str) -> Array:
    return block.fields[:, block.setting.place[name]]


@lru_cache(maxsize=1)
def _flow(block: Block) -> Flow:
    """Return the flow of shallow-water states; winds follow from vorticity and divergence."""
    setting = block.setting
    vorticity, divergence = _channel(block, "vorticity"), _channel(block, "divergence")
    east, north = winds(
        torch.from_numpy(np.ascontiguousarray(vorticity)),
        torch.from_numpy(np.ascontiguousarray(divergence)),
        setting.grid,
        setting.radius,
    )
    surface = np.zeros(setting.grid.shape)
    if "orography" in setting.static:
        surface = _GRAVITY * setting.static["orography"].astype(np.float64)
    phi = _channel(block, "geopotential") - surface
    return Flow(phi, east.numpy(), north.numpy(), vorticity, surface)


def _mass(block: Block) -> Array:
    return _flow(block).phi


def _energy(block: Block) -> Array:
    flow = _flow(block)
    kinetic = (flow.east**2 + flow.north**2) / 2
    return flow.phi * (kinetic + flow.surface) + flow.phi**2 / 2


def _potential_enstrophy(block: Block) -> Array:
    flow = _flow(block)
    coriolis = 2 * _ROTATION * np.sin(np.radians(block.setting.latitude))[:, None]
    return (flow.vorticity + coriolis) ** 2 / (2 * flow.phi)


def _kinetic_energy(east: str, north: str, level: str) -> Budget:
    def integrand(block: Block) -> Array:
        return np.asarray((_channel(block, east) ** 2 + _channel(block, north) ** 2) / 2)

    name = f"kinetic_energy_{level.split()[0]}"
    return Budget(name, f"Kinetic energy at {level}", "m2 s-2", (east, north), integrand)


_SHALLOW_WATER = ("geopotential", "vorticity", "divergence")
_FIXED = (
    Budget("mass", "Mean geopotential of the layer", "m2 s-2", _SHALLOW_WATER, _mass),
    Budget("energy", "Mean total energy times gravity", "m4 s-4", _SHALLOW_WATER, _energy),
    Budget(
        "potential_enstrophy",
        "Mean potential enstrophy over gravity, with the rotation of the Earth",
        "m-2",
        _SHALLOW_WATER,
        _potential_enstrophy,
    ),
    Budget(
        "air_mass",
        "Mean mass of air in the column",
        "kg m-2",
        ("sp",),
        lambda block: _channel(block, "sp") / _GRAVITY,
    ),
    Budget(
        "dry_air_mass",
        "Mean mass of air in the column without its water vapour",
        "kg m-2",
        ("sp", "tcwv"),
        lambda block: _channel(block, "sp") / _GRAVITY - _channel(block, "tcwv"),
    ),
    Budget(
        "precipitation_minus_evaporation",
        "Mean precipitation minus evaporation in a period of accumulation",
        "m",
        ("tp", "e"),
        lambda block: _channel(block, "tp") + _channel(block, "e"),  # e is downward
    ),
    Budget(
        "precipitation_minus_evaporation_rate",
        "Mean rate of precipitation minus evaporation",
        "kg m-2 s-1",
        ("mtpr", "mer"),
        lambda block: _channel(block, "mtpr") + _channel(block, "mer"),
    ),
)
