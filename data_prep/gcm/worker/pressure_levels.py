"""Interpolation from the levels of a model to pressure levels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GRAVITY = 9.80665
GAS_CONSTANT = 287.0
"""Gas constant of dry air, J kg-1 K-1."""
_LAPSE_RATE = 0.0065
_VAPOUR = 0.608
"""Virtual temperature is T (1 + 0.608 q)."""

Array = NDArray[np.floating]


def to_pressure_levels(
    fields: dict[str, Array], surface_pressure: Array, sigma: Array, pressures: tuple[int, ...]
) -> dict[str, Array]:
    """Interpolate fields from sigma levels to pressure levels.

    Winds, temperature and humidity are linear in the logarithm of pressure. The geopotential
    follows hydrostatically from that of the model level below, with the virtual temperature of the
    layer between. Below the lowest model level winds and humidity are constant, and the temperature
    increases by 6.5 K per km.

    Args:
        fields: u, v, t, q and z (geopotential, m2 s-2) on model levels, (n, k, nlat, nlon), the
            highest level first.
        surface_pressure: Surface pressure, Pa, (n, nlat, nlon).
        sigma: Pressure of the levels over that of the surface, ascending, (k,).
        pressures: Pressures, hPa, (p,).

    Returns:
        The same fields, (n, p, nlat, nlon); none without pressures.

    Raises:
        ValueError: if a pressure is above the highest model level.
    """
    if not pressures:
        return {}
    top = float((sigma[0] * surface_pressure).max()) / 100
    if min(pressures) < top:
        raise ValueError(
            f"the pressure level {min(pressures)} hPa is above the highest level of the model, at "
            f"up to {top:.0f} hPa; leave its variables out"
        )
    log_p = np.log(sigma)[:, None, None] + np.log(surface_pressure)[:, None]
    parts = [_one_level(fields, log_p, np.log(100.0 * p)) for p in pressures]
    return {name: np.stack([part[name] for part in parts], 1) for name in fields}


def _one_level(fields: dict[str, Array], log_p: Array, target: float) -> dict[str, Array]:
    """Interpolate to one pressure, whose logarithm is given, (n, nlat, nlon)."""
    lowest = log_p[:, -1]
    below_ground = target > lowest
    upper = np.clip((log_p <= target).sum(1) - 1, 0, log_p.shape[1] - 2)[:, None]

    def at(x: Array, level: NDArray[np.intp]) -> Array:
        return np.take_along_axis(x, level, axis=1)[:, 0]

    first, second = at(log_p, upper), at(log_p, upper + 1)
    weight = (target - first) / (second - first)
    found = {}
    for name in ("u", "v", "t", "q"):
        x = fields[name]
        inside = at(x, upper) * (1 - weight) + at(x, upper + 1) * weight
        found[name] = np.where(below_ground, x[:, -1], inside)
    depth = target - lowest
    warmer = fields["t"][:, -1] * np.exp(_LAPSE_RATE * GAS_CONSTANT / GRAVITY * depth)
    found["t"] = np.where(below_ground, warmer, found["t"])
    virtual = fields["t"] * (1 + _VAPOUR * fields["q"])
    here = found["t"] * (1 + _VAPOUR * found["q"])
    # From the level below to the target, or from the lowest level down to it.
    layer = np.where(below_ground, virtual[:, -1], at(virtual, upper + 1))
    base = np.where(below_ground, fields["z"][:, -1], at(fields["z"], upper + 1))
    distance = np.where(below_ground, lowest, second) - target
    found["z"] = base + GAS_CONSTANT * (layer + here) / 2 * distance
    return found
