"""A store's arrays: opened, read, and written with their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from configs import layout
from data_prep.store.damage import damage_named, refuse_missing_chunks

CHECKSUM = Crc32cCodec()
"""Last codec of every array: without one, most damaged chunks are read without an error."""


def open_store(path: str | Path) -> zarr.Group:
    """Open a store for reading.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: if it is no store, one of another format version, or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"store {path} does not exist; make one with `forecast data`")
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
        raise ValueError(f"{path} is no store; make one with `forecast data`")
    if version != layout.STORE_VERSION:
        raise ValueError(
            f"store {path} has format version {version}, expected {layout.STORE_VERSION}; make it "
            "again with `forecast data`"
        )
    return group


def put(
    group: zarr.Group, name: str, dims: tuple[str, ...], values: Any, **attributes: Any
) -> None:
    """Write a small array with its dimension names and attributes, over an older one."""
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
    """An array of a store."""
    found = group[name]
    assert isinstance(found, zarr.Array)
    return found


def strings(group: zarr.Group, name: str) -> list[str]:
    """A text array of a store."""
    return [str(value) for value in np.asarray(array(group, name)[...])]


def times(group: zarr.Group) -> NDArray[np.datetime64]:
    """The valid times of a store, datetime64[s] (n,)."""
    return np.asarray(array(group, layout.TIME)[...]).astype("datetime64[s]")


def channel_attributes(group: zarr.Group, dim: str, index: int) -> dict[str, Any]:
    """CF attributes of a channel, or of a static field; empty ones are left out.

    Args:
        group: the store.
        dim: `layout.CHANNEL` or `layout.CHANNEL_STATIC`.
        index: which one.
    """
    values = {key: strings(group, f"{dim}_{key}")[index] for key in layout.STATIC_ATTRIBUTES}
    return {key: value for key, value in values.items() if value}
