"""Interpolation between pressure levels, linear in the logarithm of the pressure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Bracket(NamedTuple):
    """Two levels and the weight of the second: (1 - weight) · field[below] + weight · field[above].

    Attributes:
        below: Index of the level of higher pressure.
        above: Index of the level of lower pressure; that of `below` for a level that exists.
        weight: Weight of the level above, in [0, 1).
    """

    below: int
    above: int
    weight: float


def bracket(levels: Sequence[float] | NDArray[np.floating], wanted: float) -> Bracket:
    """Return the levels between which a pressure lies, and the weight of linear interpolation.

    The weight is linear in the logarithm of the pressure, as is geopotential in a layer of constant
    temperature.

    Args:
        levels: Pressures of the levels in any order, positive, in the unit of `wanted`.
        wanted: Pressure.

    Raises:
        ValueError: if the pressure lies outside the levels, which are not extrapolated.
    """
    pressure = np.asarray(levels, dtype=np.float64)
    if pressure.ndim != 1 or not len(pressure) or not (pressure > 0).all():
        raise ValueError(f"pressure levels {levels}; expected one or more positive pressures")
    nearest = int(np.abs(np.log(pressure / wanted)).argmin()) if wanted > 0 else 0
    if math.isclose(pressure[nearest], wanted, rel_tol=1e-6):  # levels are stored rounded
        return Bracket(nearest, nearest, 0.0)
    if not pressure.min() < wanted < pressure.max():
        raise ValueError(
            f"level {wanted:g} lies outside the levels of the files, {pressure.min():g} to "
            f"{pressure.max():g}; nothing is extrapolated: ask for a level between them"
        )
    below = int(np.where(pressure > wanted, pressure, np.inf).argmin())
    above = int(np.where(pressure < wanted, pressure, -np.inf).argmax())
    weight = math.log(pressure[below] / wanted) / math.log(pressure[below] / pressure[above])
    return Bracket(below, above, weight)
