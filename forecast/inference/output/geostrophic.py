"""Geostrophic wind from the geopotential."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import torch
from torch import Tensor

from configs.variables import Variable
from forecast.inference.output.derived import DerivedField, Sphere, levels_of, with_level
from sphere_ops.harmonics.winds import gradient_of
from sphere_ops.parallel.fields import own_rows

EQUATORIAL = 10.0
"""Latitude, degrees, below which the geostrophic wind is missing: f vanishes at the equator."""

_LONG_NAME = f"Geostrophic {{}} wind, missing within {EQUATORIAL:g} degrees of the equator"
_EAST = Variable(
    "ug", _LONG_NAME.format("eastward"), "m s-1", "geostrophic_eastward_wind"
)  # fmt: skip
_NORTH = Variable(
    "vg", _LONG_NAME.format("northward"), "m s-1", "geostrophic_northward_wind"
)  # fmt: skip


def find_geostrophic_wind(names: Collection[str], sphere: Sphere) -> list[DerivedField]:
    """Return the geostrophic wind of every geopotential: of a level, or of shallow water."""
    outputs = {f"z{level}": with_level((_EAST, _NORTH), level) for level in levels_of(names, "z")}
    if "geopotential" in names:
        outputs["geopotential"] = (_EAST, _NORTH)
    return [
        DerivedField((name,), pair, partial(_geostrophic_wind, sphere))
        for name, pair in outputs.items()
    ]


def _geostrophic_wind(sphere: Sphere, geopotential: Tensor) -> Tensor:
    """Return k × ∇Φ / f, (b, 2, nlat, nlon) m s⁻¹, of the geopotential (b, 1, nlat, nlon)."""
    east, north = gradient_of(geopotential[:, 0], sphere.grid, sphere.radius)
    latitude = sphere.grid.latitude[own_rows(sphere.grid), None].to(geopotential.device)
    coriolis = sphere.coriolis.to(east)
    wind = torch.stack((-north / coriolis, east / coriolis), dim=1)
    return wind.where(latitude.abs() >= EQUATORIAL, torch.nan)
