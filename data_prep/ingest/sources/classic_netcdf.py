"""Check of the length of a classic netCDF file against its header.

The netCDF library reads zeros, without an error, from the missing part of a truncated classic file.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import BinaryIO

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_STREAMING = (2**32 - 1, 2**64 - 1)


def check_complete(path: Path) -> None:
    """Raise an error if a classic netCDF file is truncated.

    Args:
        path: File of any format; files of other formats are not checked.

    Raises:
        ValueError: if the file is shorter than its header requires.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        if magic[:3] != b"CDF" or magic[3] not in (1, 2, 5):
            return
        needed = _Header(file, version=magic[3]).needed()
    if path.stat().st_size < needed:
        raise ValueError(f"it has {path.stat().st_size} bytes but its header requires {needed}")


class _Header:
    """Header of a classic file, after the netCDF classic format specification."""

    def __init__(self, file: BinaryIO, version: int) -> None:
        self._file = file
        self._count = 8 if version == 5 else 4
        self._offset = 4 if version == 1 else 8

    def needed(self) -> int:
        """Return the number of bytes up to the end of the last value."""
        records = self._number(self._count)
        dims = [self._dimension() for _ in range(self._list())]
        self._attributes()
        fixed, recurring = 0, []
        for _ in range(self._list()):
            self._name()
            shape = [dims[self._number(self._count)] for _ in range(self._number(self._count))]
            self._attributes()
            size = _SIZES[self._number(4)]
            self._number(
                self._count
            )  # the size of the variable, which overflows for large variables
            begin = self._number(self._offset)
            if shape[:1] == [0]:
                recurring.append((begin, size * prod(shape[1:])))
            else:
                fixed = max(fixed, begin + size * prod(shape))
        if not recurring or records in (0, *_STREAMING):
            return fixed
        # Records are padded to four bytes, except for a single record variable.
        padded = [-(-size // 4) * 4 for _, size in recurring]
        record = sum(padded) if len(recurring) > 1 else recurring[0][1]
        ends = [begin + (records - 1) * record + size for begin, size in recurring]
        return max(fixed, *ends)

    def _dimension(self) -> int:
        self._name()
        return self._number(self._count)

    def _attributes(self) -> None:
        for _ in range(self._list()):
            self._name()
            size = _SIZES[self._number(4)]
            self._skip(size * self._number(self._count))

    def _list(self) -> int:
        """Read the tag of a list, which is not needed, and return its length."""
        self._number(4)
        return self._number(self._count)

    def _name(self) -> None:
        self._skip(self._number(self._count))

    def _skip(self, n: int) -> None:
        self._read(-(-n // 4) * 4)

    def _number(self, n: int) -> int:
        return int.from_bytes(self._read(n), "big")

    def _read(self, n: int) -> bytes:
        data = self._file.read(n)
        if len(data) < n:
            raise ValueError("it ends within its header")
        return data
