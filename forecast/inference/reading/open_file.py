"""Opening of the files that our commands write."""

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


def open_output(path: Path, what: str, command: str) -> xr.Dataset:
    """Open a netCDF file or zarr group that one of our commands wrote.

    Args:
        path: `.nc`, or a folder.
        what: what it should be, for the error message.
        command: the command that makes it.

    Raises:
        FileNotFoundError: if there is nothing.
        ValueError: if it is neither netCDF nor zarr.
    """
    if not path.exists():
        raise FileNotFoundError(f"no {what} at {path}; make one with `{command}`")
    try:
        if path.is_dir():
            return xr.open_zarr(path, consolidated=False, chunks=None)
        return open_netcdf(path)
    except Exception as error:  # the libraries raise many kinds for files that are not theirs
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{path} is neither netCDF nor zarr ({reason}); expected a {what} made with `{command}`"
        ) from error
