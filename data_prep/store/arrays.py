"""Arrays of a store: opening, reading, and writing with dimension names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from configs import layout
from configs.time.calendar import EPOCH, GREGORIAN, SECOND
from configs.time.step import TimeStep
from data_prep.store.damage import damage_named, refuse_missing_chunks

TIME_UNITS = f"seconds since {EPOCH}"
"""CF units of the times."""
CHECKSUM = Crc32cCodec()
"""Last codec of every array. Without a checksum, most damaged chunks are read without an error."""


def open_store(path: str | Path) -> zarr.Group:
    """Open a store for reading.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the path is not a store, has another format version, or is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"no store at {path}; make one with `forecast data swe`, `data solve` or `data ingest`"
        )
    with damage_named(path):
        group = _opened(path)
        refuse_missing_chunks(path)
    return group


def _opened(path: Path) -> zarr.Group:
    try:
        group = zarr.open_group(path, mode="r")
    except (OSError, ValueError, KeyError):
        group = None
    version = None if group is None else group.attrs.get(layout.FORMAT_VERSION)
    if group is None or layout.FIELDS not in group or version is None:
        raise ValueError(
            f"{path} is not a training store; make one with `forecast data swe` or `ingest`"
        )
    if version != layout.STORE_VERSION:
        raise ValueError(
            f"store {path} has format version {version}, this program reads "
            f"{layout.STORE_VERSION}; make the store again"
        )
    return group


def put(
    group: zarr.Group, name: str, dims: tuple[str, ...], values: Any, **attributes: Any
) -> None:
    """Write a small array with its dimension names and attributes; an older one is replaced."""
    values = np.asarray(values)
    text = values.dtype.kind in "UT"
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=str if text else values.dtype,
        compressors=(ZstdCodec(), CHECKSUM),
        dimension_names=dims,
        attributes=attributes,
        fill_value=np.nan if values.dtype.kind == "f" else None,
        overwrite=True,
    )
    array[...] = values.astype(object) if text else values


def array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return an array of a store, without reading it."""
    found = group[name]
    assert isinstance(found, zarr.Array)
    return found


def strings(group: zarr.Group, name: str) -> list[str]:
    """Return a text array of a store as a list."""
    return [str(value) for value in np.asarray(array(group, name)[...])]


def times(group: zarr.Group) -> NDArray[np.datetime64]:
    """Return the valid times of a store, datetime64[ns], shape (n,)."""
    time, calendar = array(group, layout.TIME), time_step(group).calendar
    numbers = np.asarray(time[...])
    if time.attrs.get("units", TIME_UNITS) == TIME_UNITS:
        return calendar.times(numbers.astype(np.int64) * SECOND)
    # In a copy that xarray wrote.
    coordinate = xr.Variable((layout.TIME,), numbers, dict(time.attrs))
    return calendar.from_dates(xr.conventions.decode_cf_variable(layout.TIME, coordinate).values)


def time_step(group: zarr.Group) -> TimeStep:
    """Return the interval between the times of a store, in their calendar."""
    calendar = str(array(group, layout.TIME).attrs.get("calendar", GREGORIAN.name))
    return TimeStep.parse(str(group.attrs[layout.TIME_STEP]), calendar)


def consecutive(group: zarr.Group) -> NDArray[np.bool_]:
    """Return True for each time of a store whose successor is one step later, (n - 1,)."""
    return time_step(group).consecutive(times(group))


def channel_attributes(group: zarr.Group, dim: str, index: int) -> dict[str, Any]:
    """Return the CF attributes of a channel or static field, without the empty ones.

    Args:
        group: Store.
        dim: `layout.CHANNEL` or `layout.CHANNEL_STATIC`.
        index: Index of the channel or static field.
    """
    values = {key: strings(group, f"{dim}_{key}")[index] for key in layout.STATIC_ATTRIBUTES}
    return {key: value for key, value in values.items() if value}
