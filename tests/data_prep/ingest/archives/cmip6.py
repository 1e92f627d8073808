"""Daily netCDF files of CMIP6, one for each variable and period.

Layout of CMOR: table `day` with the eight levels `plev8` in Pa, south first, bounds of times, rows
and columns, means over the day stamped at noon, 1e20 where missing (below the ground), fixed fields
of table `fx`. CanESM5 has the calendar `365_day`, HadGEM3 and UKESM1 have `360_day`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cftime
import netCDF4
import numpy as np
from numpy.typing import NDArray

from tests.data_prep.ingest.archives import truth
from tests.data_prep.ingest.archives.raw import Raw, read_netcdf
from tests.data_prep.ingest.archives.weatherbench2 import GRAVITY, split_level

LEVELS = (100_000, 85_000, 70_000, 50_000, 25_000, 10_000, 5_000, 1_000)  # Pa
VARIABLES = {
    "tas": ("t2m", "air_temperature", "Near-Surface Air Temperature", "K"),
    "psl": ("msl", "air_pressure_at_mean_sea_level", "Sea Level Pressure", "Pa"),
    "uas": ("u10", "eastward_wind", "Eastward Near-Surface Wind", "m s-1"),
    "vas": ("v10", "northward_wind", "Northward Near-Surface Wind", "m s-1"),
    "pr": ("tp", "precipitation_flux", "Precipitation", "kg m-2 s-1"),
    "ta": ("t", "air_temperature", "Air Temperature", "K"),
    "ua": ("u", "eastward_wind", "Eastward Wind", "m s-1"),
    "va": ("v", "northward_wind", "Northward Wind", "m s-1"),
    "hus": ("q", "specific_humidity", "Specific Humidity", "1"),
    "zg": ("z", "geopotential_height", "Geopotential Height", "m"),
}
"""Name in the table of variables, standard name, long name and units."""
_FIXED = {
    "orog": ("orography", "surface_altitude", "Surface Altitude", "m"),
    "sftlf": ("land_fraction", "land_area_fraction", "Percentage of the Grid Cell Land", "%"),
}
_HEIGHTS = {"tas": 2.0, "uas": 10.0, "vas": 10.0}
_FILL = np.float32(1e20)
_SECONDS = 86_400


def make(
    folder: Path,
    days: NDArray[np.float64],
    *,
    calendar: str = "365_day",
    nlat: int = 16,
    periods: int = 2,
) -> list[Path]:
    """Write files of each variable for some periods, and the fixed fields.

    Args:
        folder: Folder of the files.
        days: Days since 1850-01-01 in the calendar, whole numbers one apart.
        calendar: 365_day or 360_day.
        nlat: Number of Gaussian latitudes, half the number of columns.
        periods: Number of periods, each of which is a file.

    Returns:
        Paths of the files.
    """
    sine = np.polynomial.legendre.leggauss(nlat)[0]
    grid = np.degrees(np.arcsin(sine)), np.arange(2 * nlat) * 180 / nlat
    run = f"{'CanESM5' if calendar == '365_day' else 'HadGEM3-GC31-LL'}_historical_r1i1p1f1_gn"
    paths = []
    for part in np.array_split(days, periods):
        first, last = (dates(part, calendar)[k].strftime("%Y%m%d") for k in (0, -1))
        for name in VARIABLES:
            paths.append(folder / f"{name}_day_{run}_{first}-{last}.nc")
            _write(paths[-1], name, grid, part + 0.5, calendar)
    for name in _FIXED:
        paths.append(folder / f"{name}_fx_{run}.nc")
        _write(paths[-1], name, grid, None, calendar)
    return paths


def read(paths: list[Path], channel: str, day: int | None = None) -> Raw:
    """Read a channel on one day, in the units of the table of variables.

    Args:
        paths: Paths from `make`.
        channel: Name of the channel in the table of variables.
        day: Index of the day among all days; none for a fixed field.
    """
    base, level = split_level(channel)
    name = next(k for k, v in {**VARIABLES, **_FIXED}.items() if v[0] == base)
    files = [path for path in paths if path.name.startswith(f"{name}_")]
    if day is None:
        return read_netcdf(files[0], name).scaled(0.01 if name == "sftlf" else 1.0)
    for file in files:
        with netCDF4.Dataset(file) as opened:
            length = opened.dimensions["time"].size
        if day < length:
            break
        day -= length
    at = {"time": day}
    if level is not None:
        at["plev"] = LEVELS.index(100 * level)
    factor = {"zg": GRAVITY, "pr": _SECONDS / 1000}.get(name, 1.0)
    return read_netcdf(file, name, **at).scaled(factor)


def dates(days: NDArray[np.float64], calendar: str) -> list[cftime.datetime]:
    """Return the dates of days since 1850."""
    return list(cftime.num2date(days, "days since 1850-01-01", calendar=calendar))


def elapsed_hours(days: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the hours at which the truth is taken for days since 1850 of any calendar."""
    return 24 * (days - 62_050)


def _values(
    name: str,
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    noon: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    if noon is None:
        fixed = truth.height if name == "orog" else truth.land_fraction
        return fixed(*grid) * (100 if name == "sftlf" else 1)
    hours = elapsed_hours(noon)
    base = VARIABLES[name][0]
    if name == "pr":  # metres in a day are tonnes per square metre in a day
        return truth.precipitation(*grid, hours - 12, hours + 12) * 1000 / _SECONDS
    if name in _HEIGHTS or name == "psl":
        return truth.field(base, *grid, hours)
    values = np.stack([truth.field(base, *grid, hours, p / 100) for p in LEVELS], axis=1)
    if name == "zg":
        values /= GRAVITY
    ground = 1e5 * np.exp(-truth.height(*grid) / 7500)  # Pa
    return np.where(np.array(LEVELS)[:, None, None] > ground, np.nan, values)


def _write(
    path: Path,
    name: str,
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    noon: NDArray[np.float64] | None,
    calendar: str,
) -> None:
    values = _values(name, grid, noon)
    _, standard_name, long_name, units = {**VARIABLES, **_FIXED}[name]
    with netCDF4.Dataset(path, "w", format="NETCDF4_CLASSIC") as file:
        dims = ["lat", "lon"]
        if noon is not None:
            file.createDimension("time", None)
            dims.insert(0, "time")
        if values.ndim == 4:
            file.createDimension("plev", len(LEVELS))
            dims.insert(1, "plev")
        for dim, size in (("lat", len(grid[0])), ("lon", len(grid[1])), ("bnds", 2)):
            file.createDimension(dim, size)
        if noon is not None:
            time = file.createVariable("time", "f8", ("time",))
            time.setncatts(
                {
                    "bounds": "time_bnds",
                    "units": "days since 1850-01-01 0:0:0.0",
                    "calendar": calendar,
                    "axis": "T",
                    "long_name": "time",
                    "standard_name": "time",
                }
            )
            time[:] = noon
            bounds = file.createVariable("time_bnds", "f8", ("time", "bnds"))
            bounds[:] = np.stack([noon - 0.5, noon + 0.5], axis=1)
        if values.ndim == 4:
            plev = file.createVariable("plev", "f8", ("plev",))
            plev.setncatts(
                {
                    "units": "Pa",
                    "axis": "Z",
                    "positive": "down",
                    "long_name": "pressure",
                    "standard_name": "air_pressure",
                }
            )
            plev[:] = LEVELS
        _horizontal(file, *grid)
        scalar = _scalar(file, name)
        array = file.createVariable(name, "f4", dims, zlib=True, complevel=1, fill_value=_FILL)
        attributes: dict[str, Any] = {
            "standard_name": standard_name,
            "long_name": long_name,
            "units": units,
            "cell_methods": "area: time: mean" if noon is not None else "area: mean",
            "cell_measures": "area: areacella",
            "missing_value": _FILL,
        }
        if scalar:
            attributes["coordinates"] = scalar
        array.setncatts(attributes)
        array[:] = np.where(np.isnan(values), _FILL, values).astype("f4")
        file.setncatts(
            {
                "Conventions": "CF-1.7 CMIP-6.2",
                "activity_id": "CMIP",
                "experiment_id": "historical",
                "frequency": "day" if noon is not None else "fx",
                "grid_label": "gn",
                "mip_era": "CMIP6",
                "source_id": path.name.split("_")[2],
                "table_id": "day" if noon is not None else "fx",
                "variable_id": name,
                "variant_label": "r1i1p1f1",
            }
        )


def _horizontal(
    file: netCDF4.Dataset, latitude: NDArray[np.float64], longitude: NDArray[np.float64]
) -> None:
    step = longitude[1] - longitude[0]
    middle = (latitude[1:] + latitude[:-1]) / 2
    edges = np.concatenate([[-90.0], middle, [90.0]])
    for name, values, low, high in (
        ("lat", latitude, edges[:-1], edges[1:]),
        ("lon", longitude, longitude - step / 2, longitude + step / 2),
    ):
        long_name = "latitude" if name == "lat" else "longitude"
        array = file.createVariable(name, "f8", (name,))
        array.setncatts(
            {
                "bounds": f"{name}_bnds",
                "units": "degrees_north" if name == "lat" else "degrees_east",
                "axis": "Y" if name == "lat" else "X",
                "long_name": long_name.capitalize(),
                "standard_name": long_name,
            }
        )
        array[:] = values
        file.createVariable(f"{name}_bnds", "f8", (name, "bnds"))[:] = np.stack([low, high], 1)


def _scalar(file: netCDF4.Dataset, name: str) -> str:
    """Write the scalar coordinate of a variable, if it has one, and return its name."""
    if name in _HEIGHTS:
        height = file.createVariable("height", "f8", ())
        height.setncatts(
            {
                "units": "m",
                "axis": "Z",
                "positive": "up",
                "long_name": "height",
                "standard_name": "height",
            }
        )
        height[...] = _HEIGHTS[name]
        return "height"
    if name == "sftlf":
        file.createDimension("strlen", 4)
        kind = file.createVariable("type", "S1", ("strlen",))
        kind.setncatts({"long_name": "Land area type", "standard_name": "area_type"})
        kind[:] = np.array(list("land"), dtype="S1")
        return "type"
    return ""
