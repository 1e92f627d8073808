"""Output paths: refused where something is, locked while they are written."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


def refuse_existing(path: Path) -> None:
    """Check that an output can be written.

    Raises:
        FileExistsError: if there is anything at the path.
        FileNotFoundError: if the folder that should hold it does not exist.
    """
    if path.exists() or path.is_symlink():
        raise FileExistsError(f"{path} exists already; choose another path or remove it first")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"folder {path.absolute().parent} does not exist; create it first")


def lock(work: Path) -> int:
    """Lock a work folder until the handle is closed or the process ends.

    Returns:
        The handle, to be given to `os.close`.

    Raises:
        FileExistsError: if another process holds the lock.
    """
    work.mkdir(exist_ok=True)
    try:
        handle = os.open(work / "lock", os.O_CREAT | os.O_RDWR)
    except OSError:
        with contextlib.suppress(OSError):
            work.rmdir()
        raise
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise FileExistsError(
            f"another process is writing {work}; wait for it or choose another output path"
        ) from None
    return handle
