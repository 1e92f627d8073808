"""Readers of single fields that use neither xarray nor the code under test."""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import netCDF4
import numcodecs
import numpy as np
from numpy.typing import NDArray


class Raw(NamedTuple):
    """One field of a file.

    Attributes:
        latitude: Degrees north in the order of the file, (nlat,).
        longitude: Degrees east in the order of the file, (nlon,).
        values: Unpacked values, NaN where missing, (nlat, nlon).
        quantum: Distance between two packed values; 0 if the values are not packed.
    """

    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    values: NDArray[np.float64]
    quantum: float = 0.0

    def scaled(self, factor: float, offset: float = 0.0) -> Raw:
        """Return the field in other units."""
        values = self.values * factor + offset
        return self._replace(values=values, quantum=abs(self.quantum * factor))

    def on(self, latitude: Any, longitude: Any) -> NDArray[np.float64]:
        """Return the values at the rows and columns of another order."""
        rows = [int(np.abs(self.latitude - x).argmin()) for x in np.asarray(latitude)]
        turn = np.asarray(self.longitude) % 360
        columns = [int(np.abs(turn - x % 360).argmin()) for x in np.asarray(longitude)]
        return self.values[np.ix_(rows, columns)]


_ROWS, _COLUMNS = ("latitude", "lat", "theta"), ("longitude", "lon", "phi")


def read_netcdf(path: Path, name: str, **index: int) -> Raw:
    """Read a field of a netCDF file and unpack it by hand.

    Args:
        path: File.
        name: Variable.
        index: Index along each dimension other than rows and columns.
    """
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        variable = file[name]
        packed = variable[tuple(index.get(dim, slice(None)) for dim in variable.dimensions)]
        rest = [dim for dim in variable.dimensions if dim not in index]
        if rest[0] in _COLUMNS:
            packed, rest = packed.T, rest[::-1]
        attrs = {key: variable.getncattr(key) for key in variable.ncattrs()}
        missing = np.isnan(packed.astype(float))
        for key in ("_FillValue", "missing_value"):
            missing |= packed == attrs.get(key, np.nan)
        scale = float(attrs.get("scale_factor", 1.0))
        values = packed.astype(float) * scale + float(attrs.get("add_offset", 0.0))
        return Raw(
            np.asarray(file[rest[0]][:], dtype=float),
            np.asarray(file[rest[1]][:], dtype=float),
            np.where(missing, np.nan, values),
            abs(scale) if "scale_factor" in attrs else 0.0,
        )


def read_zarr(path: Path, name: str, **index: int) -> Raw:
    """Read a field of a zarr v2 group chunk by chunk with numcodecs.

    Args:
        path: Folder of the group.
        name: Variable.
        index: Index along each dimension other than rows and columns.
    """
    values = read_zarr_array(path, name)
    dims = json.loads((path / name / ".zattrs").read_text())["_ARRAY_DIMENSIONS"]
    values = values[tuple(index.get(dim, slice(None)) for dim in dims)]
    rest = [dim for dim in dims if dim not in index]
    if rest[0] in _COLUMNS:
        values, rest = values.T, rest[::-1]
    rows, columns = (read_zarr_array(path, dim).astype(float) for dim in rest)
    return Raw(rows, columns, values.astype(float))


def read_grib(path: Path, **keys: Any) -> Raw:
    """Read the one message of a GRIB file that has all of the given keys.

    Args:
        path: File, which must not change while the tests run.
        keys: Values of some of `GRIB_KEYS`.

    Raises:
        LookupError: if none or several messages have them.
    """
    import eccodes

    wanted = [i for i, m in enumerate(_grib_messages(path)) if keys.items() <= m.items()]
    if len(wanted) != 1:
        raise LookupError(f"{len(wanted)} messages of {path} have {keys}, expected 1")
    with path.open("rb") as file:
        file.seek(_grib_messages(path)[wanted[0]]["offset"])
        message = eccodes.codes_grib_new_from_file(file)
        try:
            return _grib_field(message)
        finally:
            eccodes.codes_release(message)


GRIB_KEYS = {
    "offset": int, "paramId": int, "level": int, "typeOfLevel": str, "validityDate": int,
    "validityTime": int,
}  # fmt: skip
"""Keys by which messages are found, and their types."""


@cache
def _grib_messages(path: Path) -> list[dict[str, Any]]:
    """Return the keys of all messages of a file."""
    import eccodes

    found = []
    with path.open("rb") as file:
        while (message := eccodes.codes_grib_new_from_file(file)) is not None:
            found.append({k: eccodes.codes_get(message, k, t) for k, t in GRIB_KEYS.items()})
            eccodes.codes_release(message)
    return found


def _grib_field(message: int) -> Raw:
    import eccodes

    eccodes.codes_set(message, "missingValue", 1e34)
    shape = eccodes.codes_get(message, "Nj"), eccodes.codes_get(message, "Ni")
    values = eccodes.codes_get_values(message).reshape(shape)
    scale = 2.0 ** eccodes.codes_get(message, "binaryScaleFactor")
    return Raw(
        eccodes.codes_get_array(message, "latitudes").reshape(shape)[:, 0],
        eccodes.codes_get_array(message, "longitudes").reshape(shape)[0],
        np.where(values == 1e34, np.nan, values),
        scale * 10.0 ** -eccodes.codes_get(message, "decimalScaleFactor"),
    )


def read_zarr_array(path: Path, name: str) -> NDArray[Any]:
    """Read all chunks of an array of a zarr v2 group."""
    meta = json.loads((path / name / ".zarray").read_text())
    shape, chunks, dtype = meta["shape"], meta["chunks"], np.dtype(meta["dtype"])
    out = np.full(shape, np.nan if dtype.kind == "f" else 0, dtype=dtype)
    for at in itertools.product(*(range(-(-n // c)) for n, c in zip(shape, chunks, strict=True))):
        chunk = path / name / ".".join(map(str, at))
        if not chunk.exists():  # all of it is the fill value
            continue
        packed = chunk.read_bytes()
        if meta["compressor"] is not None:
            packed = numcodecs.get_codec(meta["compressor"]).decode(packed)
        block = np.frombuffer(packed, dtype=dtype).reshape(chunks)
        starts = [i * c for i, c in zip(at, chunks, strict=True)]
        stops = [min(s + c, n) for s, c, n in zip(starts, chunks, shape, strict=True)]
        here = tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))
        out[here] = block[tuple(slice(0, b - a) for a, b in zip(starts, stops, strict=True))]
    return out
