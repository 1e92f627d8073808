"""Analytic fields of all archives: smooth, and different at each point, level and time."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Field = NDArray[np.float64]

ORIGIN = np.datetime64("2020-01-01T00", "h")
_OMEGA = 2 * np.pi / 240  # radians per hour: the waves go round in ten days
_GRAVITY = 9.80665
_RAIN = 3e-8  # mean precipitation, m s-1

# Mean and amplitude of fields on a single level, in the units of the table of variables.
_SURFACE = {
    "t2m": (287.0, 25.0),
    "d2m": (282.0, 20.0),
    "u10": (1.3, 7.0),
    "v10": (-0.4, 6.0),
    "msl": (101_200.0, 1500.0),
    "sp": (98_500.0, 2500.0),
    "sst": (288.0, 12.0),
}


def hours_since_origin(times: ArrayLike) -> Field:
    """Return times as hours since `ORIGIN`, (time,)."""
    return (np.atleast_1d(times) - ORIGIN) / np.timedelta64(1, "h")


def field(
    name: str,
    latitude: ArrayLike,
    longitude: ArrayLike,
    hours: ArrayLike,
    level: float | None = None,
    member: int = 0,
) -> Field:
    """Return a variable at instants of time.

    Args:
        name: Short name without a level: z, t, u, v, q, w, or a variable on a single level.
        latitude: Degrees north, (nlat,).
        longitude: Degrees east, (nlon,).
        hours: Hours since `ORIGIN`, (time,).
        level: Pressure, hPa.
        member: Ensemble member; 0 is the control.

    Returns:
        Values (time, nlat, nlon) in the units of the table of variables; SST in K.
    """
    if name == "siconc":
        return _sea_ice(latitude, longitude, hours)
    mean, amplitude = _on_level(name, level) if level is not None else _SURFACE[name]
    phase = _phase(name if level is None else f"{name}{level:g}")
    lat, lon, hour = _axes(latitude, longitude, hours)
    waves = (
        0.55 * np.sin(lat)
        + 0.3 * np.cos(lat) * np.cos(lon - _OMEGA * hour + phase)
        + 0.15 * np.cos(lat) ** 2 * np.sin(2 * lon + _OMEGA * hour / 2 + phase)
    )
    spread = 0.05 * member * np.cos(lat) * np.cos(3 * lon + member)
    return mean + amplitude * (waves + spread)


def precipitation(
    latitude: ArrayLike, longitude: ArrayLike, start: ArrayLike, end: ArrayLike
) -> Field:
    """Return the precipitation between two instants, m, (time, nlat, nlon).

    Args:
        latitude: Degrees north, (nlat,).
        longitude: Degrees east, (nlon,).
        start: Hours since `ORIGIN` at which the accumulation starts, (time,).
        end: Hours since `ORIGIN` at which it ends, (time,).
    """
    lat, lon, first = _axes(latitude, longitude, start)
    last = _axes(latitude, longitude, end)[2]
    # Integral of 1 + 0.5 sin(lat) + 0.4 cos(lat) cos(lon - omega t), in hours.
    steady = (1 + 0.5 * np.sin(lat)) * (last - first)
    wave = np.sin(lon - _OMEGA * first) - np.sin(lon - _OMEGA * last)
    return 3600 * _RAIN * (steady + 0.4 * np.cos(lat) * wave / _OMEGA)


def land_fraction(latitude: ArrayLike, longitude: ArrayLike) -> Field:
    """Return the fraction of land, with coasts where it is 0.5, (nlat, nlon)."""
    return np.clip(0.5 + 2 * _continents(latitude, longitude), 0, 1)


def is_land(latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.bool_]:
    """Return True where the sea has no values, (nlat, nlon)."""
    return land_fraction(latitude, longitude) > 0.5


def height(latitude: ArrayLike, longitude: ArrayLike) -> Field:
    """Return the height of the surface, m, (nlat, nlon)."""
    return 4500 * np.clip(_continents(latitude, longitude), 0, 1) ** 2


def surface_geopotential(latitude: ArrayLike, longitude: ArrayLike) -> Field:
    """Return the geopotential of the surface, m2 s-2, (nlat, nlon)."""
    return _GRAVITY * height(latitude, longitude)


def wet(values: Field, latitude: ArrayLike, longitude: ArrayLike) -> Field:
    """Return values with NaN on land."""
    return np.where(is_land(latitude, longitude), np.nan, values)


def coast(latitude: Sequence[float] | Field, longitude: Sequence[float] | Field) -> tuple[int, int]:
    """Return row and column of a point of the sea whose eastern neighbour is land."""
    land = is_land(latitude, longitude)
    row = len(land) // 3
    column = np.flatnonzero(~land[row, :-1] & land[row, 1:])[0]
    return row, int(column)


def _on_level(name: str, level: float) -> tuple[float, float]:
    """Return mean and amplitude of a variable on a pressure level."""
    share = level / 1000
    return {
        "z": (7500 * _GRAVITY * np.log(1013 / level), 3000.0),
        "t": (215 + 75 * share, 20.0),
        "u": (30 - 22 * share, 14.0),
        "v": (0.5 + share, 9.0),
        "w": (0.01 * share, 0.3),
        "q": (0.012 * share**3, 0.005 * share**3),
    }[name]


def _sea_ice(latitude: ArrayLike, longitude: ArrayLike, hours: ArrayLike) -> Field:
    """Return the fraction of sea ice, whose edge moves, (time, nlat, nlon)."""
    lat, lon, hour = _axes(latitude, longitude, hours)
    edge = 58 + 6 * np.cos(lon - 4 * _OMEGA * hour)
    return np.clip((np.abs(np.degrees(lat)) - edge) / 20, 0, 1)


def _continents(latitude: ArrayLike, longitude: ArrayLike) -> Field:
    lat, lon, _ = _axes(latitude, longitude, 0.0)
    return (np.sin(2 * lon + 0.5) * np.cos(lat) - 0.25 * np.sin(lat))[0]


def _axes(latitude: ArrayLike, longitude: ArrayLike, hours: ArrayLike) -> tuple[Field, ...]:
    """Return latitudes and longitudes in radians and hours, shaped to broadcast together."""
    lat = np.radians(np.asarray(latitude, dtype=float))[None, :, None]
    lon = np.radians(np.asarray(longitude, dtype=float))[None, None, :]
    return lat, lon, np.atleast_1d(np.asarray(hours, dtype=float))[:, None, None]


def _phase(name: str) -> float:
    return 2 * np.pi * (zlib.crc32(name.encode()) % 997) / 997
