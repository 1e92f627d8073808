"""Lock of the netCDF library, which several threads must not call at once."""

from __future__ import annotations

import threading
from contextlib import ContextDecorator

from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK


class _LibraryLock(ContextDecorator):
    """Reentrant lock that also keeps out xarray, which has a lock of its own.

    The garbage collector may close files of xarray in any thread, such as that in which zarr reads
    and writes. A copy that is sent to another process stands for the lock of that process.
    """

    def __init__(self) -> None:
        self._lock, self._depth = threading.RLock(), 0

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self, blocking: bool = True) -> bool:
        """Acquire the lock; False if it is taken and the call must not wait."""
        if not self._lock.acquire(blocking):
            return False
        if not self._depth and not NETCDF4_PYTHON_LOCK.acquire(blocking):
            self._lock.release()
            return False
        self._depth += 1
        return True

    def release(self) -> None:
        """Release the lock."""
        self._depth -= 1
        if not self._depth:
            NETCDF4_PYTHON_LOCK.release()
        self._lock.release()

    def __reduce__(self) -> str:
        """Return the name of the lock in this module."""
        return "NETCDF_LOCK"


NETCDF_LOCK = _LibraryLock()
"""Lock to hold around all calls of netCDF4 that xarray does not make."""
