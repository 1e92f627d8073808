"""Data sets of a GRIB file, whose fields are decoded when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from data_prep.ingest.sources.grib.cubes import Cube, cubes
from data_prep.ingest.sources.grib.index import GribIndex, grib_index
from data_prep.ingest.sources.grib.messages import MessageFile, decode, single_field

_EPOCH = {"units": "seconds since 1970-01-01T00:00:00", "calendar": "proleptic_gregorian"}
_COORDINATES: dict[str, dict[str, str]] = {
    "number": {
        "units": "1", "standard_name": "realization",
        "long_name": "ensemble member numerical id",
    },
    "time": {
        **_EPOCH, "standard_name": "forecast_reference_time",
        "long_name": "initial time of forecast",
    },
    "step": {
        "units": "hours", "standard_name": "forecast_period",
        "long_name": "time since forecast_reference_time",
    },
    "step_start": {"units": "hours", "long_name": "start of the interval of the values"},
    "valid_time": {**_EPOCH, "standard_name": "time", "long_name": "time"},
    "latitude": {"units": "degrees_north", "standard_name": "latitude", "long_name": "latitude"},
    "longitude": {"units": "degrees_east", "standard_name": "longitude", "long_name": "longitude"},
    "isobaricInhPa": {
        "units": "hPa", "positive": "down", "standard_name": "air_pressure",
        "long_name": "pressure",
    },
    "heightAboveGround": {
        "units": "m", "positive": "up", "standard_name": "height",
        "long_name": "height above the surface",
    },
    "heightAboveSea": {
        "units": "m", "positive": "up", "standard_name": "height_above_mean_sea_level",
        "long_name": "height above mean sea level",
    },
    "depthBelowLandLayer": {
        "units": "m", "positive": "down", "standard_name": "depth", "long_name": "soil depth",
    },
    "hybrid": {
        "units": "1", "positive": "down",
        "standard_name": "atmosphere_hybrid_sigma_pressure_coordinate",
        "long_name": "hybrid level",
    },
}  # fmt: skip


def open_grib(path: Path, keep_index: bool = True) -> list[xr.Dataset]:
    """Open a GRIB file; fields that form arrays of the same coordinates share a data set.

    Args:
        path: GRIB 1 or GRIB 2 file with any mixture of fields.
        keep_index: False for a temporary file, whose index is not kept for later commands.

    Returns:
        Data sets with the names that cfgrib uses. Levels in Pa are given in hPa.
    """
    index = grib_index(path, keep_index)
    file = MessageFile(path)
    groups: dict[tuple[Any, ...], dict[str, Cube]] = {}
    for cube in cubes(index):
        name = _name(index.parameters[cube.parameter])
        key = _coordinates_key(cube)
        copy = 0
        while name in groups.setdefault((*key, copy), {}):
            copy += 1  # a variable of the same name on the same coordinates
        groups[*key, copy][name] = cube
    return [_dataset(index, file, members) for members in groups.values() if members]


class GribArray(BackendArray):
    """Array of fields that are decoded when they are read, safe for several threads."""

    def __init__(self, index: GribIndex, file: MessageFile, cube: Cube) -> None:
        """Describe the array.

        Args:
            index: Index of the file.
            file: File to read from.
            cube: Fields of the array.
        """
        self._file = file
        self._grid = index.grids[cube.grid]
        self._rows = cube.rows
        self._fields = index.fields
        self.shape = (*cube.rows.shape, *self._grid["shape"])
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[np.float32]:
        """Return a part of the array."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> NDArray[np.float32]:
        leading = self._rows.ndim
        rows = np.asarray(_outer(self._rows, key[:leading]))
        fields = [_outer(self._decode(row), key[leading:]) for row in rows.flat]
        if not fields:
            shape = _outer(np.empty(self._grid["shape"], np.float32), key[leading:]).shape
            return np.empty((*rows.shape, *shape), np.float32)
        return np.stack(fields).reshape(*rows.shape, *fields[0].shape)

    def _decode(self, row: int) -> NDArray[np.float32]:
        field = self._fields[row]
        message = self._file.read(int(field["offset"]), int(field["length"]))
        return decode(single_field(message, int(field["part"])), self._grid)


def _outer(array: NDArray[Any], key: tuple[Any, ...]) -> NDArray[Any]:
    """Index each dimension of an array on its own."""
    for axis in reversed(range(len(key))):
        array = array[(slice(None),) * axis + (key[axis],)]
    return array


def _name(parameter: dict[str, Any]) -> str:
    for key in ("cfVarName", "shortName"):
        if parameter[key] not in ("unknown", "~", ""):
            return str(parameter[key])
    return f"parameter_{parameter['code']}"


def _coordinates_key(cube: Cube) -> tuple[Any, ...]:
    coords = [(k, dims, values.tobytes()) for k, (dims, values) in cube.coords.items()]
    return (cube.grid, cube.dims, *coords)


def _dataset(index: GribIndex, file: MessageFile, members: dict[str, Cube]) -> xr.Dataset:
    """Return a data set of arrays with the same coordinates."""
    cube = next(iter(members.values()))
    grid = index.grids[cube.grid]
    coords: dict[str, Any] = {
        name: (dims, values, _coordinate_attributes(name))
        for name, (dims, values) in cube.coords.items()
    }
    horizontal: tuple[str, ...] = ("values",)
    if "latitudes" in grid:
        horizontal = ("latitude", "longitude")
        for name in horizontal:
            coords[name] = (name, np.array(grid[f"{name}s"]), _coordinate_attributes(name))
    elif len(grid["shape"]) == 2:
        horizontal = ("y", "x")
    variables = {}
    for name, one in members.items():
        array = indexing.LazilyIndexedArray(GribArray(index, file, one))
        attrs, encoding = _attributes(index, one), _encoding(index, one)
        variables[name] = xr.Variable((*one.dims, *horizontal), array, attrs, encoding)
    parameter = index.parameters[cube.parameter]
    attrs = {"GRIB_edition": parameter["edition"], "GRIB_centre": parameter["centre"]}
    dataset = xr.Dataset(variables, coords, attrs)
    dataset.set_close(file.close)
    return dataset


def _coordinate_attributes(name: str) -> dict[str, str]:
    other = {"units": "1", "long_name": f"original GRIB coordinate for key: level({name})"}
    return dict(_COORDINATES.get(name, other))


def _attributes(index: GribIndex, cube: Cube) -> dict[str, Any]:
    """Return the attributes of a variable, under the names of cfgrib."""
    parameter = index.parameters[cube.parameter]
    attrs = {
        f"GRIB_{key}": parameter[key]
        for key in ("paramId", "shortName", "name", "units", "cfName", "cfVarName", "stepType")
    }
    fields = index.fields[cube.rows.ravel()]
    attrs["GRIB_typeOfLevel"] = cube.level_type
    attrs["GRIB_gridType"] = index.grids[cube.grid]["gridType"]
    kinds = [index.data_types[k] for k in np.unique(fields["data_type"])]
    attrs["GRIB_dataType"] = " ".join(kinds)
    names = {"long_name": "name", "units": "units", "standard_name": "cfName"}
    attrs |= {k: parameter[v] for k, v in names.items() if parameter[v] not in ("unknown", "~")}
    if parameter["stepType"] != "instant":
        attrs |= _interval(fields)
    return attrs


def _interval(fields: NDArray[Any]) -> dict[str, str]:
    """Return the interval over which values are accumulated or averaged, if it is of one kind."""
    starts, lengths = np.unique(fields["start"]), np.unique(fields["end"] - fields["start"])
    attrs = {}
    if len(starts) == len(lengths) == 1:
        attrs["GRIB_stepRange"] = f"{starts[0]:g}-{starts[0] + lengths[0]:g}"
    if len(lengths) == 1:
        attrs["accumulation"] = f"{lengths[0]:g}h"
    elif len(starts) == 1 and starts[0] == 0:
        attrs["accumulation"] = "forecast"
    return attrs


def _encoding(index: GribIndex, cube: Cube) -> dict[str, Any]:
    """Return packing and chunks: each field is decoded as a whole."""
    bits = index.fields["bits"][cube.rows.ravel()]
    grid = index.grids[cube.grid]
    return {
        "packing": index.parameters[cube.parameter]["packingType"],
        "bits_per_value": int(bits.max()),
        "chunksizes": (*(1 for _ in cube.dims), *grid["shape"]),
    }
