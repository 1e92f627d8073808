"""Data sets of zarr groups."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr
import zarr
from zarr.abc.store import Store

from data_prep.ingest.sources.coordinates import has_fields

METADATA = ("zarr.json", ".zgroup", ".zmetadata")


def is_zarr(folder: Path) -> bool:
    """Return True for the folder of a zarr group."""
    return any((folder / name).is_file() for name in METADATA)


def open_zarr(store: Path | Store) -> list[xr.Dataset]:
    """Open a zarr group without reading data.

    Args:
        store: Folder, or store of zarr, of version 2 or 3.

    Returns:
        The data set of the root, and one for each further group that holds fields.
    """
    opened: Any = store  # xarray takes a store, which its annotation does not say
    with _quiet():
        root = zarr.open_group(store, mode="r")
        consolidated = root.metadata.consolidated_metadata is not None
        names = [""]
        # Without consolidated metadata, listing the members of a remote store can be slow.
        if consolidated or isinstance(store, Path):
            names += [name for name, item in root.members(None) if isinstance(item, zarr.Group)]
        datasets = [
            xr.open_dataset(
                opened,
                engine="zarr",
                group=name or None,
                decode_times=False,
                chunks=None,
                cache=False,
                consolidated=consolidated and not name,
                zarr_format=root.metadata.zarr_format,
            )
            for name in names
        ]
    return [ds for name, ds in zip(names, datasets, strict=True) if not name or has_fields(ds)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings that do not concern the values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)
        for text in (
            "Consolidated metadata is currently not part",
            "Object at .* is not recognized as a component of a Zarr hierarchy",
            "Numcodecs codecs are not in the Zarr version 3 specification",
            "The data type .* does not have a Zarr V3 specification",
        ):
            warnings.filterwarnings("ignore", message=text)
        yield
