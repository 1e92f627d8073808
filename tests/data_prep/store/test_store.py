import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from configs.variables import variable
from data_prep.store import spec as spec_module
from data_prep.store.describe import describe
from data_prep.store.reader import Store
from data_prep.store.spec import StoreSpec, Trajectories
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(4, 8)
N, TIMES = 4, np.datetime64("2000-01-01") + np.arange(5) * np.timedelta64(1, "h")
CHANNELS = (variable("geopotential"), variable("vorticity"))


def trajectories(**changes: object) -> StoreSpec:
    spec = StoreSpec(
        grid=GRID,
        channels=CHANNELS,
        time=TIMES,
        time_step="1h",
        split=["train", "train", "validation", "test"],
        title="Shallow water",
        source="the solver",
        configuration="seed: 0\n",
        trajectories=Trajectories(np.arange(N) + 7, ("random",) * N),
        radius=6.37e6,
    )
    return replace(spec, **changes)


def series(**changes: object) -> StoreSpec:
    return trajectories(split=["train"] * 3 + ["", "test"], trajectories=None, **changes)


def fields(index: int) -> np.ndarray:
    rng = np.random.default_rng(index)
    return rng.normal(3.0, 2.0, size=(len(TIMES), len(CHANNELS), *GRID.shape)).astype("f4")


def opened(path: Path) -> xr.Dataset:
    return xr.open_zarr(path, consolidated=False, chunks=None).load()


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if "partial" in p.name]


@pytest.mark.parametrize("shard_bytes", [2**26, 600, 1])
def test_what_is_written_is_what_xarray_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int
) -> None:
    monkeypatch.setattr(spec_module, "_SHARD_BYTES", shard_bytes)
    with StoreWriter(tmp_path / "store", trajectories()) as writer:
        for index in reversed(writer.missing):
            writer.write_trajectory(index, fields(index))
        assert writer.finalise() == tmp_path / "store"
    store = opened(tmp_path / "store")
    np.testing.assert_array_equal(store.fields, np.stack([fields(i) for i in range(N)]))
    np.testing.assert_array_equal(store.time, TIMES.astype("M8[ns]"))
    np.testing.assert_array_equal(store.latitude, GRID.latitude)
    np.testing.assert_array_equal(store.longitude, GRID.longitude)
    assert store.fields.channel_units.values.tolist() == ["m2 s-2", "s-1"]
    assert store.fields.split.values.tolist() == ["train", "train", "validation", "test"]
    assert store.seed.values.tolist() == [7, 8, 9, 10]
    assert store.channel_conserved.values.tolist() == [True, True]
    assert store.attrs["radius"] == 6.37e6
    assert leftovers(tmp_path) == []


def test_a_store_says_the_sign_and_the_accumulation_of_its_channels(tmp_path: Path) -> None:
    channels = (variable("tp"), variable("z500"))
    with StoreWriter(tmp_path / "store", series(channels=channels)) as writer:
        writer.write_times(slice(0, len(TIMES)), fields(0))
        writer.finalise()
    tp, z500 = Store(tmp_path / "store").channels
    assert (tp.positive, tp.accumulated, z500.positive, z500.accumulated) == (1, 1, 0, 0)
    for attribute in ("positive", "accumulated"):  # a store of an earlier version
        shutil.rmtree(tmp_path / "store" / f"channel_{attribute}")
    tp = Store(tmp_path / "store").channels[0]
    assert (tp.positive, tp.accumulated, tp.role) == (False, False, "diagnostic")


@pytest.mark.parametrize("shard_bytes", [2**26, 600])
def test_blocks_of_a_series_cover_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int
) -> None:
    monkeypatch.setattr(spec_module, "_SHARD_BYTES", shard_bytes)
    with StoreWriter(tmp_path / "store", series()) as writer:
        blocks = list(writer.blocks())
        for times in blocks:
            writer.write_times(times, fields(1)[times])
        writer.finalise()
    assert np.concatenate([np.arange(5)[b] for b in blocks]).tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(opened(tmp_path / "store").fields, fields(1))


def test_killed_generation_resumes_to_the_store_of_an_uninterrupted_one(tmp_path: Path) -> None:
    script = f"""
import os, signal, sys
sys.path[:0] = [{str(Path(__file__).parents[3])!r}, {str(Path(__file__).parent)!r}]
from test_store import StoreWriter, fields, trajectories
writer = StoreWriter({str(tmp_path / "store")!r}, trajectories(), resume=True)
for index in (0, 2):
    writer.write_trajectory(index, fields(index))
writer.group["fields"][1, :2] = -1.0
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (tmp_path / "store").exists()
    with StoreWriter(tmp_path / "store", trajectories(), resume=True) as writer:
        assert writer.missing == [1, 3]
        for index in writer.missing:
            writer.write_trajectory(index, fields(index))
        writer.finalise()
    with StoreWriter(tmp_path / "other", trajectories()) as writer:
        for index in writer.missing:
            writer.write_trajectory(index, fields(index))
        writer.finalise()
    resumed, whole = opened(tmp_path / "store"), opened(tmp_path / "other")
    xr.testing.assert_identical(resumed.drop_attrs(), whole.drop_attrs())


def test_resumed_work_of_another_configuration_is_kept_and_refused(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", trajectories(), resume=True) as writer:
        writer.write_trajectory(0, fields(0))
    other = trajectories(configuration="seed: 1\n")
    with pytest.raises(ValueError, match="unfinished store of another configuration"):
        StoreWriter(tmp_path / "store", other, resume=True)
    with StoreWriter(tmp_path / "store", trajectories(), resume=True) as writer:
        assert writer.done == {0}


def test_writer_without_resume_starts_anew_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", trajectories(), resume=True) as writer:
        writer.write_trajectory(0, fields(0))
    with pytest.raises(RuntimeError), StoreWriter(tmp_path / "store", trajectories()) as writer:
        assert writer.done == frozenset()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_store_exclude_each_other(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", trajectories(), resume=True) as writer:
        with pytest.raises(FileExistsError, match="another process is writing"):
            StoreWriter(tmp_path / "store", trajectories(), resume=True)
        writer.write_trajectory(0, fields(0))
        assert writer.done == {0}


def test_output_that_exists_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    with pytest.raises(FileExistsError, match="exists; remove it or choose another path"):
        StoreWriter(tmp_path / "store", trajectories())
    assert (tmp_path / "store").read_text() == "mine"
    assert leftovers(tmp_path) == []
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        StoreWriter(tmp_path / "nowhere" / "store", trajectories())


def test_output_that_appears_while_writing_is_not_overwritten(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", series()) as writer:
        writer.write_times(slice(0, 5), fields(0))
        os.mkdir(tmp_path / "store")
        with pytest.raises(FileExistsError):
            writer.finalise()
    assert list((tmp_path / "store").iterdir()) == []


def test_store_with_missing_pieces_is_not_finalised(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", trajectories()) as writer:
        writer.write_trajectory(1, fields(1))
        with pytest.raises(ValueError, match=r"3 pieces are not written yet: \[0, 2, 3\]"):
            writer.finalise()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_name_and_time(
    tmp_path: Path, value: float
) -> None:
    broken = fields(0)
    broken[3, 1, 2, 5] = value
    with StoreWriter(tmp_path / "store", trajectories()) as writer:
        with pytest.raises(ValueError, match="vorticity at 2000-01-01T03:00:00 has 1 values"):
            writer.write_trajectory(0, broken)
        assert writer.done == frozenset()


def test_values_outside_the_mask_are_missing(tmp_path: Path) -> None:
    mask = np.ones((2, *GRID.shape), dtype=bool)
    mask[1, :2, :3] = False
    values = fields(0)
    values[:, 1, 0, 0] = np.nan
    with StoreWriter(tmp_path / "store", series(mask=mask)) as writer:
        writer.write_times(slice(0, 5), values)
        writer.finalise()
    store = opened(tmp_path / "store")
    np.testing.assert_array_equal(np.isfinite(store.fields), np.broadcast_to(mask, values.shape))
    np.testing.assert_array_equal(store.mask, mask)


def test_description_tells_what_a_colleague_asks(tmp_path: Path) -> None:
    orography = {variable("orography"): np.linspace(0, 5e3, 32).reshape(GRID.shape)}
    with StoreWriter(tmp_path / "store", trajectories(static=orography)) as writer:
        for index in writer.missing:
            writer.write_trajectory(index, fields(index))
        writer.finalise()
    text = describe(tmp_path / "store")
    for part in (
        "legendre-gauss 4×8",
        "2000-01-01 to 2000-01-01T04:00:00, 5 times, one every 1h",
        "train 2; validation 1; test 1",
        "orography",
        "geopotential",
        "Relative vorticity",
    ):
        assert part in text
    static = opened(tmp_path / "store").static
    np.testing.assert_array_equal(static[0], orography[variable("orography")].astype("f4"))


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no store at"):
        describe(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="is not a training store"):
        describe(tmp_path / "folder")
