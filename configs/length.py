"""Lengths on the sphere, written in kilometres or degrees."""

from __future__ import annotations

import math
import re

_EARTH_KM = 6371.22
"""Radius of the Earth, km; `sphere_ops.grid.EARTH_RADIUS` in other units."""


def parse_length(text: str, radius_km: float = _EARTH_KM) -> float:
    """Return a length such as "500km" or "10deg" as an angle, radians.

    Args:
        text: Positive number and unit, km or deg.
        radius_km: Radius of the sphere, km; that of the Earth, where a degree is about 111 km, if
            not given.

    Raises:
        ValueError: if the text is not a positive number and a unit, or exceeds half the
            circumference.
    """
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(km|deg)", str(text).strip())
    scale = {"km": 1 / radius_km, "deg": math.pi / 180}
    radians = float(match[1]) * scale[match[2]] if match else 0.0
    if not 0 < radians <= math.pi:
        raise ValueError(
            f"length {text!r} is not a positive number and a unit, at most half the "
            "circumference; write it as 500km or 10deg"
        )
    return radians
