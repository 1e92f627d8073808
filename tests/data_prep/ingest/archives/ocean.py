"""Sea surface temperature and sea ice as forcing: OISST of NOAA PSL, daily or monthly.

Layout of `sst.day.mean.YEAR.nc` and `icec.day.mean.YEAR.nc`: days since 1800, south first, float32
with -9.96921e+36 where missing. Ice concentration is missing on land and on open water, so that the
points with values change in time.
"""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
from numpy.typing import NDArray

from tests.data_prep.ingest.archives import truth
from tests.data_prep.ingest.archives.raw import Raw, read_netcdf

_FILL = np.float32(-9.96921e36)
_EPOCH = np.datetime64("1800-01-01", "D")
_VARIABLES = {
    "sst": ("Daily Sea Surface Temperature", "sea_surface_temperature", "degC"),
    "icec": ("Daily Sea Ice Concentration", "sea_ice_area_fraction", "1"),
}


def make(folder: Path, days: NDArray[np.datetime64], *, nlat: int = 18) -> list[Path]:
    """Write one file of SST and one of ice.

    Args:
        folder: Folder of the files.
        days: Days, or first days of months.
        nlat: Number of rows, half the number of columns.

    Returns:
        Paths of the files of SST and of ice.
    """
    step = 180 / nlat
    grid = -90 + step * (np.arange(nlat) + 0.5), step * (np.arange(2 * nlat) + 0.5)
    hours = truth.hours_since_origin(days)
    ice = truth.wet(truth.field("siconc", *grid, hours), *grid)
    fields = {
        "sst": truth.wet(truth.field("sst", *grid, hours), *grid) - 273.15,
        "icec": np.where(ice > 0, ice, np.nan),
    }
    monthly = len(days) > 1 and days[1] - days[0] > np.timedelta64(27, "D")
    period = "mon" if monthly else "day"
    paths = []
    for name, values in fields.items():
        long_name, standard_name, units = _VARIABLES[name]
        path = folder / f"{name}.{period}.mean.{str(days[0])[:4]}.nc"
        with netCDF4.Dataset(path, "w", format="NETCDF4_CLASSIC") as file:
            for dim, coordinate in (("lat", grid[0]), ("lon", grid[1])):
                file.createDimension(dim, len(coordinate))
                array = file.createVariable(dim, "f4", (dim,))
                array.units = "degrees_north" if dim == "lat" else "degrees_east"
                array.standard_name = "latitude" if dim == "lat" else "longitude"
                array[:] = coordinate
            file.createDimension("time", None)
            time = file.createVariable("time", "f8", ("time",))
            time.setncatts(
                {"units": "days since 1800-01-01 00:00:00", "long_name": "Time", "axis": "T"}
            )
            time[:] = (days.astype("M8[D]") - _EPOCH).astype(float)
            array = file.createVariable(
                name, "f4", ("time", "lat", "lon"), zlib=True, fill_value=_FILL
            )
            array.setncatts(
                {
                    "long_name": long_name,
                    "standard_name": standard_name,
                    "units": units,
                    "missing_value": _FILL,
                    "statistic": "Mean",
                }
            )
            array[:] = np.where(np.isnan(values), _FILL, values).astype("f4")
        paths.append(path)
    return paths


def read(paths: list[Path], channel: str, time: int) -> Raw:
    """Read SST in degC, or the fraction of ice, at one index of the times."""
    path, name = (paths[0], "sst") if channel == "sst" else (paths[1], "icec")
    return read_netcdf(path, name, time=time)
