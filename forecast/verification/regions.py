"""Regions of the sphere over which scores are averaged.

A region is a name of `NAMED`, a box, `land` or `sea`, or the land or sea points of another region:

    tropics    europe=35,75,-12.5,42.5    land    tropics+land
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphere_ops.grid import Grid

GLOBAL = "global"
SURFACES = ("land", "sea")
LAND_NAMES = ("land_fraction", "lsm", "land_sea_mask", "sftlf")
"""Static fields of a store that hold the fraction of land, the first one found."""

_ROUNDING = 1e-6  # degrees; a point on the edge of a box belongs to it

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Box:
    """Box in latitude and longitude, with its edges.

    Attributes:
        lat_min: Southern edge, degrees north.
        lat_max: Northern edge.
        lon_min: Western edge, degrees east.
        lon_max: Eastern edge; the box goes eastward from `lon_min` to it.
    """

    lat_min: float = -90.0
    lat_max: float = 90.0
    lon_min: float = 0.0
    lon_max: float = 360.0

    def contains(self, grid: Grid) -> NDArray[np.bool_]:
        """Return the points inside the box, (nlat, nlon)."""
        latitude, longitude = grid.latitude.numpy()[:, None], grid.longitude.numpy()
        rows = (latitude >= self.lat_min - _ROUNDING) & (latitude <= self.lat_max + _ROUNDING)
        width = self.lon_max - self.lon_min
        width = width % 360 if abs(width) < 360 else 360.0
        columns = (longitude - self.lon_min + _ROUNDING) % 360 <= width + 2 * _ROUNDING
        return rows & columns


@dataclass(frozen=True)
class Region:
    """Region: a union of boxes, of which the points on land or at sea may be taken alone.

    Attributes:
        name: Name in the scores file.
        boxes: Boxes.
        surface: `land` or `sea`; None for both.
    """

    name: str
    boxes: tuple[Box, ...] = (Box(),)
    surface: str | None = None

    def fraction(self, grid: Grid, land: Array | None, *, keep_fractions: bool = False) -> Array:
        """Return the part of each point that belongs to the region, (nlat, nlon).

        Args:
            grid: Grid.
            land: Fraction of land, (nlat, nlon); None if it is not known.
            keep_fractions: True to take the fraction of land or sea of each point, False to take
                all of a point with more than half.

        Raises:
            ValueError: If the region has no grid point, or the fraction of land is needed.
        """
        inside: Array = np.any([box.contains(grid) for box in self.boxes], axis=0).astype(float)
        if self.surface is not None:
            if land is None:
                raise ValueError(
                    f"region {self.name} needs the fraction of land, and the store has no static "
                    f"field {LAND_NAMES[0]}; give data.static=[{LAND_NAMES[0]}] when the store is "
                    "made, or leave the region out"
                )
            part = land.astype(float) if self.surface == "land" else 1.0 - land
            inside = inside * (part if keep_fractions else part > 0.5)
        if not inside.any():
            raise ValueError(
                f"region {self.name} has no point of the grid {grid}, whose points are "
                f"{180 / grid.nlat:.3g} degrees apart; give a larger region"
            )
        return inside


NAMED = {
    region.name: region
    for region in (
        Region(GLOBAL),
        Region("tropics", (Box(-20, 20),)),
        Region("extra-tropics", (Box(-90, -20), Box(20, 90))),
        Region("northern-hemisphere", (Box(20, 90),)),
        Region("southern-hemisphere", (Box(-90, -20),)),
        Region("arctic", (Box(60, 90),)),
        Region("antarctic", (Box(-90, -60),)),
        Region("europe", (Box(35, 75, 347.5, 42.5),)),
        Region("north-america", (Box(25, 60, 240, 285),)),
        Region("north-atlantic", (Box(25, 65, 290, 350),)),
        Region("north-pacific", (Box(25, 60, 145, 230),)),
        Region("east-asia", (Box(25, 60, 102.5, 150),)),
        Region("ausnz", (Box(-45, -12.5, 120, 175),)),
    )
}
"""Regions by name: those of WeatherBench 2 (Rasp et al. 2024, arXiv 2308.15560, and its evaluation
script), whose hemispheres are the extra-tropical ones, and whose boxes include their edges."""


def parse_regions(texts: Sequence[str]) -> tuple[Region, ...]:
    """Return the regions of a command line, `global` first.

    Args:
        texts: Names, `name=lat_min,lat_max,lon_min,lon_max`, or `all` for those of `NAMED`; see the
            module.

    Raises:
        ValueError: If a name is unknown, a box is not one, or two regions have the same name.
    """
    found = {GLOBAL: NAMED[GLOBAL]}
    for text in texts:
        for region in NAMED.values() if text == "all" else (_parse(text),):
            if found.setdefault(region.name, region) != region:
                raise ValueError(f"two regions have the name {region.name!r}; rename one of them")
    return tuple(found.values())


def _parse(text: str) -> Region:
    name, is_box, numbers = text.partition("=")
    if is_box:
        return _box(text, name.strip(), numbers)
    base, _, surface = name.strip().rpartition("+")
    if surface in SURFACES:
        return replace(_named(base or GLOBAL, text), name=name.strip(), surface=surface)
    return _named(name.strip(), text)


def _named(name: str, text: str) -> Region:
    if name in NAMED:
        return NAMED[name]
    near = get_close_matches(name, [*NAMED, *SURFACES], n=1)
    raise ValueError(
        f"unknown region {text!r}; expected all, {', '.join((*NAMED, *SURFACES))}, one of them "
        "with +land or +sea, or name=lat_min,lat_max,lon_min,lon_max"
        + (f" (nearest: {near[0]})" if near else "")
    )


def _box(text: str, name: str, numbers: str) -> Region:
    """Return the region of `name=lat_min,lat_max,lon_min,lon_max`, with `+land` or `+sea`."""
    try:
        numbers, _, surface = numbers.partition("+")
        lat_min, lat_max, lon_min, lon_max = (float(x) for x in numbers.split(","))
        if not name or not -90 <= lat_min <= lat_max <= 90 or not -360 <= lon_min <= 720:
            raise ValueError
        if surface and surface not in SURFACES:
            raise ValueError
        box = Box(lat_min, lat_max, lon_min, lon_max)
    except ValueError:
        raise ValueError(
            f"region {text!r}; expected name=lat_min,lat_max,lon_min,lon_max in degrees north and "
            "east, the smaller latitude first, as alps=43,49,5,17"
        ) from None
    return Region(name, (box,), surface or None)
