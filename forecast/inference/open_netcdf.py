"""Opening of netCDF files that are read once, from the first value to the last."""

from __future__ import annotations

from pathlib import Path

import xarray as xr
from xarray.backends import NetCDF4DataStore

from configs.netcdf_lock import NETCDF_LOCK

_CHUNK_CACHE_BYTES = 2**20
"""Size of the cache of chunks of each variable. The netCDF library would take 64 MiB for each."""


def open_netcdf(path: Path) -> xr.Dataset:
    """Open a netCDF file whose variables have a small cache, so that memory does not grow.

    Raises:
        OSError: if the file is not a netCDF file, or cannot be read.
    """
    opened = NetCDF4DataStore.open(str(path))
    try:
        library = opened.ds  # takes the lock itself
        with NETCDF_LOCK:
            for variable in library.variables.values():
                variable.set_var_chunk_cache(size=_CHUNK_CACHE_BYTES)
        return xr.open_dataset(opened)
    except BaseException:
        opened.close()
        raise
