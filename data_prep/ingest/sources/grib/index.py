"""Index of the fields in a GRIB file, made in one scan and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re

# Imported before eccodes: its wheel contains an SQLite library that is too old for MLflow.
import sqlite3  # noqa: F401
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from data_prep.ingest.sources.grib.headers import Header, headers
from data_prep.ingest.sources.grib.messages import opened, single_field

_VERSION = 4
_NO_MEMBER = -1
_COLUMNS = np.dtype(
    [
        ("offset", "i8"),  # of the message in the file, bytes
        ("length", "i8"),  # of the message, bytes
        ("part", "i4"),  # position of the field in its message
        ("time", "i8"),  # start of the forecast, seconds since 1970-01-01
        ("parameter", "i4"),  # index into the parameters
        ("grid", "i4"),  # index into the grids
        ("data_type", "i4"),  # index into the data types
        ("number", "i4"),  # ensemble member, -1 for none
        ("start", "f8"),  # of the interval of the values, hours since the start of the forecast
        ("end", "f8"),  # of that interval, hours; equal to the start for instantaneous values
        ("level", "f8"),  # pressures in hPa
        ("bits", "i2"),  # per packed value
    ]
)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "": 3600, "D": 86400}
_STEPS = re.compile(r"(-?\d+)([a-zA-Z]*)(?:-(-?\d+)([a-zA-Z]*))?")


@dataclass(frozen=True, eq=False)
class GribIndex:
    """Fields of a GRIB file.

    Attributes:
        fields: One record for each field, in the order of the file; see `_COLUMNS`.
        parameters: Names, units, type of level and of step of each parameter.
        grids: Type, shape, order of the values, latitudes and longitudes of each grid.
        data_types: Types of data, such as analysis or forecast.
    """

    fields: NDArray[Any]
    parameters: list[dict[str, Any]]
    grids: list[dict[str, Any]]
    data_types: list[str]


def grib_index(path: Path, keep: bool) -> GribIndex:
    """Return the index of a GRIB file, from the cache if the file is unchanged.

    Args:
        path: GRIB file. Nothing is written beside it.
        keep: False for a temporary file, whose index is not kept.

    Raises:
        ValueError: if the file holds no GRIB message.
    """
    if not keep:
        return scan(path)
    cached = _cache_path(path)
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return _load(cached)
    index = scan(path)
    with suppress(OSError):  # a cache folder that cannot be written is no error
        _save(cached, index)
    return index


def scan(path: Path) -> GribIndex:
    """Read the index of a GRIB file from its messages."""
    scanner = _Scanner()
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    for header in headers(data):
        scanner.add(header, data)
    if not scanner.rows:
        raise ValueError("it holds no GRIB message")
    return scanner.index()


class _Scanner:
    """Collection of the records of an index."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self._known: dict[tuple[bytes, bytes], tuple[Any, ...]] = {}
        self._parameters: dict[tuple[Any, ...], int] = {}
        self._grids: dict[bytes, int] = {}
        self._data_types: dict[str, int] = {}
        self._parameter_list: list[dict[str, Any]] = []
        self._grid_list: list[dict[str, Any]] = []

    def add(self, header: Header, data: memoryview) -> None:
        """Add a field.

        Args:
            header: Place and header of the field.
            data: Content of the file.
        """
        key = (header.product, header.grid)
        if key not in self._known:
            message = bytes(data[header.offset : header.offset + header.length])
            with opened(single_field(message, header.part)) as handle:
                self._known[key] = self._description(handle, header.grid)
        self.rows.append(
            (header.offset, header.length, header.part, header.time, *self._known[key])
        )

    def _description(self, handle: int, grid: bytes) -> tuple[Any, ...]:
        """Return the columns of a field that do not depend on its date."""
        parameter = self._parameter(handle)
        start, end = _steps(str(_get(handle, "stepRange", "0")))
        data_type = str(_get(handle, "dataType", ""))
        return (
            parameter,
            self._grid(handle, grid),
            self._data_types.setdefault(data_type, len(self._data_types)),
            int(_get(handle, "number", _NO_MEMBER)),
            start,
            end,
            _level(handle, self._parameter_list[parameter]["typeOfLevel"]),
            int(_get(handle, "bitsPerValue", 0)),
        )

    def index(self) -> GribIndex:
        """Return the index of all fields."""
        fields = np.array(self.rows, dtype=_COLUMNS)
        return GribIndex(fields, self._parameter_list, self._grid_list, list(self._data_types))

    def _parameter(self, handle: int) -> int:
        # Names are looked up once for each parameter: that takes most of the time of a scan.
        keys = ("edition", "centre", "paramId", "typeOfLevel", "stepType", "packingType")
        values = {key: _get(handle, key, "unknown") for key in keys}
        values["code"] = str(values["paramId"] or _numbers(handle))
        identity = tuple(values.values())
        if identity not in self._parameters:
            names = ("shortName", "name", "cfVarName", "cfName", "units")
            values |= {key: str(_get(handle, key, "unknown")) for key in names}
            self._parameters[identity] = len(self._parameter_list)
            self._parameter_list.append(values)
        return self._parameters[identity]

    def _grid(self, handle: int, header: bytes) -> int:
        if header not in self._grids:
            self._grids[header] = len(self._grid_list)
            self._grid_list.append(_describe_grid(handle))
        return self._grids[header]


def _numbers(handle: int) -> str:
    """Return the numbers of a parameter that the tables of eccodes do not name."""
    grib2 = ("discipline", "parameterCategory", "parameterNumber")
    keys = grib2 if _get(handle, "edition", 1) == 2 else ("table2Version", "indicatorOfParameter")
    return "_".join(str(_get(handle, key, "")) for key in keys)


def _describe_grid(handle: int) -> dict[str, Any]:
    """Return type, shape, order of the values, and coordinates of the grid of a field."""
    import eccodes

    points = int(_get(handle, "numberOfPoints", 0)) or int(eccodes.codes_get_size(handle, "values"))
    kind = str(_get(handle, "gridType", "unknown"))
    nlat, nlon = int(_get(handle, "Ny", 0)), int(_get(handle, "Nx", 0))
    grid: dict[str, Any] = {
        "gridType": kind,
        "shape": [nlat, nlon] if nlat * nlon == points else [points],
        "columns_first": bool(_get(handle, "jPointsAreConsecutive", 0)),
        "alternating": bool(_get(handle, "alternativeRowScanning", 0)),
    }
    if kind.startswith("regular_") and len(grid["shape"]) == 2:
        for name in ("latitudes", "longitudes"):
            values = eccodes.codes_get_array(handle, name)
            first = np.sort(np.unique(values, return_index=True)[1])
            grid[name] = values[first].tolist()  # in the order of the rows or columns of the file
    return grid


def _steps(text: str) -> tuple[float, float]:
    """Return start and end of an interval such as 0, 6-12 or 15m, in hours."""
    match = _STEPS.fullmatch(text)
    if match is None or not {match[2], match[4] or ""} <= set(_SECONDS):
        raise ValueError(f"a GRIB message has the forecast step {text!r}, expected hours")
    first = int(match[1]) * _SECONDS[match[2]] / 3600
    last = first if match[3] is None else int(match[3]) * _SECONDS[match[4]] / 3600
    return first, last


def _level(handle: int, kind: str) -> float:
    """Return the level of a field, pressures in hPa."""
    if not kind.startswith("isobaricIn"):
        return float(_get(handle, "level", 0.0, kind=float))
    scaled = _get(handle, "scaledValueOfFirstFixedSurface", None, kind=int)
    if scaled is not None:  # GRIB 2; its key `level` has no fractions of a hPa
        factor = _get(handle, "scaleFactorOfFirstFixedSurface", 0, kind=int)
        return float(scaled) * 10.0 ** -int(factor) / 100
    level = float(_get(handle, "level", 0.0, kind=float))
    return level / 100 if kind == "isobaricInPa" else level


def _get(handle: int, key: str, default: Any, kind: type | None = None) -> Any:
    """Return the value of a key, or a default if the message does not have it."""
    import eccodes

    try:
        return eccodes.codes_get(handle, key, kind)
    except (eccodes.KeyValueNotFoundError, eccodes.HashArrayNoMatchError):
        return default


def _cache_path(path: Path) -> Path:
    """Return the path of the cached index of a file in its present state."""
    import eccodes

    status = path.stat()
    identity = [
        str(path.resolve()), status.st_size, status.st_mtime_ns, _VERSION,
        eccodes.codes_get_api_version(),
    ]  # fmt: skip
    name = hashlib.blake2b(json.dumps(identity).encode(), digest_size=16).hexdigest()
    return platformdirs.user_cache_path("sphere-forecast") / "grib" / f"{name}.npz"


def _load(path: Path) -> GribIndex:
    with path.open("rb") as opened_file, np.load(opened_file, allow_pickle=False) as file:
        fields = file["fields"]
        if fields.dtype != _COLUMNS:
            raise ValueError(f"{path} has other columns")
        parameters, grids, data_types = json.loads(str(file["tables"]))
    return GribIndex(fields, parameters, grids, data_types)


def _save(path: Path, index: GribIndex) -> None:
    """Write an index beside its path, and rename it: other commands never read half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tables = json.dumps([index.parameters, index.grids, index.data_types])
    number, scratch = tempfile.mkstemp(dir=path.parent, suffix=".npz")
    try:
        with os.fdopen(number, "wb") as file:
            np.savez_compressed(file, fields=index.fields, tables=np.array(tables))
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise
