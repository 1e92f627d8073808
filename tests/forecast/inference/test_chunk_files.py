"""Chunks that are read and written as files, against the zarr library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from forecast.inference.chunk_files import ChunkFiles

SHAPE, CHUNKS = (3, 7, 6, 4), (1, 3, 2, 4)
BLOSC = BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")
CODECS = {"plain": (Crc32cCodec(),), "compressed": (BLOSC, Crc32cCodec())}
KINDS = {
    "plain": {"compressors": CODECS["plain"]},
    "compressed": {"compressors": CODECS["compressed"]},
    "one folder": {
        "compressors": CODECS["plain"],
        "chunk_key_encoding": {"name": "default", "separator": "."},
    },
}
INDICES = [
    (),
    (1,),
    (slice(1, 3), slice(2, 7)),
    (2, 5),
    (np.int64(-1), slice(-4, None)),
    (0, slice(3, 6), slice(2, 4)),
    (slice(None), slice(0, 0)),
]


def library_array(path: Path, compressors: object, **settings: object) -> zarr.Array:
    """Create an array of the library in a new folder."""
    return zarr.create_array(
        path,
        shape=SHAPE,
        chunks=CHUNKS,
        **{"dtype": "f4", "fill_value": float("nan"), "compressors": compressors} | settings,
    )


def values() -> np.ndarray:
    return np.random.default_rng(0).normal(280, 10, SHAPE).astype(np.float32)


def opened(path: Path) -> ChunkFiles:
    chunks = ChunkFiles.of(path)
    assert chunks is not None
    return chunks


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_library_writes_is_read_as_the_library_reads_it(tmp_path, kind, index):
    array = library_array(tmp_path / "a", **KINDS[kind])
    array[:2, :5] = values()[:2, :5]  # some chunks are missing, others in part
    found = opened(tmp_path / "a").read(index)
    expected = np.asarray(array[index or ...])
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_files_are_those_that_the_library_writes(tmp_path, kind, index):
    array = library_array(tmp_path / "a", **KINDS[kind])
    library_array(tmp_path / "b", **KINDS[kind])
    chunks, first = opened(tmp_path / "b"), values()
    for part, new in (((slice(0, 2),), first[:2]), (index, (first + 1)[index or ...])):
        array[part or ...] = new
        chunks.write(part, new)
    files = {p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()}
    assert files == {
        p.relative_to(tmp_path / "b") for p in (tmp_path / "b").rglob("*") if p.is_file()
    }
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_chunk_without_values_has_no_file(tmp_path):
    library_array(tmp_path / "a", CODECS["plain"])
    chunks, field = opened(tmp_path / "a"), values()
    chunks.write((), field)
    field[1, :3, :2] = np.nan
    field[2, 0, 0, 0] = np.nan
    chunks.write((), field)
    assert not (tmp_path / "a" / "c" / "1" / "0" / "0" / "0").exists()
    np.testing.assert_array_equal(chunks.read(()), field)


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("damage", ["bit", "truncated", "empty"])
def test_a_damaged_chunk_is_an_error(tmp_path, kind, damage):
    library_array(tmp_path / "a", CODECS[kind])
    chunks = opened(tmp_path / "a")
    chunks.write((), values())
    file = tmp_path / "a" / "c" / "1" / "1" / "0" / "0"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes({"bit": content, "truncated": content[:-5], "empty": b""}[damage])
    with pytest.raises(ValueError, match="checksum|holds 0 bytes; expected 96"):
        chunks.read((1,))
    np.testing.assert_array_equal(chunks.read((0,)), values()[0])


@pytest.mark.parametrize("kind", CODECS)
def test_a_chunk_of_another_size_is_an_error(tmp_path, kind):
    library_array(tmp_path / "a", CODECS[kind])
    zarr.create_array(
        tmp_path / "b",
        data=values(),
        chunks=(1, 6, 2, 4),
        compressors=CODECS[kind],
        fill_value=float("nan"),
    )
    there = tmp_path / "a" / "c" / "1" / "1" / "0" / "0"
    there.parent.mkdir(parents=True)
    there.write_bytes((tmp_path / "b" / "c" / "1" / "0" / "0" / "0").read_bytes())
    with pytest.raises(ValueError, match="192 bytes; expected 96"):
        opened(tmp_path / "a").read(())


def test_a_write_that_fails_leaves_the_chunk_before_it(tmp_path, monkeypatch):
    library_array(tmp_path / "a", CODECS["plain"])
    chunks = opened(tmp_path / "a")
    chunks.write((), values())

    def full(self: Path, target: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        chunks.write((), values() + 1)
    np.testing.assert_array_equal(chunks.read(()), values())
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    "settings",
    [
        {"compressors": (ZstdCodec(), Crc32cCodec())},
        {"compressors": None},
        {"dtype": "f8"},
        {"fill_value": 0.0},
        {"attributes": {"scale_factor": 2.0}},
        {"shards": (1, 6, 2, 4)},
        {"zarr_format": 2, "compressors": None},
        {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    ],
)
def test_other_arrays_are_left_to_the_library(tmp_path, settings):
    library_array(tmp_path / "a", **{"compressors": CODECS["plain"]} | settings)
    assert ChunkFiles.of(tmp_path / "a") is None
    assert ChunkFiles.of(tmp_path / "nothing") is None
