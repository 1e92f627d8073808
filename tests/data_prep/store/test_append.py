"""Later times added to a store: earlier blocks untouched, the store valid at every moment."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from configs.variables import variable
from data_prep.store import outputs
from data_prep.store.describe import describe
from data_prep.store.spec import StoreSpec
from data_prep.store.verify import verify
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

GRID = Grid.cell_centred(6, 8)
N, MORE = 76, 91
FIELDS = (np.random.default_rng(0).normal(size=(MORE, 2, *GRID.shape)) + 9).astype("f4")


def plan(stop: int) -> str:
    return json.dumps({"times": stop})


def spec(first: int, stop: int, train: bool, **changes: object) -> StoreSpec:
    of = StoreSpec(
        grid=GRID, channels=(variable("sst"), variable("msl")), time_step="10d", title="t",
        time=np.datetime64("2001-01-01") + 10 * np.arange(first, stop), source="s",
        configuration=f"window: 5\ntimes: {stop}\n", block_times=8, plan=plan(stop),
        split=["train" if t < N or train else "test" for t in range(first, stop)],
        sources=[{"name": f"{stop}.nc"}], climatology_window=25,
    )  # fmt: skip
    return replace(of, **changes)


def write(path: Path, first: int, stop: int, train: bool = True, append: bool = False) -> Path:
    with StoreWriter(path, spec(first, stop, train), resume=append, append=append) as writer:
        for times in writer.blocks():
            writer.write_times(times, FIELDS[times])
        return writer.finalise()


def opened(path: Path) -> xr.Dataset:
    return xr.open_zarr(path, consolidated=False, chunks=None).load()


def shards(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return inode, time of the last change and content of the files of the fields."""
    return {
        p.name: (p.stat().st_ino, p.stat().st_mtime_ns, p.read_bytes())
        for p in sorted((path / "fields").glob("c.*"))
    }


@pytest.mark.parametrize("train", [True, False], ids=["training grows", "only test"])
def test_a_store_with_times_added_is_the_store_made_at_once(train: bool, tmp_path: Path) -> None:
    write(tmp_path / "s.zarr", 0, N)
    before = shards(tmp_path / "s.zarr")
    write(tmp_path / "s.zarr", N, MORE, train, append=True)
    write(tmp_path / "whole.zarr", 0, MORE, train)
    after = shards(tmp_path / "s.zarr")
    complete = [f"c.{i}.0.0.0" for i in range(N // 8)]
    assert {name: after[name] for name in complete} == {name: before[name] for name in complete}
    grown, whole = opened(tmp_path / "s.zarr"), opened(tmp_path / "whole.zarr")
    power = ["largest_power", "climatology_largest_power"]
    xr.testing.assert_identical(
        grown.drop_attrs().drop_vars(power), whole.drop_attrs().drop_vars(power)
    )
    for name in power:
        np.testing.assert_allclose(grown[name], whole[name], rtol=1e-6)
    np.testing.assert_array_equal(grown.fields, FIELDS)
    assert verify(tmp_path / "s.zarr") == []
    assert grown.attrs["plan"] == [plan(N), plan(MORE)]
    assert f"{N}.nc, {MORE}.nc" in describe(tmp_path / "s.zarr")
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_times_can_be_added_more_than_once(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr", 0, 20)
    write(tmp_path / "s.zarr", 20, 23, append=True)
    write(tmp_path / "s.zarr", 23, 42, append=True)
    write(tmp_path / "whole.zarr", 0, 42)
    names = ["fields", "mean", "std", "std_step", "time_mean", "minimum", "split", "time"]
    one, other = (opened(tmp_path / f"{n}.zarr")[names].drop_attrs() for n in ("s", "whole"))
    xr.testing.assert_identical(one, other)


def test_the_store_is_as_it_was_until_all_is_written_and_the_work_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "s.zarr", 0, N)
    before = opened(path)
    with StoreWriter(path, spec(N, MORE, True), resume=True, append=True) as writer:
        first, second, *_ = writer.blocks()
        assert (first.start, writer.first) == (N, N)
        for times in (first, second):
            writer.write_times(times, FIELDS[times])
        xr.testing.assert_identical(opened(path), before)
    xr.testing.assert_identical(opened(path), before)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("data_prep.store.writer.exchange", killed)
        with pytest.raises(KeyboardInterrupt):
            write(path, N, MORE, append=True)
    xr.testing.assert_identical(opened(path), before)
    with StoreWriter(path, spec(N, MORE, True), resume=True, append=True) as writer:
        assert writer.missing == []
        writer.finalise()
    np.testing.assert_array_equal(opened(path).fields, FIELDS)


def test_stores_are_exchanged_where_the_system_call_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs.sys, "platform", "other")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    outputs.exchange(tmp_path / "a", tmp_path / "b")
    assert os.listdir(tmp_path / "a") == ["b"] and os.listdir(tmp_path / "b") == ["a"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": spec(N - 5, MORE - 5, True).time},
         "has times up to 2003-01-21T00:00:00, and the new ones begin at 2002-12-12"),
        ({"grid": Grid.legendre_gauss(6, 8)}, "has grid cell-centred 6×8, .* have legendre-gauss"),
        ({"channels": (variable("sst"), variable("t2m"))}, "channels sst, msl, .* have sst, t2m"),
        ({"calendar": "noleap"}, "has calendar proleptic_gregorian, .* have noleap"),
        ({"time_step": "6h"}, "has time step 10d, .* have 6h"),
        ({"configuration": "window: 7\n"}, "has data.window 5, .* have 7"),
        ({"mask": np.zeros((2, 6, 8), dtype=bool)}, "mask of the times to add differs"),
    ],
)  # fmt: skip
def test_times_that_do_not_fit_are_refused_and_the_store_is_as_it_was(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "s.zarr", 0, N)
    before = shards(path)
    with pytest.raises(ValueError, match=message) as error:
        StoreWriter(path, spec(N, MORE, True, **changes), append=True)
    assert "\n" not in str(error.value)
    assert shards(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]


def test_times_are_added_to_a_store_without_a_record_of_its_blocks(tmp_path: Path) -> None:
    path = write(tmp_path / "s.zarr", 0, 30)
    del zarr.open_group(path, mode="r+")["blocks"]
    write(path, 30, 45, append=True)
    write(tmp_path / "whole.zarr", 0, 45)
    for name in ("mean", "std", "std_step", "time_mean"):
        np.testing.assert_array_equal(opened(path)[name], opened(tmp_path / "whole.zarr")[name])


def test_times_are_not_added_to_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no store at"):
        StoreWriter(tmp_path / "s.zarr", spec(N, MORE, True), append=True)
    assert list(tmp_path.iterdir()) == []
