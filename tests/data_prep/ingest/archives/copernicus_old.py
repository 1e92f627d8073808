"""Netcdf files of ERA5 as the Copernicus Climate Data Store delivered them until 2024.

Classic files of `grib_to_netcdf`: int16 packed with `scale_factor` and `add_offset`,
`missing_value`, `level` in millibars, times in hours since 1900 as int32. A file that reaches into
the last three months has a dimension `expver` of 1 (final) and 5 (preliminary), where each value is
missing in one of them.
"""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
from numpy.typing import NDArray

from tests.data_prep.ingest.archives import truth
from tests.data_prep.ingest.archives.copernicus import PARAMETERS
from tests.data_prep.ingest.archives.raw import Raw, read_netcdf
from tests.data_prep.ingest.archives.weatherbench2 import GRAVITY, split_level

LEVELS = (50, 250, 500, 700, 850)
_FILL = -32767
_EPOCH = np.datetime64("1900-01-01T00", "h")
_PRESSURE, _SINGLE, _RAIN = "pressure.nc", "single.nc", "precipitation.nc"


def make(
    folder: Path,
    times: NDArray[np.datetime64],
    *,
    nlat: int = 121,
    levels: tuple[int, ...] = LEVELS,
    preliminary: int = 1,
) -> list[Path]:
    """Write a file of pressure levels, one of single levels, and one of hourly precipitation.

    Args:
        folder: Folder of the files.
        times: Times of the fields, six hours apart; precipitation is given for each hour.
        nlat: Number of rows, with both poles.
        levels: Pressure levels, hPa, in ascending order.
        preliminary: Number of times at the end of the single levels that are preliminary data;
            0 for files without the dimension `expver`.

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
    paths = [folder / name for name in (_PRESSURE, _SINGLE, _RAIN)]
    _write(paths[0], hours, grid, on_levels, levels)
    _write(paths[1], hours, grid, at_surface, preliminary=preliminary)
    _write(paths[2], hourly, grid, {"tp": truth.precipitation(*grid, hourly - 1, hourly)})
    return paths


def read(paths: list[Path], channel: str, time: np.datetime64 | None = None) -> Raw:
    """Read a channel at one time, as in `copernicus.read`."""
    pressure, single, rain = paths
    name, level = split_level(channel)
    name = {"orography": "z", "land_fraction": "lsm"}.get(name, name)
    path = rain if name == "tp" else single if level is None else pressure
    with netCDF4.Dataset(path) as file:
        stamps = _EPOCH + file["time"][:].filled().astype("m8[h]")
        index = 0 if time is None else int(np.flatnonzero(stamps == time)[0])
        at = {"time": index}
        if level is not None:
            at["level"] = int(np.flatnonzero(file["level"][:] == level)[0])
        versions = file.dimensions["expver"].size if "expver" in file.dimensions else 0
    if versions:
        final, preliminary = (read_netcdf(path, name, expver=k, **at) for k in range(2))
        values = np.where(np.isnan(final.values), preliminary.values, final.values)
        field = final._replace(values=values)
    else:
        field = read_netcdf(path, name, **at)
    if name == "tp":  # that of six hours
        parts = [read_netcdf(path, name, time=index - k).values for k in range(6)]
        return field._replace(values=np.sum(parts, axis=0), quantum=6 * field.quantum)
    return field.scaled(1 / GRAVITY) if channel == "orography" else field


def _write(
    path: Path,
    hours: NDArray[np.float64],
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    fields: dict[str, NDArray[np.float64]],
    levels: tuple[int, ...] = (),
    preliminary: int = 0,
) -> None:
    latitude, longitude = grid
    with netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_OFFSET") as file:
        file.createDimension("longitude", len(longitude))
        file.createDimension("latitude", len(latitude))
        for name, values in (("longitude", longitude), ("latitude", latitude)):
            array = file.createVariable(name, "f4", (name,))
            array.units = "degrees_north" if name == "latitude" else "degrees_east"
            array.long_name = name
            array[:] = values.astype("f4")
        dims = ["latitude", "longitude"]
        if preliminary:
            _integers(file, "expver", np.array([1, 5]), long_name="expver")
            dims.insert(0, "expver")
        if levels:
            _integers(
                file, "level", np.array(levels), units="millibars", long_name="pressure_level"
            )
            dims.insert(0, "level")
        start = (truth.ORIGIN - _EPOCH).astype(int)
        _integers(
            file, "time", start + hours.astype(int), units="hours since 1900-01-01 00:00:00.0",
            long_name="time", calendar="gregorian",
        )  # fmt: skip
        for name, values in fields.items():
            if preliminary:
                final = (np.arange(len(hours)) < len(hours) - preliminary)[:, None, None]
                parts = [np.where(final, values, np.nan), np.where(final, np.nan, values)]
                values = np.stack(parts, axis=1)
            _packed(file, name, ("time", *dims), values)
        file.Conventions = "CF-1.6"
        file.history = "2023-11-28 09:10:11 GMT by grib_to_netcdf-2.25.1"


def _integers(
    file: netCDF4.Dataset, name: str, values: NDArray[np.int_], **attributes: str
) -> None:
    file.createDimension(name, len(values))
    array = file.createVariable(name, "i4", (name,))
    array.setncatts(attributes)
    array[:] = values.astype("i4")


def _packed(
    file: netCDF4.Dataset, name: str, dims: tuple[str, ...], values: NDArray[np.float64]
) -> None:
    """Write a variable as `grib_to_netcdf` packs it, from -32766 to 32766."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    scale = (high - low) / 65532
    array = file.createVariable(name, "i2", dims, fill_value=np.int16(_FILL))
    array.set_auto_maskandscale(False)
    array.setncatts({"scale_factor": scale, "add_offset": low + 32766 * scale})
    array.missing_value = np.int16(_FILL)
    _, _, long_name, standard_name, units = PARAMETERS[name]
    array.units, array.long_name = units, long_name
    if standard_name != "unknown":
        array.standard_name = standard_name
    packed = np.rint((values - array.add_offset) / scale)
    array[:] = np.where(np.isnan(values), _FILL, packed).astype("i2")
