"""Sources: paths and patterns, number of openings, threads, fingerprints."""

import gc
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from configs.netcdf_lock import NETCDF_LOCK
from data_prep.ingest.sources import Sources, collection
from tests.data_prep.ingest.sources.samples import count_open, field


@pytest.fixture
def files(fields: xr.Dataset, tmp_path: Path) -> list[Path]:
    """Twelve netCDF files, each with other values."""
    paths = [tmp_path / f"{k:02d}.nc" for k in range(12)]
    for k, path in enumerate(paths):
        (fields + 10 * k).to_netcdf(path)
    return paths


def test_patterns_are_expanded_in_order_and_each_path_is_given_once(
    files: list[Path], tmp_path: Path
) -> None:
    words = [files[5], f"{tmp_path}/0?.nc", str(files[11]), f"file://{files[11]}"]
    expected = [files[5], *files[:5], *files[6:10], files[11]]
    assert Sources(words).paths == list(map(str, expected))


def test_a_pattern_without_a_match_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file matches .*/\*\.nc; check the pattern"):
        Sources([tmp_path / "*.nc"])


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="a.nc does not exist; check the path"):
        Sources([tmp_path / "a.nc"])


def test_a_name_with_brackets_is_a_file_if_there_is_one(files: list[Path]) -> None:
    path = files[0].rename(files[0].parent / "t[1].nc")
    assert Sources([path]).paths == [str(path)]


def test_a_folder_that_is_no_zarr_group_is_taken_as_its_files(
    files: list[Path], fields: xr.Dataset, tmp_path: Path
) -> None:
    fields.to_zarr(tmp_path / "a.zarr", zarr_format=2)
    (tmp_path / "notes.txt").write_text("not data")
    assert Sources([tmp_path]).paths == [*map(str, files), str(tmp_path / "a.zarr")]


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not data")
    with pytest.raises(ValueError, match="is a folder and no zarr group, and it holds no files"):
        Sources([tmp_path])


def test_every_file_is_opened_once_for_any_number_of_variables(files: list[Path]) -> None:
    with Sources(files) as sources:
        for _ in range(25):
            for path in sources.paths:
                sources[path][0].t2m[0].values  # noqa: B018
    assert set(sources.opens.values()) == {1}


def test_the_least_recently_used_source_is_closed(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "_most_open", lambda: 3)
    with Sources(files) as sources:
        first = sources[files[0]][0]
        for path in files:
            sources[path][0].t2m[0].values  # noqa: B018
        assert count_open(files) == 3
        np.testing.assert_allclose(first.t2m[1], field(1), atol=1e-6)  # opened again
        assert count_open(files) == 4
    del first
    gc.collect()
    assert count_open(files) == 0


@pytest.mark.parametrize("layout", ["NETCDF3_64BIT", "NETCDF4"])
def test_threads_that_open_and_read_agree_with_one_thread(
    layout: str, fields: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "_most_open", lambda: 4)
    paths = [tmp_path / f"{k}.nc" for k in range(8)]
    for k, path in enumerate(paths):
        (fields + 10 * k).to_netcdf(path, format=layout)
    work = np.random.default_rng(0).integers([0, 0], [8, 3], (400, 2))
    with Sources(paths) as sources, ThreadPoolExecutor(8) as pool:

        def read(item: np.ndarray) -> np.ndarray:
            return sources[paths[item[0]]][0].t2m[item[1]].values

        for (k, t), values in zip(work, pool.map(read, work), strict=True):
            np.testing.assert_allclose(values, field(t) + 10 * k, rtol=1e-6)


def test_the_lock_of_the_library_is_one_for_each_process() -> None:
    assert pickle.loads(pickle.dumps(NETCDF_LOCK)) is NETCDF_LOCK


def test_times_stay_undecoded_and_nothing_is_a_dask_array(files: list[Path]) -> None:
    with Sources(files) as sources:
        dataset = sources[files[0]][0]
        assert dataset.time.dtype.kind in "if"
        assert not dataset.chunks


def test_groups_with_fields_are_data_sets_with_the_coordinates_above_them(
    fields: xr.Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "groups.nc"
    fields.to_netcdf(path)
    with netCDF4.Dataset(path, "a") as root:
        group = root.createGroup("model").createGroup("surface")
        wind = group.createVariable("u10", "f4", ("time", "latitude", "longitude"))
        wind[:] = np.stack([field(k + 20) for k in range(3)])
        root.createGroup("history").createVariable("steps", "i4", ("time",))[:] = 1
    with Sources([path]) as sources:
        root_data, surface = sources[path]
        np.testing.assert_array_equal(surface.latitude, fields.latitude)
        assert surface.time.attrs["units"] == "hours since 2001-01-01"
        np.testing.assert_allclose(surface.u10[1], field(21), atol=1e-5)
        assert set(root_data.data_vars) == {"t2m"}


def test_packed_values_are_unpacked_and_packing_and_chunks_are_known(
    fields: xr.Dataset, tmp_path: Path
) -> None:
    packing = {"dtype": "i2", "scale_factor": 0.001, "add_offset": 1.0, "_FillValue": -32767}
    fields["t2m"][0, 0, 0] = np.nan
    fields.to_netcdf(
        tmp_path / "a.nc", encoding={"t2m": {**packing, "chunksizes": (1, 5, 8), "zlib": True}}
    )
    with Sources([tmp_path / "a.nc"]) as sources:
        array = sources.paths and sources[sources.paths[0]][0].t2m
        np.testing.assert_allclose(array, fields.t2m, atol=5.1e-4)
        assert array.encoding["chunksizes"] == (1, 5, 8)
        assert array.encoding["scale_factor"] == 0.001


def test_new_copernicus_layout_opens_as_it_is(fields: xr.Dataset, tmp_path: Path) -> None:
    data = fields.rename(time="valid_time").assign_coords(
        expver=("valid_time", np.array(["0001", "0001", "0005"], dtype=object)), number=0
    )
    data.to_netcdf(tmp_path / "a.nc")
    with Sources([tmp_path / "a.nc"]) as sources:
        dataset = sources[tmp_path / "a.nc"][0]
        assert dataset.expver.values.tolist() == ["0001", "0001", "0005"]
        assert dataset.number.ndim == 0
        assert dataset.valid_time.attrs["units"] == "hours since 2001-01-01"


@pytest.mark.data
def test_every_real_file_opens_with_its_fields(data_folder: Path) -> None:
    words = ["climate/*.nc", "messy/*.nc", "messy/*.zarr", "reanalysis/*.nc", "sst", "static/*.nc"]
    with Sources([data_folder / word for word in words]) as sources:
        assert len(sources.paths) == 23
        for path in sources.paths:
            assert sum(len(dataset.data_vars) for dataset in sources[path]) >= 1
    assert set(sources.opens.values()) == {1}


def test_a_fingerprint_is_that_of_the_content_and_not_of_the_place(
    files: list[Path], tmp_path: Path
) -> None:
    shutil.copy(files[0], tmp_path / "copy.nc")
    first, copy, other = (
        Sources([path]).fingerprint(path) for path in (files[0], tmp_path / "copy.nc", files[1])
    )
    assert first["digest"] == copy["digest"] != other["digest"]
    assert first["name"] == "00.nc" and first["size"] == files[0].stat().st_size
    assert first["modified"].endswith("Z")


@pytest.mark.parametrize("change", ["chunk", "metadata"])
def test_a_change_of_a_zarr_group_changes_its_fingerprint(
    change: str, fields: xr.Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "a.zarr"
    fields.to_zarr(path, zarr_format=2)
    sources = Sources([path])
    before = sources.fingerprint(path)
    assert before == sources.fingerprint(path)
    if change == "chunk":
        (path / "t2m/0.0.0").write_bytes(b"")
    else:
        (path / "t2m/.zattrs").write_text("{}")
    assert sources.fingerprint(path)["digest"] != before["digest"]
