"""Fields of a local zarr group, read and written chunk by chunk.

The zarr library passes each chunk through several threads, which costs more than the decoding of a
chunk of 1 MiB. The files are those that the library writes, and reads.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import google_crc32c
import numcodecs
import numpy as np
from numpy.typing import NDArray

_METADATA = "zarr.json"
_CHECKSUM_BYTES = 4
_BLOSC_SIZE = slice(4, 8)
"""Bytes of the header of Blosc with the size of the content."""
_ENCODED = ("scale_factor", "add_offset", "missing_value", "_FillValue")
"""Attributes of values that are not the fields themselves."""

Index = tuple[int | slice, ...]


@dataclass(frozen=True)
class _Part:
    """Chunk that an index selects from.

    Attributes:
        key: Position of the chunk in the grid of chunks.
        inside: Selected part of the chunk.
        outside: Its place in the selection.
        whole: True if all values of the chunk are selected that are inside the array.
    """

    key: tuple[int, ...]
    inside: tuple[slice, ...]
    outside: tuple[slice, ...]
    whole: bool


class ChunkFiles:
    """Chunks of a float32 array with a checksum, and either no compression or that of Blosc.

    Chunks without a file are missing values (NaN). Threads may read at the same time.
    """

    def __init__(self, path: Path, metadata: Mapping[str, Any]) -> None:
        """Refer to an array; see `of`."""
        self._path = path
        self._shape: tuple[int, ...] = tuple(metadata["shape"])
        grid = metadata["chunk_grid"]["configuration"]
        self._chunk_shape: tuple[int, ...] = tuple(grid["chunk_shape"])
        compression = [c["configuration"] for c in metadata["codecs"] if c["name"] == "blosc"]
        self._blosc = _blosc(compression[0]) if compression else None
        self._separator: str = metadata["chunk_key_encoding"]["configuration"]["separator"]

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Return the chunks of the array in a folder; None if it is not of the described kind."""
        try:
            metadata = json.loads((path / _METADATA).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        codecs = [codec["name"] for codec in metadata.get("codecs", [])]
        encodings = [
            {"name": "default", "configuration": {"separator": separator}} for separator in "/."
        ]
        is_known = (
            metadata.get("zarr_format") == 3
            and metadata.get("data_type") == "float32"
            and metadata.get("fill_value") == "NaN"
            and metadata["chunk_grid"]["name"] == "regular"
            and metadata["chunk_key_encoding"] in encodings
            and not metadata.get("storage_transformers")
            and codecs in (["bytes", "crc32c"], ["bytes", "blosc", "crc32c"])
            and metadata["codecs"][0].get("configuration") == {"endian": "little"}
            and not any(name in metadata.get("attributes", {}) for name in _ENCODED)
        )
        return cls(path, metadata) if is_known else None

    def read(self, index: Index) -> NDArray[np.float32]:
        """Return the values at an index of the first dims; slices have a step of 1.

        Raises:
            ValueError: If a chunk is damaged.
        """
        spans = self._spans(index)
        found = np.empty([len(span) for span in spans], dtype=np.float32)
        buffer = np.empty(self._chunk_shape, dtype=np.float32)
        for part in self._parts(spans):
            chosen = found[part.outside]
            fits = chosen.shape == self._chunk_shape and chosen.flags.c_contiguous
            exists = self._decode(self._file(part.key), chosen if fits else buffer)
            if not exists:
                chosen[...] = np.nan
            elif not fits:
                chosen[...] = buffer[part.inside]
        return found[tuple(slice(None) if isinstance(i, slice) else 0 for i in index)]

    def write(self, index: Index, values: NDArray[Any]) -> None:
        """Write values at an index of the first dims; slices have a step of 1.

        Each file is replaced as a whole, so that a killed process leaves the values before or
        after.

        Raises:
            OSError: If a file cannot be written.
            ValueError: If a chunk that is written in part is damaged.
        """
        spans = self._spans(index)
        values = values.reshape([len(span) for span in spans])
        for part in self._parts(spans):
            chosen = values[part.outside]
            if chosen.shape == self._chunk_shape:
                chunk = np.ascontiguousarray(chosen, dtype=np.float32)
            else:
                chunk = np.empty(self._chunk_shape, dtype=np.float32)
                if part.whole or not self._decode(self._file(part.key), chunk):
                    chunk[...] = np.nan
                chunk[part.inside] = chosen
            self._encode(self._file(part.key), chunk)

    def _spans(self, index: Index) -> list[range]:
        """Return the selected positions of each dim."""
        sizes = [range(size) for size in self._shape]
        chosen: Sequence[int | slice] = [*index, *[slice(None)] * (len(sizes) - len(index))]
        return [
            size[i] if isinstance(i, slice) else range(size[i], size[i] + 1)
            for size, i in zip(sizes, chosen, strict=True)
        ]

    def _parts(self, spans: list[range]) -> Iterator[_Part]:
        """Yield the chunks that a selection has values in."""
        of_dims = []
        for span, length, size in zip(spans, self._chunk_shape, self._shape, strict=True):
            of_dim = []
            for k in range(span.start // length, -(-span.stop // length) if len(span) else 0):
                first, stop = k * length, min((k + 1) * length, size)
                start, end = max(span.start, first), min(span.stop, stop)
                inside = slice(start - first, end - first)
                outside = slice(start - span.start, end - span.start)
                of_dim.append((k, inside, outside, (start, end) == (first, stop)))
            of_dims.append(of_dim)
        for chosen in itertools.product(*of_dims):
            key, inside, outside, whole = zip(*chosen, strict=True)
            yield _Part(key, inside, outside, all(whole))

    def _file(self, key: tuple[int, ...]) -> Path:
        return self._path / self._separator.join(("c", *map(str, key)))

    def _decode(self, file: Path, chunk: NDArray[np.float32]) -> bool:
        """Read a chunk; return False if there is none."""
        try:
            read = np.frombuffer(file.read_bytes(), dtype=np.uint8)
        except FileNotFoundError:
            return False
        content, checksum = read[:-_CHECKSUM_BYTES], read[-_CHECKSUM_BYTES:]
        if google_crc32c.value(content) != int.from_bytes(checksum.tobytes(), "little"):
            raise ValueError(f"the checksum of {file} does not match its content")
        size = len(content)
        if self._blosc is not None:
            size = int.from_bytes(content[_BLOSC_SIZE].tobytes(), "little")
        if size != chunk.nbytes:
            raise ValueError(f"{file} holds {size} bytes; expected {chunk.nbytes}")
        if self._blosc is None:
            chunk.reshape(-1)[...] = content.view("<f4")
        else:
            self._blosc.decode(content, chunk)
        return True

    def _encode(self, file: Path, chunk: NDArray[np.float32]) -> None:
        """Write a chunk; remove its file if all values are missing."""
        if all_missing(chunk):
            file.unlink(missing_ok=True)
            return
        little = chunk.astype("<f4", copy=False)
        content = little.tobytes() if self._blosc is None else self._blosc.encode(little)
        checksum = google_crc32c.value(content).to_bytes(_CHECKSUM_BYTES, "little")
        scratch = file.with_name(f"{file.name}.partial")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with scratch.open("wb") as target:
                target.write(content)
                target.write(checksum)
            scratch.replace(file)
        finally:
            scratch.unlink(missing_ok=True)


def all_missing(values: NDArray[np.floating]) -> bool:
    """Return True if all values are NaN; fast where the first one is not."""
    return bool(np.isnan(values.flat[0]) and np.isnan(values).all())


def _blosc(configuration: Mapping[str, Any]) -> numcodecs.Blosc:
    """Return the codec of a configuration in the metadata of an array."""
    shuffle = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}[configuration["shuffle"]]
    return numcodecs.Blosc(
        configuration["cname"],
        configuration["clevel"],
        shuffle,
        configuration["blocksize"],
        typesize=configuration["typesize"],
    )
