"""Budgets: global mean mass, energy, enstrophy and water, where the channels allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from forecast.verification.climate.diagnostic import Coordinate
from forecast.verification.climate.diagnostics.global_series import (
    GlobalSeries,
    series_distances,
    series_statistics,
)
from forecast.verification.climate.setting import Array, Block, Setting
from forecast.verification.shallow_water import CHANNELS, ShallowWaterFlow
from sphere_ops.grid import EARTH_GRAVITY


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
def _flow(block: Block) -> ShallowWaterFlow:
    """Return the flow of shallow-water states."""
    setting = block.setting
    return ShallowWaterFlow.of(
        *(_channel(block, name) for name in CHANNELS),
        grid=setting.grid,
        radius=setting.radius,
        orography=setting.static.get("orography"),
    )


def _kinetic_energy(east: str, north: str, level: str) -> Budget:
    def integrand(block: Block) -> Array:
        return np.asarray((_channel(block, east) ** 2 + _channel(block, north) ** 2) / 2)

    name = f"kinetic_energy_{level.split()[0]}"
    return Budget(name, f"Kinetic energy at {level}", "m2 s-2", (east, north), integrand)


_FIXED = (
    Budget(
        "mass",
        "Mean geopotential of the layer",
        "m2 s-2",
        CHANNELS,
        lambda block: _flow(block).layer,
    ),
    Budget(
        "energy",
        "Mean total energy times gravity",
        "m4 s-4",
        CHANNELS,
        lambda block: _flow(block).energy,
    ),
    Budget(
        "potential_enstrophy",
        "Mean potential enstrophy over gravity, with the rotation of the Earth",
        "m-2",
        CHANNELS,
        lambda block: _flow(block).potential_enstrophy,
    ),
    Budget(
        "air_mass",
        "Mean mass of air in the column",
        "kg m-2",
        ("sp",),
        lambda block: _channel(block, "sp") / EARTH_GRAVITY,
    ),
    Budget(
        "dry_air_mass",
        "Mean mass of air in the column without its water vapour",
        "kg m-2",
        ("sp", "tcwv"),
        lambda block: _channel(block, "sp") / EARTH_GRAVITY - _channel(block, "tcwv"),
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
