"""Lengths on the sphere, written in kilometres or degrees."""

from __future__ import annotations

import math
import re

_KM_PER_RADIAN = 6371.22
"""Radius of the Earth, km; `sphere_ops.grid.EARTH_RADIUS` in other units."""
_RADIANS = {"km": 1 / _KM_PER_RADIAN, "deg": math.pi / 180}


def parse_length(text: str) -> float:
    """Return a length such as "500km" or "10deg" as an angle, radians.

    Kilometres are those of the Earth; a degree is about 111 km.

    Args:
        text: Positive number and unit, km or deg.

    Raises:
        ValueError: if the text is not a positive number and a unit, or exceeds half the
            circumference.
    """
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(km|deg)", str(text).strip())
    radians = float(match[1]) * _RADIANS[match[2]] if match else 0.0
    if not 0 < radians <= math.pi:
        raise ValueError(
            f"length {text!r} is not a positive number and a unit, at most half the "
            "circumference; write it as 500km or 10deg"
        )
    return radians
