"""Index of a GRIB file: kept between commands, never beside the data, and without holes."""

import sqlite3  # noqa: F401
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.ingest.sources import Sources
from data_prep.ingest.sources.grib import index as grib_index
from data_prep.ingest.sources.grib.cubes import cubes
from data_prep.ingest.sources.grib.index import GribIndex
from tests.data_prep.ingest.sources.samples import field

pytest.importorskip("eccodes")
MakeGrib = Callable[..., Path]
MESSAGES = [{"shortName": "2t", "endStep": step} for step in (0, 6, 12)]
Place = tuple[int, int, int, int]


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Paths that were scanned."""
    scanned: list[Path] = []
    scan = grib_index.scan

    def counted(path: Path) -> GribIndex:
        scanned.append(path)
        return scan(path)

    monkeypatch.setattr(grib_index, "scan", counted)
    return scanned


def read(path: Path) -> np.ndarray:
    with Sources([path]) as sources:
        return sources[path][0].t2m.values


def test_a_second_command_does_not_scan_again(make_grib: MakeGrib, scans: list[Path]) -> None:
    path = make_grib(MESSAGES)
    np.testing.assert_array_equal(read(path), read(path))
    assert scans == [path]


def test_a_file_that_changed_is_scanned_again(make_grib: MakeGrib, scans: list[Path]) -> None:
    assert len(read(make_grib(MESSAGES))) == 3
    assert len(read(make_grib(MESSAGES[:2]))) == 2
    assert len(scans) == 2


def test_nothing_is_written_beside_the_data(
    make_grib: MakeGrib, tmp_path: Path, cache_folder: Path
) -> None:
    path = make_grib(MESSAGES)
    read(path)
    assert list(tmp_path.iterdir()) == [path]
    assert len(list((cache_folder / "sphere-forecast/grib").iterdir())) == 1


def test_without_eccodes_the_error_names_what_to_install(
    make_grib: MakeGrib, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_grib(MESSAGES)
    monkeypatch.setitem(sys.modules, "eccodes", None)
    with pytest.raises(ValueError, match=r"needs the package eccodes; .*sphere-forecast\[grib\]"):
        read(path)


def test_a_damaged_index_is_made_again(
    make_grib: MakeGrib, cache_folder: Path, scans: list[Path]
) -> None:
    path = make_grib(MESSAGES)
    expected = read(path)
    (index,) = (cache_folder / "sphere-forecast/grib").iterdir()
    index.write_bytes(index.read_bytes()[:100])
    np.testing.assert_array_equal(read(path), expected)
    assert len(scans) == 2


def test_a_cache_folder_that_cannot_be_written_is_no_error(
    make_grib: MakeGrib, cache_folder: Path
) -> None:
    (cache_folder / "sphere-forecast").write_text("a file where the folder should be")
    np.testing.assert_allclose(read(make_grib(MESSAGES))[1], field(1), atol=1e-6)


PLACES = st.tuples(
    st.integers(0, 2), st.integers(0, 3), st.sampled_from([0, 6, 12]), st.sampled_from([500, 850])
)


def index_of(places: list[Place]) -> GribIndex:
    """Return an index with one field for each member, time, step and level."""
    fields = np.zeros(len(places), grib_index._COLUMNS)
    for column, values in zip(("number", "time", "end", "level"), zip(*places, strict=True),
                              strict=True):  # fmt: skip
        fields[column] = values
    fields["time"] *= 86400
    fields["start"] = fields["end"]
    parameter = {
        "code": "130", "shortName": "t", "cfVarName": "t", "name": "Temperature", "units": "K",
        "stepType": "instant", "typeOfLevel": "isobaricInhPa",
    }  # fmt: skip
    return GribIndex(fields, [parameter], [{}], ["an"])


@settings(deadline=None, max_examples=200)
@given(st.lists(PLACES, min_size=1, max_size=60))
def test_every_field_is_in_one_array_at_its_place(places: list[Place]) -> None:
    index = index_of(places)
    found = cubes(index)
    rows = np.concatenate([cube.rows.ravel() for cube in found])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(places)))
    columns = {"number": "number", "time": "time", "step": "end", "isobaricInhPa": "level"}
    for cube in found:
        sizes = dict(zip(cube.dims, cube.rows.shape, strict=True))
        for name, column in columns.items():
            dims, values = cube.coords[name]
            aligned = values.reshape([n if d in dims else 1 for d, n in sizes.items()])
            expected = np.broadcast_to(aligned, cube.rows.shape)
            np.testing.assert_array_equal(index.fields[column][cube.rows], expected)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(0, 48), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(1, 1000), min_size=1, max_size=4, unique=True),
    st.randoms(use_true_random=False),
)
def test_a_full_product_is_one_array_in_any_order(
    numbers: list[int], times: list[int], steps: list[int], levels: list[int], random: object
) -> None:
    places = [(n, t, s, p) for n in numbers for t in times for s in steps for p in levels]
    random.shuffle(places)  # type: ignore[attr-defined]
    (cube,) = cubes(index_of(places))
    assert cube.rows.size == len(places)


def test_a_missing_level_does_not_divide_the_other_levels() -> None:
    places = [(0, t, 0, p) for t in range(5) for p in (500, 850, 1000)]
    places.remove((0, 2, 0, 850))
    found = {
        tuple(np.atleast_1d(cube.coords["isobaricInhPa"][1])): cube.rows.shape
        for cube in cubes(index_of(places))
    }
    assert found == {(1000.0, 500.0): (5, 2), (850.0,): (4,)}


def test_forecasts_of_unequal_length_are_records_along_the_valid_time() -> None:
    places = [(0, 0, s, 500) for s in (0, 6, 12)] + [(0, 1, s, 500) for s in (0, 6)]
    (cube,) = cubes(index_of(places))
    assert cube.dims == ("valid_time",)
    hours = cube.coords["valid_time"][1] // 3600
    assert hours.tolist() == [0, 6, 12, 24, 30]


def test_a_large_index_is_divided_in_seconds() -> None:
    index = index_of([(0, t, 0, p) for t in range(3000) for p in range(1, 38)])
    (cube,) = cubes(index)
    assert cube.rows.shape == (3000, 37)
