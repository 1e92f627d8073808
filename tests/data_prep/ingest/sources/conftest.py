"""Small files of every format with known values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
import xarray as xr

from tests.data_prep.ingest.sources.samples import LATITUDE, LONGITUDE, field, grib_message

MakeGrib = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any) -> Path:
    """Folder of the cache, one for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: folder / name)
    return folder


@pytest.fixture
def make_grib(tmp_path: Path) -> MakeGrib:
    """Write a GRIB file with one message for each set of keys."""
    eccodes = pytest.importorskip("eccodes")

    def write(messages: list[dict[str, Any]], name: str = "in.grib", edition: int = 2) -> Path:
        with (tmp_path / name).open("wb") as file:
            for k, keys in enumerate(messages):
                file.write(grib_message(eccodes, {"edition": edition} | keys, k))
        return tmp_path / name

    return write


@pytest.fixture
def fields() -> xr.Dataset:
    """Return a data set of three times, undecoded."""
    values = np.stack([field(k) for k in range(3)]).astype("f4")
    return xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), values, {"units": "K"})},
        {
            "time": ("time", np.arange(3) * 6, {"units": "hours since 2001-01-01"}),
            "latitude": ("latitude", LATITUDE, {"units": "degrees_north"}),
            "longitude": ("longitude", LONGITUDE, {"units": "degrees_east"}),
        },
    )
