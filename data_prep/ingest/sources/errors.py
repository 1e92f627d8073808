"""Errors of files that cannot be read."""

from __future__ import annotations

import sys
from pathlib import Path


def read_errors() -> tuple[type[Exception], ...]:
    """Return the errors that the libraries raise for a damaged file or a broken connection."""
    errors: tuple[type[Exception], ...] = (OSError, ValueError, KeyError, EOFError, RuntimeError)
    for module, name in (("eccodes", "CodesInternalError"), ("aiohttp", "ClientError")):
        if module in sys.modules:
            errors = (*errors, getattr(sys.modules[module], name))
    return errors


def unreadable(path: str | Path, error: Exception) -> ValueError:
    """Return the error of a damaged file or a broken connection, with a message of one line."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    way_out = "the file may be damaged or incomplete, fetch it again"
    if "://" in str(path):
        way_out = "the source may be damaged, or the connection broken; try again, or copy it first"
    return ValueError(f"{path} cannot be read ({reason}); {way_out}")
