"""Fields with known values, and GRIB messages of them."""

from pathlib import Path
from typing import Any

import numpy as np
import psutil

LATITUDE = np.array([90.0, 45.0, 0.0, -45.0, -90.0])
LONGITUDE = np.arange(8) * 45.0


def field(k: float) -> np.ndarray:
    """Return a field that differs at every point and for every k, (nlat, nlon)."""
    return k + np.sin(np.radians(LATITUDE))[:, None] + np.cos(np.radians(LONGITUDE)) / 3


def grib_message(eccodes: Any, keys: dict[str, Any], k: float) -> bytes:
    """Return a message with the values of `field(k)`, or with given values in file order."""
    keys = dict(keys)
    sample = "GRIB1" if keys.pop("edition") == 1 else "GRIB2"
    values = keys.pop("values", field(keys.pop("k", k)))
    handle = eccodes.codes_grib_new_from_samples(sample)
    try:
        shape = {
            "Ni": 8, "Nj": 5, "latitudeOfFirstGridPointInDegrees": 90.0,
            "latitudeOfLastGridPointInDegrees": -90.0, "longitudeOfFirstGridPointInDegrees": 0.0,
            "longitudeOfLastGridPointInDegrees": 315.0, "iDirectionIncrementInDegrees": 45.0,
            "jDirectionIncrementInDegrees": 45.0, "dataDate": 20010101, "dataTime": 0,
            "bitsPerValue": 24,
        }  # fmt: skip
        for key, value in (shape | keys).items():
            eccodes.codes_set(handle, key, value)
        if np.isnan(values).any():
            eccodes.codes_set(handle, "bitmapPresent", 1)
            eccodes.codes_set(handle, "missingValue", 1e30)
            values = np.where(np.isnan(values), 1e30, values)
        eccodes.codes_set_values(handle, values.astype(float).ravel())
        return eccodes.codes_get_message(handle)
    finally:
        eccodes.codes_release(handle)


def count_open(paths: list[Path]) -> int:
    """Return the number of files that this process has open."""
    opened = [file.path for file in psutil.Process().open_files()]
    return sum(str(path) in opened for path in paths)
