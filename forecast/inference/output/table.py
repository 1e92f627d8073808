"""Table of the derived fields, by the names of `--derive`."""

from __future__ import annotations

from typing import Final

from forecast.inference.output.derived import Derivation
from forecast.inference.output.geostrophic import find_geostrophic_wind
from forecast.inference.output.potential_vorticity import find_potential_vorticity
from forecast.inference.output.winds import find_speed, find_vorticity, find_winds

_PAIR = "vorticity and divergence (vo500 and d500, or vorticity and divergence)"
_WINDS = "winds (u500 and v500, or eastward_wind and northward_wind)"

DERIVED: Final = {
    "winds": Derivation(find_winds, f"pairs of {_PAIR} without their winds"),
    "vorticity": Derivation(find_vorticity, f"pairs of {_WINDS} without vorticity and divergence"),
    "wind_speed": Derivation(find_speed, f"{_WINDS}, or {_PAIR}", after=("winds",)),
    "geostrophic_wind": Derivation(
        find_geostrophic_wind, "a geopotential (z500, or geopotential of shallow water)"
    ),
    "potential_vorticity": Derivation(
        find_potential_vorticity,
        "vorticity or winds, and the geopotential of shallow water; or winds and temperature on "
        "three levels or more (u, v and t, such as u300 u500 u700)",
        after=("winds", "vorticity"),
    ),
}
"""Derivation of each name. Those that others come `after` are listed before them."""
