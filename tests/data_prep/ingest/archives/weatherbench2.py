"""WeatherBench 2's zarr of ERA5 at 5.625 degrees, and the 0.25-degree one of ARCO-ERA5 it is from.

Layout of `gs://weatherbench2/datasets/era5/1959-2022-6h-64x32_equiangular_conservative.zarr`: zarr
v2 with consolidated metadata, columns before rows, south first, chunks of 100 times and all levels,
levels without units, fixed fields without times, precipitation of the 6 and 24 hours before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tests.data_prep.ingest.archives import truth
from tests.data_prep.ingest.archives.raw import Raw, read_zarr, read_zarr_array

LEVELS = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
NAMES = {
    "z": "geopotential",
    "t": "temperature",
    "u": "u_component_of_wind",
    "v": "v_component_of_wind",
    "q": "specific_humidity",
    "w": "vertical_velocity",
    "t2m": "2m_temperature",
    "u10": "10m_u_component_of_wind",
    "v10": "10m_v_component_of_wind",
    "msl": "mean_sea_level_pressure",
    "sp": "surface_pressure",
    "sst": "sea_surface_temperature",
    "siconc": "sea_ice_cover",
    "tp": "total_precipitation_6hr",
    "orography": "geopotential_at_surface",
    "land_fraction": "land_sea_mask",
}
"""Names of the archive by those of the table of variables."""
ATTRIBUTES = {
    "geopotential": ("Geopotential", "z", "geopotential", "m**2 s**-2"),
    "temperature": ("Temperature", "t", "air_temperature", "K"),
    "u_component_of_wind": ("U component of wind", "u", "eastward_wind", "m s**-1"),
    "v_component_of_wind": ("V component of wind", "v", "northward_wind", "m s**-1"),
    "specific_humidity": ("Specific humidity", "q", "specific_humidity", "kg kg**-1"),
    "vertical_velocity": (
        "Vertical velocity", "w", "lagrangian_tendency_of_air_pressure", "Pa s**-1",
    ),
    "2m_temperature": ("2 metre temperature", "t2m", None, "K"),
    "10m_u_component_of_wind": ("10 metre U wind component", "u10", None, "m s**-1"),
    "10m_v_component_of_wind": ("10 metre V wind component", "v10", None, "m s**-1"),
    "mean_sea_level_pressure": (
        "Mean sea level pressure", "msl", "air_pressure_at_mean_sea_level", "Pa",
    ),
    "surface_pressure": ("Surface pressure", "sp", "surface_air_pressure", "Pa"),
    "sea_surface_temperature": ("Sea surface temperature", "sst", None, "K"),
    "sea_ice_cover": ("Sea ice area fraction", "siconc", "sea_ice_area_fraction", "(0 - 1)"),
    "total_precipitation": ("Total precipitation", "tp", None, "m"),
    "total_precipitation_6hr": ("Total precipitation", "tp", None, "m"),
    "total_precipitation_24hr": ("Total precipitation", "tp", None, "m"),
    "geopotential_at_surface": ("Geopotential", "z", "geopotential", "m**2 s**-2"),
    "land_sea_mask": ("Land-sea mask", "lsm", "land_binary_mask", "(0 - 1)"),
}  # fmt: skip
"""Long name, short name, standard name and units of each variable."""
GRAVITY = 9.80665
BLOSC = numcodecs.Blosc(cname="lz4", clevel=5, shuffle=numcodecs.Blosc.SHUFFLE)


def make(
    folder: Path,
    times: NDArray[np.datetime64],
    *,
    nlat: int = 32,
    levels: tuple[int, ...] = LEVELS,
    compressor: numcodecs.abc.Codec = BLOSC,
    chunk: int = 100,
) -> list[Path]:
    """Write one zarr group.

    Args:
        folder: Folder of the group.
        times: Times, six hours apart.
        nlat: Number of rows, half the number of columns.
        levels: Pressure levels, hPa.
        compressor: Codec of the chunks.
        chunk: Number of times in a chunk.

    Returns:
        Path of the group.
    """
    step = 180 / nlat
    latitude, longitude = -90 + step * (np.arange(nlat) + 0.5), step * np.arange(2 * nlat)
    hours = truth.hours_since_origin(times)
    grid = (latitude, longitude)
    fields = {
        **{n: np.stack([truth.field(n, *grid, hours, p) for p in levels], 1) for n in "ztuvqw"},
        **{n: truth.field(n, *grid, hours) for n in ("t2m", "u10", "v10", "msl", "sp")},
        **{n: truth.wet(truth.field(n, *grid, hours), *grid) for n in ("sst", "siconc")},
        "tp": truth.precipitation(*grid, hours - 6, hours),
        "orography": truth.surface_geopotential(*grid),
        "land_fraction": truth.land_fraction(*grid),
    }
    named = {NAMES[name]: values for name, values in fields.items()}
    named["total_precipitation_24hr"] = truth.precipitation(*grid, hours - 24, hours)
    dims = {2: (), 3: ("time",), 4: ("time", "level")}
    dataset = xr.Dataset(
        {
            name: (
                (*dims[values.ndim], "longitude", "latitude"),
                np.swapaxes(values, -1, -2).astype("f4"),
                attributes(name),
            )
            for name, values in named.items()
        },
        {
            "latitude": latitude,
            "level": np.array(levels, dtype="i8"),
            "longitude": longitude,
            "time": times.astype("M8[ns]"),
        },
    )
    path = folder / "1959-2022-6h-64x32_equiangular_conservative.zarr"
    write(dataset, path, {"time": chunk}, compressor)
    return [path]


def read(paths: list[Path], channel: str, time: np.datetime64 | None = None) -> Raw:
    """Read a channel, such as z500, at one time, in the units of the table of variables.

    Args:
        paths: Paths from `make`.
        channel: Name of the channel in the table of variables.
        time: Valid time; none for a static field.
    """
    (path,) = paths
    name, level = split_level(channel)
    index = {}
    if time is not None:
        hours = (time - np.datetime64("1959-01-01T00", "h")) // np.timedelta64(1, "h")
        index["time"] = _where(path, "time", hours)
    if level is not None:
        index["level"] = _where(path, "level", level)
    field = read_zarr(path, NAMES[name], **index)
    return field.scaled(1 / GRAVITY) if name == "orography" else field


def attributes(name: str) -> dict[str, str]:
    """Return the attributes of a variable."""
    keys = ("long_name", "short_name", "standard_name", "units")
    return {k: v for k, v in zip(keys, ATTRIBUTES[name], strict=True) if v is not None}


def write(
    dataset: xr.Dataset, path: Path, chunks: dict[str, int], compressor: numcodecs.abc.Codec
) -> None:
    """Write a group as both archives do: zarr v2, times in hours, consolidated metadata."""
    encoding: dict[str, Any] = {
        name: {
            "chunks": tuple(chunks.get(str(d), array.sizes[d]) for d in array.dims),
            "compressors": compressor,
            "_FillValue": np.float32(np.nan),
        }
        for name, array in dataset.data_vars.items()
    }
    encoding["time"] = {
        "units": "hours since 1959-01-01",
        "calendar": "proleptic_gregorian",
        "dtype": "int64",
        "chunks": (dataset.sizes["time"],),
    }
    dataset.to_zarr(path, mode="w", zarr_format=2, consolidated=True, encoding=encoding)


def split_level(channel: str) -> tuple[str, int | None]:
    """Return the name of a channel without its level, and the level."""
    if channel[0] in "ztuvqw" and channel[1:].isdigit() and channel not in ("u10", "v10"):
        return channel[0], int(channel[1:])
    return channel, None


def _where(path: Path, name: str, value: float) -> int:
    return int(np.flatnonzero(read_zarr_array(path, name) == value)[0])
