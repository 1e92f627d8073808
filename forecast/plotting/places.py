"""Regions and points of a picture, in degrees."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from forecast.verification import regions
from sphere_ops.grid import Grid


@dataclass(frozen=True)
class Box:
    """Region between two parallels and two meridians, which may cross the date line.

    Attributes:
        south: Southern limit, degrees north.
        north: Northern limit.
        west: Western limit, degrees east.
        width: Extent to the east, degrees, at most 360.
        name: Name of the region; empty for a box of limits.
    """

    south: float
    north: float
    west: float
    width: float
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Box:
        """Return the box of "lat_min,lat_max,lon_min,lon_max", such as "35,75,-12.5,42.5".

        Raises:
            ValueError: If these are no four numbers, not on the sphere, or the box is empty.
        """
        expected = "expected lat_min,lat_max,lon_min,lon_max in degrees, such as 35,75,-12.5,42.5"
        try:
            south, north, west, east = (float(part) for part in text.split(","))
        except ValueError:
            raise ValueError(f"box {text!r} is not four numbers; {expected}") from None
        if not (abs(south) <= 90 and abs(north) <= 90 and abs(west) <= 360 and abs(east) <= 360):
            raise ValueError(f"box {text!r} is not on the sphere; {expected}")
        if south >= north or west == east or east - west > 360:
            raise ValueError(
                f"box {text!r} is empty or larger than the sphere; {expected}; "
                "lon_min may be above lon_max for a box across the date line"
            )
        return cls(south, north, west, east - west if east > west else east - west + 360)

    @classmethod
    def named(cls, name: str) -> Box:
        """Return the box of a named region of the evaluation, such as "europe".

        Raises:
            ValueError: If there is no such region, or it is not one box.
        """
        boxes = {
            n: r.boxes[0] for n, r in regions.NAMED.items() if len(r.boxes) == 1 and not r.surface
        }
        if name not in boxes:
            near = get_close_matches(name, boxes, n=1)
            raise ValueError(
                f"unknown region {name!r}; expected one of {', '.join(boxes)}"
                + (f" (nearest: {near[0]})" if near else "")
            )
        box = boxes[name]
        width = (box.lon_max - box.lon_min) % 360 or 360.0
        west = -180.0 if width == 360 else box.lon_min  # the map is cut at the date line
        return cls(box.lat_min, box.lat_max, west, width, name)

    @property
    def label(self) -> str:
        """Name, or limits in words: "35°N to 75°N, 12.5°W to 42.5°E"."""
        if self.name:
            return self.name.replace("-", " ").capitalize()
        latitudes = f"{latitude_label(self.south)} to {latitude_label(self.north)}"
        if self.width >= 360:
            return latitudes
        east = self.west + self.width
        return f"{latitudes}, {longitude_label(self.west)} to {longitude_label(east)}"

    def points(self, grid: Grid) -> NDArray[np.bool_]:
        """Return True for the grid points (nlat, nlon) inside, its edge included.

        Raises:
            ValueError: If there is none.
        """
        east = self.west + self.width
        inside = regions.Box(self.south, self.north, self.west, east).contains(grid)
        if not inside.any():
            raise ValueError(
                f"box {self.label} holds no point of the grid of {grid.nlat} x {grid.nlon}; choose "
                "a larger one"
            )
        return inside


def parse_point(text: str) -> tuple[float, float]:
    """Return latitude and longitude of "lat,lon", such as "52.5,13.4".

    Raises:
        ValueError: If these are no two numbers on the sphere.
    """
    expected = "expected lat,lon in degrees, such as 52.5,13.4"
    try:
        latitude, longitude = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"point {text!r} is not two numbers; {expected}") from None
    if not (abs(latitude) <= 90 and abs(longitude) <= 360):
        raise ValueError(f"point {text!r} is not on the sphere; {expected}")
    return latitude, longitude


def latitude_label(latitude: float) -> str:
    """Return a latitude in words: "35°N", "0°"."""
    letter = "N" if latitude > 0 else "S" if latitude < 0 else ""
    return f"{abs(latitude):g}°{letter}"


def longitude_label(longitude: float) -> str:
    """Return a longitude in words: "12.5°W", "180°"."""
    turned = (longitude + 180) % 360 - 180
    letter = "" if turned in (0, -180) else "E" if turned > 0 else "W"
    return f"{abs(turned):g}°{letter}"
