"""Headers of the fields in a GRIB file, read without eccodes.

The names of a field cost eccodes a millisecond. Fields that differ only in their date share them,
so an index looks them up once for each distinct header.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from data_prep.ingest.sources.grib.messages import field_sections

_SEARCH_BYTES = 65536
_LARGE_GRIB1 = 0x800000


@dataclass(frozen=True)
class Header:
    """Place and header of a field.

    Attributes:
        offset: Offset of the message in the file, bytes.
        length: Length of the message, bytes.
        part: Position of the field in the message.
        product: Bytes that describe the field, without its date.
        grid: Bytes that describe its grid.
        time: Start of the forecast, seconds since 1970-01-01.
    """

    offset: int
    length: int
    part: int
    product: bytes
    grid: bytes
    time: int


def headers(data: memoryview) -> Iterator[Header]:
    """Yield the headers of all fields of a GRIB file.

    Args:
        data: Content of the file; only the headers are read from it.

    Raises:
        EOFError: if the file ends within a message.
        ValueError: if a message is damaged.
    """
    offset = _next_message(data, 0)
    while offset < len(data):
        edition = data[offset + 7] if offset + 8 <= len(data) else 0
        if edition not in (1, 2):
            raise ValueError(f"the message at byte {offset} is of edition {edition} of GRIB")
        length = _length(data, offset, edition)
        message = data[offset : offset + length]
        if len(message) < length:
            raise EOFError(f"it ends within the message at byte {offset}")
        if message[-4:] != b"7777":
            raise ValueError(f"the message at byte {offset} has no end")
        yield from (_grib2 if edition == 2 else _grib1)(message, offset)
        offset = _next_message(data, offset + length)


def _next_message(data: memoryview, start: int) -> int:
    """Return the offset of the next message, or the length of the file."""
    while start < len(data) and data[start : start + 4] != b"GRIB":
        found = bytes(data[start : start + _SEARCH_BYTES]).find(b"GRIB")
        if found >= 0:
            return start + found
        start += _SEARCH_BYTES - 3
    return min(start, len(data))


def _length(data: memoryview, offset: int, edition: int) -> int:
    if edition == 2:
        return _number(data[offset + 8 : offset + 16])
    length = _number(data[offset + 4 : offset + 7])
    if not length & _LARGE_GRIB1:
        return length
    # Messages of more than 8 MB count 120 bytes at a time, less the length of the last section.
    product = offset + 8
    at = product + _number(data[product : product + 3])
    for flag in (0x80, 0x40):
        if data[product + 7] & flag:
            at += _number(data[at : at + 3])
    padding = _number(data[at : at + 3])
    whole = (length & ~_LARGE_GRIB1) * 120
    return whole - padding + 4 if padding < 120 else length


def _grib2(message: memoryview, offset: int) -> Iterator[Header]:
    discipline = bytes(message[6:7])
    for part, sections in enumerate(field_sections(message)):
        identity = bytes(sections[1])
        date = identity[12:19]
        packing = bytes(sections[5][9:11]) + bytes(sections[5][19:20])
        product = b"2" + discipline + identity[:12] + identity[19:] + packing + bytes(sections[4])
        product += bytes(sections[2]) if 2 in sections else b""
        time = _seconds(int.from_bytes(date[:2], "big"), *date[2:])
        yield Header(offset, len(message), part, product, bytes(sections[3]), time)


def _grib1(message: memoryview, offset: int) -> Iterator[Header]:
    at = 8 + _number(message[8:11])
    product = bytearray(message[8:at])
    flags, date = product[7], bytes(product[12:17])
    year = (product[24] - 1) * 100 + date[0]
    for blank in (slice(12, 17), slice(24, 25), slice(26, 28)):  # date, century, decimal scale
        product[blank] = bytes(blank.stop - blank.start)
    grid = b""
    if flags & 0x80:
        end = at + _number(message[at : at + 3])
        grid, at = bytes(message[at:end]), end
    if flags & 0x40:
        at += _number(message[at : at + 3])
    packing = bytes([message[at + 3] >> 4, message[at + 10]])
    month, day, hour, minute = date[1:]
    time = _seconds(year, month, day, hour, minute)
    yield Header(offset, len(message), 0, b"1" + packing + bytes(product), grid, time)


def _seconds(year: int, month: int, day: int, hour: int, minute: int, second: int = 0) -> int:
    """Return a date in seconds since 1970-01-01; monthly means have day 0 in some archives."""
    return int(datetime(year, month, day or 1, hour, minute, second, tzinfo=UTC).timestamp())


def _number(data: memoryview) -> int:
    return int.from_bytes(data, "big")
