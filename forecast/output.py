"""Where an output may be written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path


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
    return path


def remove(path: Path) -> None:
    """Delete a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
