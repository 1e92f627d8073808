"""Netcdf files of ERA5 as the Copernicus Climate Data Store delivers them since 2024.

A request of pressure levels gives one file; one of single levels a zip archive of one file for each
kind of step: `instant` and `accum`. Headers as `ncdump -h` shows them: `valid_time` in seconds,
levels in descending order, `expver` as text along the times, the scalar `number`, float32 with NaN,
and `z` both on pressure levels and at the surface.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
from numpy.typing import NDArray

from tests.data_prep.ingest.archives import truth
from tests.data_prep.ingest.archives.raw import Raw, read_netcdf
from tests.data_prep.ingest.archives.weatherbench2 import GRAVITY, split_level

LEVELS = (850, 700, 500, 250, 50)
PARAMETERS = {
    "z": (129, "z", "Geopotential", "geopotential", "m**2 s**-2"),
    "t": (130, "t", "Temperature", "air_temperature", "K"),
    "u": (131, "u", "U component of wind", "eastward_wind", "m s**-1"),
    "v": (132, "v", "V component of wind", "northward_wind", "m s**-1"),
    "q": (133, "q", "Specific humidity", "specific_humidity", "kg kg**-1"),
    "t2m": (167, "2t", "2 metre temperature", "unknown", "K"),
    "u10": (165, "10u", "10 metre U wind component", "unknown", "m s**-1"),
    "v10": (166, "10v", "10 metre V wind component", "unknown", "m s**-1"),
    "msl": (151, "msl", "Mean sea level pressure", "air_pressure_at_mean_sea_level", "Pa"),
    "sst": (34, "sst", "Sea surface temperature", "unknown", "K"),
    "siconc": (31, "ci", "Sea ice area fraction", "sea_ice_area_fraction", "(0 - 1)"),
    "lsm": (172, "lsm", "Land-sea mask", "land_binary_mask", "(0 - 1)"),
    "tp": (228, "tp", "Total precipitation", "unknown", "m"),
}
"""Number, short name, long name, standard name and units of the parameters by their names here."""
_PRESSURE, _INSTANT, _ACCUMULATED = (
    "pressure_levels.nc",
    "data_stream-oper_stepType-instant.nc",
    "data_stream-oper_stepType-accum.nc",
)
_EPOCH = np.datetime64("1970-01-01T00", "s")


def make(
    folder: Path,
    times: NDArray[np.datetime64],
    *,
    nlat: int = 121,
    levels: tuple[int, ...] = LEVELS,
    preliminary: int = 0,
) -> list[Path]:
    """Write the file of pressure levels, and both files of single levels.

    Args:
        folder: Folder of the files.
        times: Times of the fields, six hours apart; precipitation is given for each hour.
        nlat: Number of rows, with both poles.
        levels: Pressure levels, hPa, in descending order.
        preliminary: Number of times at the end that are preliminary data, ERA5T (expver 0005).

    Returns:
        Paths of the files.
    """
    nlon = 2 * (nlat - 1)
    grid = np.linspace(90, -90, nlat), np.arange(nlon) * 360 / nlon
    hours = truth.hours_since_origin(times)
    hourly = np.arange(hours[0] - 5, hours[-1] + 1)
    on_levels = {n: np.stack([truth.field(n, *grid, hours, p) for p in levels], 1) for n in "ztuvq"}
    at_surface = {n: truth.field(n, *grid, hours) for n in ("u10", "v10", "t2m", "msl")}
    for name in ("sst", "siconc"):
        at_surface[name] = truth.wet(truth.field(name, *grid, hours), *grid)
    for name, values in (
        ("lsm", truth.land_fraction(*grid)),
        ("z", truth.surface_geopotential(*grid)),
    ):
        at_surface[name] = np.broadcast_to(values, (len(hours), *values.shape))
    rain = {"tp": truth.precipitation(*grid, hourly - 1, hourly)}
    last = hours[-1] if not preliminary else hours[-preliminary] - 1
    paths = [folder / name for name in (_PRESSURE, _INSTANT, _ACCUMULATED)]
    _write(paths[0], "instant", hours, grid, on_levels, last, levels)
    _write(paths[1], "instant", hours, grid, at_surface, last)
    _write(paths[2], "accum", hourly, grid, rain, last)
    return paths


def read(paths: list[Path], channel: str, time: np.datetime64 | None = None) -> Raw:
    """Read a channel at one time, in the units of the table of variables.

    Args:
        paths: Paths from `make`.
        channel: Name of the channel in the table of variables.
        time: Valid time; none for a static field.
    """
    pressure, instant, accumulated = paths
    name, level = split_level(channel)
    name = {"orography": "z", "land_fraction": "lsm"}.get(name, name)
    path = accumulated if name == "tp" else instant if level is None else pressure
    with netCDF4.Dataset(path) as file:
        stamps = _EPOCH + file["valid_time"][:].filled().astype("m8[s]")
        index = 0 if time is None else int(np.flatnonzero(stamps == time)[0])
        at = {"valid_time": index}
        if level is not None:
            at["pressure_level"] = int(np.flatnonzero(file["pressure_level"][:] == level)[0])
    field = read_netcdf(path, name, **at)
    if name == "tp":  # that of six hours
        parts = [read_netcdf(path, name, valid_time=index - k).values for k in range(6)]
        return field._replace(values=np.sum(parts, axis=0))
    return field.scaled(1 / GRAVITY) if channel == "orography" else field


def _write(
    path: Path,
    kind: str,
    hours: NDArray[np.float64],
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    fields: dict[str, NDArray[np.float64]],
    last_final: float,
    levels: tuple[int, ...] = (),
) -> None:
    latitude, longitude = grid
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("valid_time", len(hours))
        if levels:
            file.createDimension("pressure_level", len(levels))
        file.createDimension("latitude", len(latitude))
        file.createDimension("longitude", len(longitude))
        _coordinate(
            file, "number", (), 0, long_name="ensemble member numerical id", units="1",
            standard_name="realization",
        )  # fmt: skip
        seconds = (truth.ORIGIN.astype("M8[s]") - _EPOCH).astype(int) + 3600 * hours.astype("i8")
        _coordinate(
            file, "valid_time", ("valid_time",), seconds, long_name="time", standard_name="time",
            units="seconds since 1970-01-01", calendar="proleptic_gregorian",
        )  # fmt: skip
        if levels:
            _coordinate(
                file, "pressure_level", ("pressure_level",), np.array(levels, dtype=float),
                long_name="pressure", units="hPa", positive="down", stored_direction="decreasing",
                standard_name="air_pressure",
            )  # fmt: skip
        _coordinate(
            file, "latitude", ("latitude",), latitude, units="degrees_north",
            standard_name="latitude", long_name="latitude", stored_direction="decreasing",
        )  # fmt: skip
        _coordinate(
            file, "longitude", ("longitude",), longitude, units="degrees_east",
            standard_name="longitude", long_name="longitude",
        )  # fmt: skip
        version = file.createVariable("expver", str, ("valid_time",))
        version[:] = np.array(["0001" if h <= last_final else "0005" for h in hours], object)
        dims = ("valid_time", *(["pressure_level"] if levels else []), "latitude", "longitude")
        for name, values in fields.items():
            array = file.createVariable(
                name, "f4", dims, zlib=True, complevel=1, fill_value=np.float32(np.nan)
            )
            array.setncatts(_attributes(name, kind, latitude, longitude, bool(levels)))
            array[:] = values.astype("f4")
        file.setncatts(
            {
                "GRIB_centre": "ecmf",
                "GRIB_centreDescription": "European Centre for Medium-Range Weather Forecasts",
                "GRIB_subCentre": np.int64(0),
                "Conventions": "CF-1.7",
                "institution": "European Centre for Medium-Range Weather Forecasts",
                "history": "2026-09-25T15:06 GRIB to CDM+CF via cfgrib-0.9.15.1/ecCodes-2.48.2",
            }
        )


def _coordinate(
    file: netCDF4.Dataset, name: str, dims: tuple[str, ...], values: Any, **attributes: str
) -> None:
    real = np.asarray(values).dtype.kind == "f"
    array = file.createVariable(
        name, "f8" if real else "i8", dims, fill_value=np.nan if real else None
    )
    array.setncatts(attributes)
    array[...] = values


def _attributes(
    name: str,
    kind: str,
    latitude: NDArray[np.float64],
    longitude: NDArray[np.float64],
    on_levels: bool,
) -> dict[str, Any]:
    number, short_name, long_name, standard_name, units = PARAMETERS[name]
    step = float(longitude[1] - longitude[0])
    attributes: dict[str, Any] = {
        "GRIB_paramId": number,
        "GRIB_dataType": "fc" if kind == "accum" else "an",
        "GRIB_numberOfPoints": len(latitude) * len(longitude),
        "GRIB_typeOfLevel": "isobaricInhPa" if on_levels else "surface",
        "GRIB_stepUnits": 1,
        "GRIB_stepType": kind,
        "GRIB_gridType": "regular_ll",
        "GRIB_uvRelativeToGrid": 0,
        "GRIB_NV": 0,
        "GRIB_Nx": len(longitude),
        "GRIB_Ny": len(latitude),
        "GRIB_cfName": standard_name,
        "GRIB_cfVarName": name,
        "GRIB_gridDefinitionDescription": "Latitude/Longitude Grid",
        "GRIB_iDirectionIncrementInDegrees": step,
        "GRIB_iScansNegatively": 0,
        "GRIB_jDirectionIncrementInDegrees": step,
        "GRIB_jPointsAreConsecutive": 0,
        "GRIB_jScansPositively": 0,
        "GRIB_latitudeOfFirstGridPointInDegrees": float(latitude[0]),
        "GRIB_latitudeOfLastGridPointInDegrees": float(latitude[-1]),
        "GRIB_longitudeOfFirstGridPointInDegrees": float(longitude[0]),
        "GRIB_longitudeOfLastGridPointInDegrees": float(longitude[-1]),
        "GRIB_missingValue": 3.4028234663852886e38,
        "GRIB_name": long_name,
        "GRIB_shortName": short_name,
        "GRIB_totalNumber": 0,
        "GRIB_units": units,
        "long_name": long_name,
        "units": units,
        "standard_name": standard_name,
    }
    if not on_levels:
        attributes["GRIB_surface"] = 0.0
    vertical = "isobaricInhPa " if on_levels else ""
    attributes["coordinates"] = f"number valid_time {vertical}latitude longitude expver"
    return {k: np.int64(v) if isinstance(v, int) else v for k, v in attributes.items()}
