"""Fixtures of gridded files with known values, in the layouts of archives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from sphere_ops.grid import Grid

TIMES = np.datetime64("2001-01-01T00", "ns") + np.arange(8) * np.timedelta64(6, "h")


Truth = Callable[..., np.ndarray]


def _wave(grid: Grid, times: np.ndarray = TIMES, offset: float = 280.0) -> np.ndarray:
    latitude = np.radians(grid.latitude.numpy())[None, :, None]
    longitude = np.radians(grid.longitude.numpy())[None, None, :]
    steps = (times - TIMES[0]) / np.timedelta64(6, "h")
    phase = longitude - 0.3 * steps[:, None, None]
    return offset + 10 * np.sin(latitude) + 5 * np.cos(latitude) * np.cos(phase)


@pytest.fixture(scope="session")
def truth() -> Truth:
    """Return a smooth wave that rotates with time, plus a mean, (time, nlat, nlon)."""
    return _wave


@pytest.fixture(scope="session")
def gridded() -> Callable[..., xr.Dataset]:
    """Return a data set in canonical order with `truth` plus a mean under each of the names."""

    def make(grid: Grid, times: np.ndarray = TIMES, units: str = "K", **means: float) -> xr.Dataset:
        dims = ("time", "latitude", "longitude")
        variables = {
            name: (dims, _wave(grid, times, mean).astype("f4"), {"units": units})
            for name, mean in (means or {"t2m": 280.0}).items()
        }
        coords = {
            "time": times,
            "latitude": ("latitude", grid.latitude.numpy(), {"units": "degrees_north"}),
            "longitude": ("longitude", grid.longitude.numpy(), {"units": "degrees_east"}),
        }
        return xr.Dataset(variables, coords)

    return make


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write a data set to a netCDF file, and return its path."""

    def write(data: xr.Dataset, name: str = "in.nc", **options: Any) -> Path:
        data.to_netcdf(tmp_path / name, engine="netcdf4", **options)
        return tmp_path / name

    return write
