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

_EAST = Variable("ug", "Geostrophic eastward wind", "m s-1", "geostrophic_eastward_wind")
_NORTH = Variable("vg", "Geostrophic northward wind", "m s-1", "geostrophic_northward_wind")
_COMMENT = f"geostrophic winds are missing within {EQUATORIAL:g} degrees of the equator"


def find_geostrophic_wind(names: Collection[str], sphere: Sphere) -> list[DerivedField]:
    """Return the geostrophic wind of every geopotential: of a level, or of shallow water."""
    outputs = {f"z{level}": with_level((_EAST, _NORTH), level) for level in levels_of(names, "z")}
    if "geopotential" in names:
        outputs["geopotential"] = (_EAST, _NORTH)
    return [
        DerivedField((name,), pair, partial(_geostrophic_wind, sphere), comment=_COMMENT)
        for name, pair in outputs.items()
    ]


def _geostrophic_wind(sphere: Sphere, geopotential: Tensor) -> Tensor:
    """Return k × ∇Φ / f, (b, 2, nlat, nlon) m s⁻¹, of the geopotential (b, 1, nlat, nlon)."""
    east, north = gradient_of(geopotential[:, 0], sphere.grid, sphere.radius)
    latitude = sphere.grid.latitude[own_rows(sphere.grid), None].to(geopotential.device)
    coriolis = sphere.coriolis.to(east)
    wind = torch.stack((-north / coriolis, east / coriolis), dim=1)
    return wind.where(latitude.abs() >= EQUATORIAL, torch.nan)
