"""Output files and folders: checks of their paths, locks, and writing beside them before a rename.

An output appears whole or not at all: it is written to a scratch path in the same folder, which is
renamed when all is written.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of linux/fcntl.h and linux/fs.h
_EFFECTIVE = os.access in os.supports_effective_ids


def check_output(path: str | Path, suffixes: Sequence[str] = ()) -> Path:
    """Raise an error if an output cannot be written to a path.

    Args:
        path: Path of the output.
        suffixes: Suffixes that are allowed; any suffix if empty.

    Returns:
        The path.

    Raises:
        ValueError: if the suffix is not allowed.
        FileExistsError: if the path exists.
        FileNotFoundError: if its folder does not exist.
        PermissionError: if its folder is not writable.
    """
    path = Path(path)
    if suffixes and path.suffix not in suffixes:
        raise ValueError(
            f"output {path} ends in {path.suffix or 'no suffix'!r}; "
            f"expected {' or '.join(suffixes)}"
        )
    if os.path.lexists(path):
        raise FileExistsError(f"output {path} exists; remove it or choose another path")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder of output {path} does not exist; create it first")
    if not os.access(folder, os.W_OK, effective_ids=_EFFECTIVE):
        raise PermissionError(f"the folder of output {path} is not writable; choose another folder")
    return path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created if needed; the end of the process releases it.

    Raises:
        FileExistsError: if another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = (folder / ".lock").open("w")
    except OSError:
        with suppress(OSError):
            folder.rmdir()
        raise
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(
                f"another process is writing to {folder}; wait for it or choose another output path"
            ) from None
        yield


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Yield a free path in the folder of an output, and remove what is left there at the end."""
    scratch = path.with_name(f".{path.name}.partial-{os.getpid()}")
    remove(scratch)
    try:
        yield scratch
    finally:
        remove(scratch)


@contextmanager
def written_beside(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a scratch path beside an output, and rename it to the output at the end.

    Args:
        path: Path of the output.
        replace: True to replace a file that exists.

    Raises:
        FileExistsError: if the output exists at the end and `replace` is False.
    """
    with scratch_beside(path) as scratch:
        yield scratch
        if not replace:
            check_output(path)  # another process may have written it meanwhile
        scratch.replace(path)


def exchange(new: Path, path: Path) -> None:
    """Put a folder in the place of another one, which takes its place.

    One system call exchanges both where the file system can do that. Elsewhere the old folder is
    moved away first: for a moment there is none at the path.
    """
    if sys.platform == "linux":
        renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if renameat2 and not renameat2(
            _AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(path), _RENAME_EXCHANGE
        ):
            return
    with scratch_beside(path) as scratch:
        path.rename(scratch)
        new.rename(path)
        scratch.rename(new)


def link_or_copy(source: Path, target: Path) -> None:
    """Make a hard link to a file, or all files of a folder; copy where links do not exist."""
    if source.is_dir():
        target.mkdir(exist_ok=True)
        for part in source.iterdir():
            link_or_copy(part, target / part.name)
        return
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOSPC, errno.EDQUOT):
            raise
        shutil.copy2(source, target)


def remove_scratch(folder: Path) -> None:
    """Remove the scratch paths that killed processes left in a folder."""
    for scratch in folder.glob(".*.partial-*"):
        remove(scratch)


def remove(path: Path) -> None:
    """Delete a file or a folder if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def cannot_write(path: Path, error: Exception) -> OSError:
    """Return an error that names the output, the reason, the free space and the way out.

    Args:
        path: Path of the output.
        error: Error of the system or of a library.
    """
    folder = next(p for p in path.absolute().parents if p.is_dir())
    reason = getattr(error, "strerror", None) or str(error)
    free = shutil.disk_usage(folder).free
    return OSError(
        f"cannot write {path} ({reason}; {free / 1e6:.0f} MB are free there); make room or choose "
        "another folder"
    )
