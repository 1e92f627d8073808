"""Export of a store to a CF netCDF file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import zarr

from configs import layout
from configs.netcdf_lock import NETCDF_LOCK
from configs.time.calendar import EPOCH, SECOND
from data_prep.store.arrays import array, channel_attributes, open_store, strings, time_step, times
from data_prep.store.damage import damage_named
from data_prep.store.outputs import check_output, written_beside

_SPLIT_CODES = ("", *layout.SPLITS)


def export_netcdf(
    path: str | Path,
    out: str | Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write a store as CF-1.8 netCDF4, with one variable for each channel.

    States are copied one at a time.

    Args:
        path: Path of the store.
        out: Path of the file, by convention `*.nc`.
        progress: Callback with the numbers of states written and of all states.

    Returns:
        Path of the file.

    Raises:
        FileExistsError: if `out` exists.
        ValueError: if the store is damaged.
    """
    path = Path(path)
    group = open_store(path)
    out = check_output(out)
    with (
        written_beside(out) as scratch,
        damage_named(path),
        NETCDF_LOCK,
        netCDF4.Dataset(scratch, "w", format="NETCDF4") as file,
    ):
        _write(file, group, path, progress)
    return out


def _write(
    file: netCDF4.Dataset, group: zarr.Group, path: Path, progress: Callable[[int, int], None]
) -> None:
    """Write the whole file in one pass over the fields."""
    keys = ("Conventions", "title", "source", "history", layout.TIME_STEP, layout.PROVENANCE)
    file.setncatts({key: group.attrs[key] for key in keys})
    fields = array(group, layout.FIELDS)
    dims = [layout.TIME, layout.LATITUDE, layout.LONGITUDE]
    sizes = [fields.shape[-4], *fields.shape[-2:]]
    if layout.TRAJECTORY in group:
        # Other tools require time as the first dimension.
        dims.insert(1, layout.TRAJECTORY)
        sizes.insert(1, fields.shape[0])
    for dim, size in zip(dims, sizes, strict=True):
        file.createDimension(dim, size)
    _write_coordinates(file, group)
    names = strings(group, layout.CHANNEL)
    chunks = [1] * (len(dims) - 2) + sizes[-2:]
    for c, name in enumerate(names):
        attributes = channel_attributes(group, layout.CHANNEL, c)
        if level := _level(attributes, name):
            attributes["coordinates"] = _write_level(file, level)
        _create(file, name, dims, attributes, chunks)
    if layout.STATIC in group:
        static = np.asarray(array(group, layout.STATIC)[...])
        for c, name in enumerate(strings(group, layout.CHANNEL_STATIC)):
            attributes = channel_attributes(group, layout.CHANNEL_STATIC, c)
            _create(file, name, dims[-2:], attributes, sizes[-2:])[...] = static[c]
    total = int(np.prod(fields.shape[:-3]))
    for done, index in enumerate(np.ndindex(*fields.shape[:-3]), start=1):
        with damage_named(path, index):
            state = np.asarray(fields[index])  # (c, h, w)
        for c, name in enumerate(names):
            file[name][index[::-1]] = state[c]
        progress(done, total)


def _create(
    file: netCDF4.Dataset, name: str, dims: list[str], attributes: dict[str, Any], chunks: list[int]
) -> netCDF4.Variable:
    variable = file.createVariable(
        name, "f4", dims, fill_value=np.float32(np.nan), compression="zlib", complevel=1,
        chunksizes=chunks,
    )  # fmt: skip
    variable.setncatts(attributes)
    return variable


def _write_coordinates(file: netCDF4.Dataset, group: zarr.Group) -> None:
    def put(name: str, dtype: Any, dims: tuple[str, ...], values: Any, **attributes: Any) -> None:
        variable = file.createVariable(name, dtype, dims)
        variable.setncatts(attributes)
        variable[...] = values

    for name in (layout.LATITUDE, layout.LONGITUDE):
        source = array(group, name)
        put(name, "f8", (name,), source[...], **dict(source.attrs))
    calendar = time_step(group).calendar
    seconds = calendar.elapsed(times(group)) // SECOND
    # CF-1.8 has no 64-bit integers; float64 holds these numbers exactly.
    unit, length = ("hours", 3600) if (seconds % 3600 == 0).all() else ("seconds", 1)
    put(layout.TIME, "f8", (layout.TIME,), seconds / length, standard_name="time", axis="T",
        long_name="Valid time", units=f"{unit} since {EPOCH} 00:00:00",
        calendar=calendar.name)  # fmt: skip
    along = layout.TRAJECTORY if layout.TRAJECTORY in group else layout.TIME
    codes = [_SPLIT_CODES.index(name) for name in strings(group, layout.SPLIT)]
    put(layout.SPLIT, "i1", (along,), codes, long_name="Split that it belongs to",
        flag_values=np.arange(len(_SPLIT_CODES), dtype="i1"),
        flag_meanings=" ".join(("none", *layout.SPLITS)))  # fmt: skip
    if along == layout.TRAJECTORY:
        n = len(codes)
        put(along, "i4", (along,), np.arange(n), long_name="Trajectory")
        cases = np.asarray(strings(group, layout.CASE)).astype(object)
        put(layout.CASE, str, (along,), cases, long_name="Case of the solver")
        seeds = np.asarray(array(group, layout.SEED)[...]).astype(str).astype(object)
        put(layout.SEED, str, (along,), seeds, long_name="Seed of the initial state")


def _write_level(file: netCDF4.Dataset, level: int) -> str:
    """Write a scalar coordinate for a pressure level, hPa, and return its name."""
    name = f"pressure_{level}"
    if name not in file.variables:
        variable = file.createVariable(name, "f8", ())
        variable.setncatts({"standard_name": "air_pressure", "long_name": "Pressure",
                            "units": "hPa", "positive": "down", "axis": "Z"})  # fmt: skip
        variable[...] = level
    return name


def _level(attributes: dict[str, Any], name: str) -> int | None:
    """Return the pressure of a channel on a pressure level, hPa; None for other channels."""
    at = re.search(r" at (\d+) hPa$", attributes["long_name"])
    return int(at[1]) if at is not None and name.endswith(at[1]) else None
