"""Data sets of netCDF files and of their groups."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import netCDF4
import xarray as xr
from xarray.backends import CachingFileManager, NetCDF4DataStore

from configs.netcdf_lock import NETCDF_LOCK
from data_prep.ingest.sources.classic_netcdf import check_complete
from data_prep.ingest.sources.coordinates import has_fields
from data_prep.ingest.sources.well import is_well, open_well


def open_netcdf(path: Path) -> list[xr.Dataset]:
    """Open a netCDF file without decoding its times.

    Args:
        path: netCDF 3, netCDF 4 or HDF5 file.

    Returns:
        The data set of the root, and one for each further group that holds fields. A group also
        gets the coordinates of the groups above it. Packed values are unpacked when they are read.

    Raises:
        ValueError: if the file is truncated.
    """
    check_complete(path)
    with NETCDF_LOCK:
        manager = CachingFileManager[Any](netCDF4.Dataset, str(path), mode="r", lock=NETCDF_LOCK)
        with manager.acquire_context() as root:
            well = is_well(root)
            groups = list(_groups(root))
            if well:
                groups = [name for name in ("/t0_fields", "/t1_fields") if name in groups]
        opened = {name: _open_group(manager, name) for name in groups}
        if well:
            with manager.acquire_context() as root:
                datasets = open_well(root, opened)
    if not well:
        complete = {name: _with_parents(name, opened) for name in opened}
        datasets = [ds for name, ds in complete.items() if name == "/" or has_fields(ds)]
    for dataset in datasets:
        dataset.set_close(manager.close)
    return datasets


def _groups(group: netCDF4.Dataset) -> Iterator[str]:
    yield group.path
    for child in group.groups.values():
        yield from _groups(child)


def _open_group(manager: CachingFileManager, name: str) -> xr.Dataset:
    store = NetCDF4DataStore(manager, group=name, lock=NETCDF_LOCK)
    with warnings.catch_warnings():
        # For instance a fill value outside the range of a packed variable: harmless.
        warnings.simplefilter("ignore", xr.SerializationWarning)
        return xr.open_dataset(store, engine="store", decode_times=False, chunks=None, cache=False)


def _with_parents(name: str, opened: dict[str, xr.Dataset]) -> xr.Dataset:
    """Return the data set of a group with the coordinates of the groups above it."""
    dataset = opened[name]
    while name != "/":
        name = name.rpartition("/")[0] or "/"
        parent = opened[name]
        inherited = {
            key: variable
            for key, variable in parent.variables.items()
            if key not in dataset.variables
            and set(variable.dims) <= set(dataset.dims)
            and (key in parent.coords or variable.ndim == 1)
            and all(parent.sizes[d] == dataset.sizes[d] for d in variable.dims)
        }
        dataset = dataset.assign_coords(inherited)
    return dataset
