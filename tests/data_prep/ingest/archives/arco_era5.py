"""ARCO-ERA5's zarr of hourly ERA5, at a small size.

Layout of `gs://gcp-public-data-arco-era5/ar/full_37-1h-0p25deg-chunk-1.zarr-v3`: zarr v2, rows
before columns, north first, one hour and all levels in a chunk, hourly precipitation, fixed fields
with times, and the range of valid times in attributes. The times outside it (in the archive, from
1900 to 2050) are on the axis, and their chunks do not exist.
"""

from __future__ import annotations

import json
from pathlib import Path

import numcodecs
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tests.data_prep.ingest.archives import truth, weatherbench2
from tests.data_prep.ingest.archives.raw import Raw, read_zarr, read_zarr_array

LEVELS = (50, 100, 250, 500, 700, 850, 1000)
NAMES = {**weatherbench2.NAMES, "tp": "total_precipitation"}


def make(
    folder: Path,
    times: NDArray[np.datetime64],
    *,
    nlat: int = 121,
    levels: tuple[int, ...] = LEVELS,
    compressor: numcodecs.abc.Codec = weatherbench2.BLOSC,
    empty: int = 24,
) -> list[Path]:
    """Write one zarr group.

    Args:
        folder: Folder of the group.
        times: Times, one hour apart.
        nlat: Number of rows, with both poles.
        levels: Pressure levels, hPa.
        compressor: Codec of the chunks.
        empty: Number of hours without chunks before and after the times.

    Returns:
        Path of the group.
    """
    nlon = 2 * (nlat - 1)
    latitude, longitude = np.linspace(90, -90, nlat), np.arange(nlon) * 360 / nlon
    hours = truth.hours_since_origin(times)
    grid = (latitude, longitude)
    fields = {
        **{n: np.stack([truth.field(n, *grid, hours, p) for p in levels], 1) for n in "ztuvq"},
        **{n: truth.field(n, *grid, hours) for n in ("t2m", "u10", "v10", "msl")},
        **{n: truth.wet(truth.field(n, *grid, hours), *grid) for n in ("sst", "siconc")},
        "tp": truth.precipitation(*grid, hours - 1, hours),
    }
    fixed = {
        "orography": truth.surface_geopotential(*grid),
        "land_fraction": truth.land_fraction(*grid),
    }
    for name, values in fixed.items():
        fields[name] = np.broadcast_to(values, (len(times), *values.shape))
    dims = {3: ("time",), 4: ("time", "level")}
    dataset = xr.Dataset(
        {
            NAMES[name]: (
                (*dims[values.ndim], "latitude", "longitude"),
                values.astype("f4"),
                weatherbench2.attributes(NAMES[name]),
            )
            for name, values in fields.items()
        },
        {
            "time": times.astype("M8[ns]"),
            "level": np.array(levels, dtype="i8"),
            "latitude": (
                "latitude",
                latitude.astype("f4"),
                {"long_name": "latitude", "units": "degrees_north"},
            ),
            "longitude": (
                "longitude",
                longitude.astype("f4"),
                {"long_name": "longitude", "units": "degrees_east"},
            ),
        },
        {
            "valid_time_start": str(times[0].astype("M8[D]")),
            "valid_time_stop": str(times[-1].astype("M8[D]")),
        },
    )
    if empty:
        hour = np.timedelta64(1, "h")
        axis = np.arange(times[0] - empty * hour, times[-1] + (empty + 1) * hour, hour)
        dataset = dataset.reindex(time=axis.astype("M8[ns]"))
    path = folder / "full_37-1h-0p25deg-chunk-1.zarr-v3"
    weatherbench2.write(dataset, path, {"time": 1}, compressor)
    return [path]


def read(paths: list[Path], channel: str, time: np.datetime64 | None = None) -> Raw:
    """Read a channel at one time, as in `weatherbench2.read`; precipitation of six hours."""
    (path,) = paths
    times = np.datetime64("1959-01-01T00", "h") + read_zarr_array(path, "time")
    if time is None:  # a fixed field, at a time that has values
        stop = json.loads((path / ".zattrs").read_text())["valid_time_stop"]
        time = np.datetime64(stop, "h")
    if channel != "tp":
        return weatherbench2.read(paths, channel, time)
    last = int(np.flatnonzero(times == time)[0])
    hourly = [read_zarr(path, NAMES["tp"], time=last - k) for k in range(6)]
    return hourly[0]._replace(values=np.sum([one.values for one in hourly], axis=0))
