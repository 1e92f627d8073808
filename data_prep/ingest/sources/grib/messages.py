"""Messages of a GRIB file: reading from disk, division into single fields, decoding."""

from __future__ import annotations

# Imported before eccodes: its wheel contains an SQLite library that is too old for MLflow.
import sqlite3  # noqa: F401
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Buffer = bytes | memoryview

_INDICATOR_BYTES = 16  # length of section 0 of GRIB 2
_SAME_BITMAP = 254
_MISSING = 3.0e38
_LIBRARY_LOCK = threading.RLock()


class MessageFile:
    """File whose messages several threads read.

    The file is opened at the first reading, and again if it is read after it was closed.
    """

    def __init__(self, path: Path) -> None:
        """Start without an open file.

        Args:
            path: GRIB file.
        """
        self._path = path
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> MessageFile:
        """Return the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def read(self, offset: int, length: int) -> bytes:
        """Return some bytes of the file.

        Raises:
            EOFError: if the file ends before them.
        """
        with self._lock:
            if self._file is None:
                self._file = self._path.open("rb")
            self._file.seek(offset)
            data = self._file.read(length)
        if len(data) < length:
            raise EOFError(f"it ends at byte {offset + len(data)} of {offset + length}")
        return data

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


def field_sections(message: Buffer) -> Iterator[dict[int, Buffer]]:
    """Yield the sections of each field in a GRIB 2 message, which may hold several.

    Args:
        message: GRIB 2 message.
    """
    current: dict[int, Buffer] = {}
    for number, start, end in _sections(message):
        section = message[start:end]
        if number != 6 or section[5] != _SAME_BITMAP:
            current[number] = section
        if number == 7:
            yield dict(current)


def single_field(message: bytes, part: int) -> bytes:
    """Return a message with one of the fields of a message.

    Args:
        message: GRIB message.
        part: Position of the field in the message, from 0.
    """
    if message[7] != 2:
        return message
    sections = next(islice(field_sections(message), part, None))
    body = b"".join(sections[number] for number in sorted(sections))
    length = _INDICATOR_BYTES + len(body) + 4
    return message[:8] + length.to_bytes(8, "big") + body + b"7777"


@contextmanager
def opened(message: bytes) -> Iterator[int]:
    """Hold eccodes' handle of a message.

    Args:
        message: Message with one field.
    """
    import eccodes

    with _exclusive():
        handle = eccodes.codes_new_from_message(message)
        try:
            yield handle
        finally:
            eccodes.codes_release(handle)


def decode(message: bytes, grid: dict[str, Any]) -> NDArray[np.float32]:
    """Return the values of a field in the order of its rows and columns.

    Args:
        message: Message with one field.
        grid: Description of its grid, from `index`.

    Returns:
        Values of the shape of the grid, NaN where missing.
    """
    import eccodes

    with opened(message) as handle:
        eccodes.codes_set(handle, "missingValue", _MISSING)
        values = eccodes.codes_get_values(handle)
    out = np.where(values >= _MISSING, np.nan, values).astype(np.float32)
    shape = tuple(grid["shape"])
    if len(shape) == 1:
        return out
    if grid["columns_first"]:
        field = out.reshape(shape[::-1]).T
        if grid["alternating"]:
            field[:, 1::2] = field[::-1, 1::2].copy()
    else:
        field = out.reshape(shape)
        if grid["alternating"]:
            field[1::2] = field[1::2, ::-1].copy()
    return field


def _sections(message: Buffer) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each section of a GRIB 2 message after section 0."""
    start = _INDICATOR_BYTES
    while start + 5 <= len(message) and message[start : start + 4] != b"7777":
        length = int.from_bytes(message[start : start + 4], "big")
        if length < 5:
            raise ValueError(f"a section of a GRIB message has {length} bytes")
        yield message[start + 4], start, start + length
        start += length


def _exclusive() -> Any:
    """Return a lock if the library does not allow several threads."""
    return nullcontext() if _allows_threads() else _LIBRARY_LOCK


@cache
def _allows_threads() -> bool:
    import eccodes

    return "ECCODES_THREADS" in eccodes.codes_get_features().split()
