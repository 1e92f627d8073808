"""Synthetic archives for the benchmark of the ingestion: waves, with noise like that of data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import xarray as xr
from numpy.typing import NDArray

BLOSC = numcodecs.Blosc(cname="lz4", clevel=5, shuffle=numcodecs.Blosc.SHUFFLE)
CHUNK = 100
"""Times in a chunk of WeatherBench 2 at 5.625 degrees."""
COARSE = {
    "geopotential": ("z", "m**2 s**-2", 5e4, 3e3),
    "temperature": ("t", "K", 260.0, 20.0),
    "u_component_of_wind": ("u", "m s**-1", 8.0, 14.0),
    "v_component_of_wind": ("v", "m s**-1", 0.5, 9.0),
    "specific_humidity": ("q", "kg kg**-1", 4e-3, 2e-3),
    "vertical_velocity": ("w", "Pa s**-1", 0.0, 0.3),
    "relative_humidity": ("r", "%", 50.0, 30.0),
    "vorticity": ("vo", "s**-1", 0.0, 4e-5),
}
"""Short name, units, mean and amplitude of the variables on pressure levels."""
SURFACE = {
    "2m_temperature": ("t2m", "K", 287.0, 25.0),
    "10m_u_component_of_wind": ("u10", "m s**-1", 1.3, 7.0),
    "10m_v_component_of_wind": ("v10", "m s**-1", -0.4, 6.0),
    "mean_sea_level_pressure": ("msl", "Pa", 101_200.0, 1500.0),
}
"""The same of those on a single level."""


class Archive:
    """Zarr group in the layout of WeatherBench 2 (5.625 degrees) or ARCO-ERA5 (0.25 degrees).

    Attributes:
        path: Path of the group.
        digest: SHA-256 of all values, in the order of writing.
    """

    def __init__(self, path: Path, n_times: int, levels: tuple[int, ...], *, fine: bool) -> None:
        """Write the group.

        Args:
            path: Path of the group.
            n_times: Number of six-hourly times from 2020-01-01 on.
            levels: Pressure levels, hPa.
            fine: True for ARCO-ERA5: 721×1440, rows first, one time in a chunk, and variables on
                a single level.
        """
        self.path, self._hash = path, hashlib.sha256()
        self._rng = np.random.default_rng(0)
        nlat, nlon = (721, 1440) if fine else (32, 64)
        spacing = 180 / (nlat - 1) if fine else 180 / nlat
        latitude = np.arange(nlat) * spacing - (90 if fine else 90 - spacing / 2)
        latitude = latitude[::-1] if fine else latitude
        longitude = np.arange(nlon) * 360 / nlon
        self._waves = _waves(latitude, longitude) if fine else _waves(latitude, longitude).mT
        horizontal = ("latitude", "longitude") if fine else ("longitude", "latitude")
        self._step = 1 if fine else CHUNK
        variables = {name: COARSE[name] for name in list(COARSE)[: 5 if fine else 8]}
        coords: dict[str, Any] = {
            "level": np.array(levels),
            "latitude": ("latitude", latitude, {"units": "degrees_north"}),
            "longitude": ("longitude", longitude, {"units": "degrees_east"}),
        }
        every = np.datetime64("2020-01-01T00", "ns") + np.arange(n_times) * np.timedelta64(6, "h")
        for first in range(0, n_times, self._step):
            times = every[first : first + self._step]
            part = xr.Dataset(coords=coords | {"time": times})
            for name, (_, units, mean, amplitude) in variables.items():
                values = self._values((len(times), len(levels)), mean, amplitude)
                part[name] = ("time", "level", *horizontal), values, {"units": units}
            for name, (_, units, mean, amplitude) in (SURFACE if fine else {}).items():
                values = self._values((len(times),), mean, amplitude)
                part[name] = ("time", *horizontal), values, {"units": units}
            self._append(part, new=first == 0)
        self.digest = self._hash.hexdigest()

    def _values(self, shape: tuple[int, ...], mean: float, amplitude: float) -> NDArray[np.float32]:
        """Return waves with one per cent of noise, of some leading shape."""
        shift = self._rng.standard_normal((*shape, 1, 1), dtype=np.float32)
        size = (*shape, *self._waves.shape)
        values = self._rng.standard_normal(size, dtype=np.float32)
        values *= np.float32(0.01 * amplitude)
        values += np.float32(mean) + np.float32(amplitude) * (self._waves + np.float32(0.1) * shift)
        self._hash.update(values.data)
        return values

    def _append(self, part: xr.Dataset, *, new: bool) -> None:
        if not new:
            fixed = [name for name, array in part.variables.items() if "time" not in array.dims]
            part.drop_vars(fixed).to_zarr(self.path, append_dim="time", consolidated=True)
            return
        encoding: dict[str, Any] = {
            str(name): {"chunks": (self._step, *array.shape[1:]), "compressors": BLOSC}
            for name, array in part.data_vars.items()
        }
        encoding["time"] = {"units": "hours since 1959-01-01", "dtype": "int64", "chunks": (4096,)}
        part.to_zarr(self.path, zarr_format=2, consolidated=True, encoding=encoding)


def as_netcdf(archive: Path, path: Path) -> Path:
    """Write the values of a group to a compressed netCDF file with the same chunks."""
    with xr.open_zarr(archive, chunks=None) as data:
        encoding = {
            str(name): {
                "zlib": True,
                "complevel": 1,
                "chunksizes": (min(CHUNK, array.shape[0]), *array.shape[1:]),
            }
            for name, array in data.data_vars.items()
        }
        clean = data.load().drop_encoding()
        clean.to_netcdf(path, engine="netcdf4", encoding=encoding)
    return path


def channel_names(levels: tuple[int, ...], *, fine: bool) -> tuple[str, ...]:
    """Return the channels of the benchmark: 8 variables × levels, or 27 at 0.25 degrees."""
    if not fine:
        return tuple(f"{short}{p}" for short, *_ in COARSE.values() for p in levels)
    columns = [f"{short}{p}" for short in "ztuv" for p in levels]
    moist = [f"q{p}" for p in sorted(levels)[-3:]]
    return (*columns, *moist, *(short for short, *_ in SURFACE.values()))


def _waves(latitude: NDArray[Any], longitude: NDArray[Any]) -> NDArray[np.float32]:
    """Return a smooth field of amplitude one, (nlat, nlon)."""
    lat, lon = np.radians(latitude)[:, None], np.radians(longitude)[None, :]
    waves = 0.6 * np.sin(lat) + 0.3 * np.cos(lat) * np.cos(4 * lon) + 0.1 * np.sin(9 * lat)
    return waves.astype(np.float32)
