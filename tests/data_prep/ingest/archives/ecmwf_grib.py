"""GRIB files of ECMWF: ERA5 as retrieved, a forecast, and an ensemble, made with ecCodes.

Messages of all kinds of levels and steps lie in one file. The precipitation of ERA5 comes from
forecasts that start at 06 and 18 UTC and is that of one hour (`stepRange` 0-1, 1-2, ...); that of a
forecast accumulates from its start (0-6, 0-12, ...).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tests.data_prep.ingest.archives import truth
from tests.data_prep.ingest.archives.raw import Raw, read_grib
from tests.data_prep.ingest.archives.weatherbench2 import GRAVITY, split_level

LEVELS = (50, 250, 500, 700, 850)
PARAMETERS = {
    "z": 129,
    "t": 130,
    "u": 131,
    "v": 132,
    "q": 133,
    "t2m": 167,
    "u10": 165,
    "v10": 166,
    "msl": 151,
    "sst": 34,
    "siconc": 31,
    "land_fraction": 172,
    "orography": 129,
    "tp": 228,
}
"""Numbers of the parameters in ECMWF's table 128."""
_MISSING = 9999.0
_HOUR = np.timedelta64(1, "h")


def make(
    folder: Path,
    times: NDArray[np.datetime64],
    *,
    edition: int = 1,
    nlat: int = 121,
    levels: tuple[int, ...] = LEVELS,
) -> list[Path]:
    """Write analyses, and the hourly precipitation of short forecasts, to one file.

    Args:
        folder: Folder of the file.
        times: Times of the analyses, six hours apart.
        edition: Edition of GRIB, 1 or 2.
        nlat: Number of rows, with both poles.
        levels: Pressure levels, hPa.

    Returns:
        Path of the file.
    """
    grid = _grid(nlat)
    path = folder / f"era5_edition_{edition}.grib"
    fixed = {
        "orography": truth.surface_geopotential(*grid),
        "land_fraction": truth.land_fraction(*grid),
    }
    with path.open("wb") as file:
        for time in times:
            hours = truth.hours_since_origin(time)
            for level in levels:
                for name in "ztuvq":
                    values = truth.field(name, *grid, hours, level)[0]
                    _write(file, edition, name, grid, values, time, level=level)
            for name in ("t2m", "u10", "v10", "msl"):
                values = truth.field(name, *grid, hours)[0]
                _write(file, edition, name, grid, values, time)
            for name in ("sst", "siconc"):
                values = truth.wet(truth.field(name, *grid, hours), *grid)[0]
                _write(file, edition, name, grid, values, time)
            for name, values in fixed.items():
                _write(file, edition, name, grid, values, time)
        for time in np.arange(times[0] - 5 * _HOUR, times[-1] + _HOUR, _HOUR):
            end = truth.hours_since_origin(time)
            values = truth.precipitation(*grid, end - 1, end)[0]
            start, step = forecast_of(time)
            _write(file, edition, "tp", grid, values, start, steps=(step - 1, step))
    return [path]


def make_forecasts(
    folder: Path,
    starts: NDArray[np.datetime64],
    steps: tuple[int, ...] = (6, 12, 18, 24),
    *,
    edition: int = 2,
    nlat: int = 19,
) -> list[Path]:
    """Write forecasts of t2m, t850 and the precipitation since their start to one file.

    Args:
        folder: Folder of the file.
        starts: Initial times.
        steps: Lead times, h; step 0 has no precipitation.
        edition: Edition of GRIB, 1 or 2.
        nlat: Number of rows, with both poles.

    Returns:
        Path of the file.
    """
    grid = _grid(nlat)
    path = folder / f"forecasts_edition_{edition}.grib"
    with path.open("wb") as file:
        for start in starts:
            begin = truth.hours_since_origin(start)
            for step in steps:
                warm = truth.field("t2m", *grid, begin + step)[0]
                _write(file, edition, "t2m", grid, warm, start, steps=(step, step))
                aloft = truth.field("t", *grid, begin + step, 850)[0]
                _write(file, edition, "t", grid, aloft, start, level=850, steps=(step, step))
                rain = truth.precipitation(*grid, begin, begin + step)[0]
                _write(file, edition, "tp", grid, rain, start, steps=(0, step))
    return [path]


def make_members(
    folder: Path,
    times: NDArray[np.datetime64],
    members: int = 3,
    *,
    edition: int = 1,
    nlat: int = 19,
) -> list[Path]:
    """Write t at 500 and 850 hPa, and t2m, of the members of an ensemble to one file."""
    grid = _grid(nlat)
    path = folder / f"members_edition_{edition}.grib"
    with path.open("wb") as file:
        for time in times:
            hours = truth.hours_since_origin(time)
            for member in range(members):
                for name, level in (("t", 500), ("t", 850), ("t2m", None)):
                    values = truth.field(name, *grid, hours, level, member)[0]
                    _write(
                        file, edition, name, grid, values, time, level=level,
                        member=(member, members),
                    )  # fmt: skip
    return [path]


def read(paths: list[Path], channel: str, time: np.datetime64 | None = None) -> Raw:
    """Read a channel of `make` at one time, in the units of the table of variables.

    Args:
        paths: Paths from `make`.
        channel: Name of the channel in the table of variables.
        time: Valid time; none for a static field, which is read at the first time.
    """
    (path,) = paths
    name, level = split_level(channel)
    if name == "tp":  # that of six hours
        assert time is not None
        parts = [_read(path, "tp", time - k * _HOUR) for k in range(6)]
        values = np.sum([part.values for part in parts], axis=0)
        return parts[0]._replace(values=values, quantum=sum(part.quantum for part in parts))
    field = _read(path, name, time, level)
    return field.scaled(1 / GRAVITY) if channel == "orography" else field


def forecast_of(time: np.datetime64) -> tuple[np.datetime64, int]:
    """Return start and step, h, of the forecast that ERA5's accumulations of a time are from."""
    day = time.astype("M8[D]")
    hour = int((time - day) // _HOUR)
    shift = (hour - 6) % 12 or 12
    return time - shift * _HOUR, shift


def _read(path: Path, name: str, time: np.datetime64 | None, level: int | None = None) -> Raw:
    keys: dict[str, Any] = {"paramId": PARAMETERS[name]}
    if level is not None:
        keys |= {"level": level, "typeOfLevel": "isobaricInhPa"}
    elif name == "orography":
        keys["typeOfLevel"] = "surface"
    if time is None:
        import eccodes

        with path.open("rb") as file:
            message = eccodes.codes_grib_new_from_file(file)
            keys["validityDate"] = eccodes.codes_get(message, "validityDate")
            keys["validityTime"] = eccodes.codes_get(message, "validityTime")
            eccodes.codes_release(message)
    else:
        text = np.datetime_as_string(time, "m")
        keys |= {
            "validityDate": int(text[:10].replace("-", "")),
            "validityTime": int(text[11:13]) * 100,
        }
    return read_grib(path, **keys)


def _grid(nlat: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nlon = 2 * (nlat - 1)
    return np.linspace(90, -90, nlat), np.arange(nlon) * 360 / nlon


def _write(
    file: BinaryIO,
    edition: int,
    name: str,
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    values: NDArray[np.float64],
    start: np.datetime64,
    *,
    level: int | None = None,
    steps: tuple[int, int] = (0, 0),
    member: tuple[int, int] | None = None,
) -> None:
    """Append one message.

    Args:
        file: Open file.
        edition: Edition of GRIB.
        name: Name of the variable.
        grid: Latitudes and longitudes, degrees.
        values: Field (nlat, nlon); NaN where missing.
        start: Start of the forecast, or time of the analysis.
        level: Pressure, hPa; none for the surface.
        steps: First and last hour of the step; equal for an instant.
        member: Number of the ensemble member, and number of members.
    """
    import eccodes

    latitude, longitude = grid
    kind = "pl" if level is not None else "sfc"
    message = eccodes.codes_grib_new_from_samples(f"regular_ll_{kind}_grib{edition}")
    stamp = np.datetime_as_string(start, "m")
    accumulated = steps[0] != steps[1]
    keys: dict[str, Any] = {
        "Ni": len(longitude),
        "Nj": len(latitude),
        "latitudeOfFirstGridPointInDegrees": float(latitude[0]),
        "latitudeOfLastGridPointInDegrees": float(latitude[-1]),
        "longitudeOfFirstGridPointInDegrees": float(longitude[0]),
        "longitudeOfLastGridPointInDegrees": float(longitude[-1]),
        "iDirectionIncrementInDegrees": float(longitude[1] - longitude[0]),
        "jDirectionIncrementInDegrees": float(latitude[0] - latitude[1]),
        "dataDate": int(stamp[:10].replace("-", "")),
        "dataTime": 100 * int(stamp[11:13]),
    }
    keys |= {"centre": "ecmf", "setLocalDefinition": 1, "localDefinitionNumber": 1}
    keys["type"] = "pf" if member else "fc" if accumulated or steps[1] else "an"
    if member is not None and edition == 2:
        keys["productDefinitionTemplateNumber"] = 11 if accumulated else 1
    keys["paramId"] = PARAMETERS[name]
    if level is not None:
        keys["level"] = level
    keys["stepType"] = "accum" if accumulated else "instant"
    if edition == 1 and accumulated:
        keys["indicatorOfUnitOfTimeRange"] = 1
    keys["stepRange"] = f"{steps[0]}-{steps[1]}" if accumulated else str(steps[1])
    if member is not None:
        keys |= {"number": member[0], "numberOfForecastsInEnsemble": member[1]}
    keys |= {"bitmapPresent": int(np.isnan(values).any()), "missingValue": _MISSING}
    keys["bitsPerValue"] = 16
    for key, value in keys.items():
        eccodes.codes_set(message, key, value)
    eccodes.codes_set_values(message, np.where(np.isnan(values), _MISSING, values).ravel())
    eccodes.codes_write(message, file)
    eccodes.codes_release(message)
