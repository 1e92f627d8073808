"""Damage to a store on disk: errors for missing chunks, and errors that name a damaged file.

zarr reads a missing chunk as its fill value. The errors of zarr and its codecs do not name a
damaged file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import layout

if TYPE_CHECKING:
    import zarr

Where = tuple[int | slice | list[int], ...]
"""Index of the first dimensions of an array."""

_WAY_OUT = "copy the store again, or make it again with `forecast data`"
_NEVER_EMPTY = frozenset(
    {
        layout.CHANNEL,
        layout.LATITUDE,
        layout.LONGITUDE,
        layout.MASK,
        layout.STATIC,
        layout.MEAN,
        layout.STD,
        layout.CLIMATOLOGY,
        layout.CLIMATOLOGY_STD,
        layout.LARGEST_POWER,
        layout.CLIMATOLOGY_LARGEST_POWER,
    }
)
"""Arrays, other than the fields, that have a file for every chunk. zarr writes no file for a chunk
that holds only the fill value; these arrays hold other values."""


@contextmanager
def damage_named(store: Path, fields: Where | None = None) -> Iterator[None]:
    """Replace an error raised while reading a store by one that names the damaged file.

    Args:
        store: Path of the store.
        fields: Index of the fields that are read; None if only other arrays are read.

    Raises:
        ValueError: if a file is damaged. Errors with another cause are not replaced.
    """
    try:
        yield
    except Exception as error:  # zarr and its codecs raise many kinds
        file = _damaged_file(store, fields)
        if file is None:
            raise
        raise ValueError(f"{file} is damaged; {_WAY_OUT}") from error


def refuse_missing_chunks(store: Path) -> None:
    """Raise an error if a chunk of a store is missing.

    Raises:
        ValueError: if the file of a chunk is missing or empty; the message names it.
    """
    import zarr

    group = zarr.open_group(store, mode="r")
    for name, array in group.arrays():
        if name != layout.FIELDS and name not in _NEVER_EMPTY:
            continue
        for file, _ in _chunks(array, _solved(group) if name == layout.FIELDS else ()):
            if not file.is_file() or not file.stat().st_size:
                raise ValueError(f"{file} is missing or empty; {_WAY_OUT}")


def _solved(group: zarr.Group) -> Where:
    """Return the index of the fields with values; failed trajectories belong to no split."""
    if layout.TRAJECTORY not in group:
        return ()
    split: Any = group[layout.SPLIT]
    return ([i for i, name in enumerate(split[:]) if name],)


def _chunks(array: zarr.Array[Any], where: Where) -> Iterator[tuple[Path, tuple[slice, ...]]]:
    """Yield the files of an array, and the part of the array that each file holds.

    Args:
        array: Array in a local folder.
        where: Index of the wanted part; files outside it are left out.
    """
    store: Any = array.store
    sizes = array.shards or array.chunks
    places = []
    for dim, (length, size) in enumerate(zip(array.shape, sizes, strict=True)):
        index = where[dim] if dim < len(where) else slice(None)
        if isinstance(index, int):
            index = [index]
        chosen = range(length)[index] if isinstance(index, slice) else index
        places.append(sorted({i // size for i in chosen}))
    for place in product(*places):
        part = tuple(slice(i * n, (i + 1) * n) for i, n in zip(place, sizes, strict=True))
        yield store.root / array.path / array.metadata.encode_chunk_key(place), part


def _damaged_file(store: Path, fields: Where | None) -> Path | None:
    """Return the first file of a store that cannot be read; None if all can be read."""
    import zarr

    root = store / "zarr.json"
    if not root.is_file():
        return None
    if _fails(partial(zarr.open_group, store, mode="r")):
        return root
    for metadata in sorted(store.glob("*/zarr.json")):
        folder = metadata.parent
        if _fails(partial(zarr.open, folder, mode="r")):
            return metadata
        array = zarr.open(folder, mode="r")
        where = fields if folder.name == layout.FIELDS else ()
        if where is None or not isinstance(array, zarr.Array):
            continue
        for file, part in _chunks(array, where):
            if _fails(partial(array.__getitem__, part)):
                return file
    return None


def _fails(read: Callable[[], object]) -> bool:
    """Return True if a read raises an error other than one of memory or of the system."""
    try:
        read()
    except (MemoryError, OSError):
        raise
    except Exception:  # zarr and its codecs raise many kinds
        return True
    return False
