"""Where an output may be written, and what is said if it cannot be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

_EFFECTIVE = os.access in os.supports_effective_ids


def check_output(path: str | Path, suffixes: Sequence[str]) -> Path:
    """Refuse an output path that cannot be written.

    Args:
        path: where the output is to go.
        suffixes: those that are understood.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix.
        FileExistsError: if it is there.
        FileNotFoundError: if its folder is not.
        PermissionError: if its folder cannot be written to.
    """
    path = Path(path)
    if path.suffix not in suffixes:
        raise ValueError(
            f"output {path} ends in {path.suffix or 'no suffix'!r}; "
            f"expected {' or '.join(suffixes)}"
        )
    if path.exists():
        raise FileExistsError(f"output {path} exists; remove it or choose another path")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder of output {path} does not exist; make it first")
    if not os.access(path.absolute().parent, os.W_OK, effective_ids=_EFFECTIVE):
        raise PermissionError(
            f"the folder of output {path} cannot be written to; choose another folder"
        )
    return path


def remove(path: Path) -> None:
    """Delete a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def cannot_write(path: Path, error: Exception) -> OSError:
    """An error of the system or a library, which seldom says all, as one with a way out.

    Args:
        path: what was being written.
        error: what came of it.
    """
    folder = next(p for p in path.absolute().parents if p.is_dir())
    reason = getattr(error, "strerror", None) or str(error)
    free = shutil.disk_usage(folder).free
    return OSError(
        f"cannot write {path} ({reason}; {free / 1e6:.0f} MB are free there); make room or choose "
        "another folder"
    )
