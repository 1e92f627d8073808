"""Work of an ingestion: files are opened, and chunks decompressed, once or nearly so."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
from numcodecs.abc import Codec

from configs.load import load_config
from configs.schema import FilesData
from data_prep.ingest import run
from data_prep.ingest.run import ingest
from data_prep.ingest.sources import Sources
from tests.data_prep.ingest.archives import arco_era5, copernicus, ecmwf_grib, weatherbench2

HOUR = np.timedelta64(1, "h")
START = np.datetime64("2020-01-01T00", "h")


class CountingCodec(Codec):
    """Codec of an archive that counts how often each chunk is decompressed."""

    codec_id = "counting-blosc"
    decoded: Counter[int] = Counter()
    lock = threading.Lock()

    def encode(self, buf: Any) -> Any:
        return weatherbench2.BLOSC.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        packed = bytes(buf)
        with self.lock:
            self.decoded[hash(packed)] += 1
        return weatherbench2.BLOSC.decode(packed, out)

    def get_config(self) -> dict[str, str]:
        return {"id": self.codec_id}


numcodecs.register_codec(CountingCodec)


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Number of times that each source was opened by the ingestions of a test."""
    count: Counter[str] = Counter()

    class Counted(Sources):
        def close(self) -> None:
            count.update(self.opens)
            self.opens.clear()
            super().close()

    monkeypatch.setattr(run, "Sources", Counted)
    return count


def many_files(folder: Path, maker: Any, **options: Any) -> list[Path]:
    """Write the files of eight days, each into its own folder."""
    paths = []
    for day in range(8):
        times = START + 24 * HOUR * day + 6 * HOUR * np.arange(4)
        (folder / str(day)).mkdir()
        paths += maker(folder / str(day), times, nlat=19, **options)
    return paths


@pytest.mark.parametrize("archive", ["netCDF", "GRIB"])
def test_a_file_is_opened_twice_at_most_for_all_of_its_channels(
    archive: str, opens: dict[str, int], tmp_path: Path
) -> None:
    maker = copernicus.make if archive == "netCDF" else ecmwf_grib.make
    paths = many_files(tmp_path, maker)
    levels = [f"{name}{level}" for name in "ztuvq" for level in (250, 500, 700, 850)]
    config = FilesData(
        variables=(*levels, "t2m", "u10", "v10", "msl"), static=("orography", "land_fraction")
    )
    ingest(paths, config, tmp_path / "store")
    assert len(opens) == len(paths)
    assert max(opens.values()) <= 2


def test_a_chunk_of_all_levels_is_decompressed_once_for_all_of_its_channels(tmp_path: Path) -> None:
    times = START + 6 * HOUR * np.arange(84)
    paths = weatherbench2.make(
        tmp_path, times, levels=(250, 500, 700, 850), compressor=CountingCodec(), chunk=20
    )
    config = load_config("weatherbench2", ["data.times={}", "data.splits=null"])
    CountingCodec.decoded.clear()
    ingest(paths, config.data, tmp_path / "store")
    counts = CountingCodec.decoded
    chunks = 5 * 10  # of z, t, u, v, q, t2m, u10, v10, msl and tp
    assert chunks <= len(counts) <= chunks + 10  # with coordinates and fixed fields
    assert sum(counts.values()) <= 1.1 * len(counts)


def test_chunks_of_hours_that_are_not_chosen_are_not_decompressed(tmp_path: Path) -> None:
    times = START + HOUR * np.arange(48)
    paths = arco_era5.make(tmp_path, times, nlat=19, compressor=CountingCodec(), empty=0)
    config = FilesData(variables=("z500", "t500", "t850", "t2m"))
    CountingCodec.decoded.clear()
    ingest(paths, config, tmp_path / "store")
    counts = CountingCodec.decoded
    chunks = 8 * 3  # six-hourly, of z, t and t2m
    assert chunks <= len(counts) <= chunks + 10
    assert sum(counts.values()) <= 1.1 * len(counts)
