"""Generator of solver data: contents of a store, and recovery from failures."""

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from configs.section import GridConfig
from configs.solvers import CaseConfig, ShallowWaterData, SplitCounts
from data_prep.shallow_water import trajectories
from data_prep.shallow_water.cases import Experiment
from data_prep.shallow_water.diagnostics import INTEGRALS
from data_prep.shallow_water.generate import generate_shallow_water, plan
from data_prep.solvers.plan import seconds
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

ROOT = Path(__file__).parents[3]


def config(**changes: object) -> ShallowWaterData:
    settings: dict[str, object] = {
        "grid": GridConfig(nlat=16, nlon=32),
        "lmax": 11,
        "trajectories": SplitCounts(train=5, validation=2, test=2),
        "n_steps": 3,
        "batch_size": 2,
        **changes,
    }
    return ShallowWaterData(**settings)  # type: ignore[arg-type]


def opened(path: Path, group: str | None = None) -> xr.Dataset:
    with xr.open_zarr(path, group=group, consolidated=False, chunks=None) as data:
        return data.load()


def differences(a: xr.Dataset, b: xr.Dataset) -> np.ndarray:
    """Return the largest difference in each channel, in units of its standard deviation."""
    difference = np.abs(a["fields"].values - b["fields"].values).max(axis=(0, 1, 3, 4))
    return difference / a["std"].values


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store that all tests read."""
    return generate_shallow_water(config(), tmp_path_factory.mktemp("swe") / "a.zarr")


def test_the_store_holds_the_trajectories_of_the_solver(store: Path) -> None:
    data = opened(store)
    assert data["split"].values.tolist() == ["train"] * 5 + ["validation"] * 2 + ["test"] * 2
    assert len(set(data["seed"].values.tolist())) == 9
    experiment = Experiment("random", {}, 11)
    state = experiment.initial_state(int(data["seed"][6]))[None]
    surface = experiment.solver.layer(experiment.solver.advance(state, 0.0, 3600.0, 1))[0]
    stored = data["fields"].sel(channel="geopotential")[6, 1].values
    # The solver's grid at T10 is 16×32, that of the store; float32 on disk.
    assert stored == pytest.approx(surface.numpy(), rel=2e-7)
    assert data["time"].values[1] - data["time"].values[0] == np.timedelta64(1, "h")


def test_diagnostics_are_beside_the_data(store: Path) -> None:
    data = opened(store, "diagnostics")
    for name in INTEGRALS:
        assert np.isfinite(data[name].values).all()
        assert data[name].attrs["units"]
    mass = data["mass"].values
    assert np.array_equal(mass, np.repeat(mass[:, :1], 4, axis=1))
    assert data["kinetic_energy"].sizes["degree"] == 11
    assert (store.parent / "a.zarr.diagnostics.png").stat().st_size > 10_000


@pytest.mark.parametrize("kind", ["equiangular", "cell-centred", "legendre-gauss"])
def test_any_grid_samples_the_same_fields(kind: str, store: Path, tmp_path: Path) -> None:
    """Compare area means of band-limited fields on several grids, with and without pole rows."""
    wanted = ("geopotential", "eastward_wind", "northward_wind")
    other = config(grid=GridConfig(kind=kind, nlat=33, nlon=64), variables=wanted)  # type: ignore[arg-type]
    data = opened(generate_shallow_water(other, tmp_path / "b.zarr"))
    reference = opened(store)
    weights = Grid.of(kind, 33, 64).area_weights.numpy()  # type: ignore[arg-type]
    here = (data["fields"].sel(channel="geopotential").values * weights).sum(axis=(-2, -1))
    there_weights = Grid.legendre_gauss(16, 32).area_weights.numpy()
    there = (reference["fields"].sel(channel="geopotential").values * there_weights).sum(
        axis=(-2, -1)
    )
    assert here == pytest.approx(there, rel=1e-6)
    assert np.isfinite(data["fields"].values).all()


def test_trajectories_do_not_depend_on_the_batch_nor_on_the_others(
    store: Path, tmp_path: Path
) -> None:
    """Compare to 1e-5 standard deviations, one rounding to float32 on disk."""
    whole = opened(store)
    other = opened(generate_shallow_water(config(batch_size=9), tmp_path / "b.zarr"))
    assert differences(whole, other).max() < 1e-3 * 1e-2
    fewer = config(trajectories=SplitCounts(train=2, validation=1, test=0))
    part = opened(generate_shallow_water(fewer, tmp_path / "c.zarr"))
    assert part["seed"].values.tolist() == whole["seed"].values[[0, 1, 5]].tolist()
    assert np.allclose(part["fields"].values, whole["fields"].values[[0, 1, 5]], rtol=1e-5,
                       atol=1e-11)  # fmt: skip


def test_threads_make_the_same_trajectories(store: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        other = opened(generate_shallow_water(config(batch_size=8), tmp_path / "b.zarr"))
    finally:
        torch.set_num_threads(before)
    assert differences(opened(store), other).max() < 1e-5


def test_an_interruption_tells_the_way_on_and_no_thread_computes_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted, after = threading.Event(), []
    advance = trajectories._FlowBatch.advance

    def counted(*arguments: Any) -> Any:
        if interrupted.is_set():
            after.append(arguments)
        return advance(*arguments)

    def interrupt(done: int, total: int, note: str) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(trajectories._FlowBatch, "advance", counted)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyboardInterrupt):
            generate_shallow_water(
                config(batch_size=1, n_steps=40), tmp_path / "b.zarr", progress=interrupt
            )
        working = [t.name for t in threading.enumerate() if "work" in t.name]
    finally:
        torch.set_num_threads(threads)
    # Of the 320 intervals that are left, each thread ends the one that it solves.
    assert not working and len(after) <= 4
    assert "are kept, and the same command resumes the generation" in caplog.text


class Killed(Exception):
    """Exception that represents a kill during the run."""


def test_a_generation_that_was_stopped_goes_on_without_loss(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.zarr"

    def stop_after_the_second_batch(done: int, total: int, note: str) -> None:
        if done >= 4:
            raise Killed

    with pytest.raises(Killed):
        generate_shallow_water(config(), out, progress=stop_after_the_second_batch)
    assert not out.exists()
    done: list[int] = []
    generate_shallow_water(config(), out, progress=lambda n, total, note: done.append(n))
    assert done[0] > 4
    assert done[-1] == 9
    assert differences(opened(store), opened(out)).max() < 1e-5
    assert np.isfinite(opened(out, "diagnostics")["energy"].values).all()


@pytest.mark.slow
def test_a_killed_process_loses_at_most_its_batch(store: Path, tmp_path: Path) -> None:
    """Send SIGKILL at random times until the run is complete."""
    out = tmp_path / "b.zarr"
    code = (
        "import pathlib; from tests.data_prep.shallow_water.test_generate import *;"
        f"generate_shallow_water(config(), pathlib.Path({str(out)!r}),"
        " progress=lambda done, total, note: print(done, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        reported = int(process.stdout.readline())
        time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    done: list[int] = []
    if not out.exists():
        generate_shallow_water(config(), out, progress=lambda n, total, note: done.append(n))
        assert done[0] >= reported + 1
    assert differences(opened(store), opened(out)).max() < 1e-5


def test_an_unfinished_store_of_another_configuration_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "b.zarr"

    def stop(done: int, total: int, note: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        generate_shallow_water(config(), out, progress=stop)
    with pytest.raises(ValueError, match="another configuration"):
        generate_shallow_water(config(seed=1), out)
    done: list[int] = []
    generate_shallow_water(config(), out, progress=lambda n, total, note: done.append(n))
    assert done[0] > 2


def test_a_mix_of_cases_has_its_shares() -> None:
    mix = (
        CaseConfig(name="random", weight=3),
        CaseConfig(name="galewsky", weight=1, parameters={"bump_latitude_spread": 5.0}),
    )
    plans = plan(config(cases=mix, trajectories=SplitCounts(train=8, validation=4, test=4)))
    for split, n in (("train", 8), ("validation", 4), ("test", 4)):
        cases = [p.case for p in plans if p.split == split]
        assert cases.count(0) == 3 * n // 4
    # More trajectories leave the first ones as they are.
    more = plan(config(cases=mix, trajectories=SplitCounts(train=9, validation=4, test=4)))
    assert [p.case for p in more[:8]] == [p.case for p in plans[:8]]
    assert [p.seed for p in more[:8]] == [p.seed for p in plans[:8]]


def test_a_trajectory_that_blows_up_is_reported_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Take steps that pass the check, with winds that grow until the solution becomes unstable."""
    wild = CaseConfig(name="random", parameters={"mach": 60.0, "mach_spread": 59.9})
    out = tmp_path / "b.zarr"
    settings = config(
        cases=(wild,), trajectories=SplitCounts(train=8, validation=0, test=0), n_steps=2,
        time_step="6h", batch_size=8,
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        generate_shallow_water(settings, out)
    data = opened(out)
    lost = [i for i, split in enumerate(data["split"].values) if split == ""]
    assert 0 < len(lost) < 8
    assert "is not finite" in caplog.text
    for i in lost:
        assert str(int(data["seed"][i])) in caplog.text
        assert (tmp_path / f"b.zarr.failed-{i}.png").stat().st_size > 5_000
        assert np.isnan(data["fields"].values[i]).all()
    kept = np.setdiff1d(np.arange(8), lost)
    assert np.isfinite(data["fields"].values[kept]).all()
    assert np.isfinite(data["std"].values).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variables": ("t2m",)}, "no variable 't2m'"),
        ({"cases": (CaseConfig(name="randm"),)}, "did you mean random"),
        ({"cases": (CaseConfig(name="galewsky"),)}, "is the same for every seed"),
        ({"start_time": "yesterday"}, "is not a date"),
        ({"spin_up": "1mo"}, "calendar months"),
        ({"solver_dt": 3600.0, "cases": (CaseConfig(parameters={"mach": 30.0}),)}, "a step of"),
    ],
)
def test_what_cannot_be_solved_is_refused_before_anything_is_written(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        generate_shallow_water(config(**changes), tmp_path / "b.zarr")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_loses_nothing_that_was_written(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = StoreWriter.write_part, []

    def write_until_full(
        self: StoreWriter, indices: list[int], start: int, fields: np.ndarray
    ) -> None:
        calls.extend(indices)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, indices, start, fields)

    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "write_part", write_until_full)
        with pytest.raises(OSError, match="is kept; free some and run the same command again"):
            generate_shallow_water(config(), tmp_path / "b.zarr")
    done: list[int] = []
    generate_shallow_water(
        config(), tmp_path / "b.zarr", progress=lambda n, total, note: done.append(n)
    )
    assert done[0] == 6
    assert differences(opened(store), opened(tmp_path / "b.zarr")).max() < 1e-5


@pytest.mark.parametrize("step", ["locked", "create_empty"])
def test_a_disk_that_is_full_at_the_start_is_left_as_it_was(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "inner"))

    monkeypatch.setattr(f"data_prep.store.writer.{step}", full)
    with pytest.raises(OSError, match="left, free some and run the same command again") as error:
        generate_shallow_water(config(), tmp_path / "b.zarr")
    assert error.value.filename == str(tmp_path / "b.zarr")
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_written_over(store: Path) -> None:
    with pytest.raises(FileExistsError, match="exists; remove it"):
        generate_shallow_water(config(), store)


def test_a_spin_up_is_solved_and_not_stored(store: Path, tmp_path: Path) -> None:
    later = opened(generate_shallow_water(config(spin_up="2h"), tmp_path / "b.zarr"))
    start, end = later["fields"].values[:, 0], opened(store)["fields"].values[:, 2]
    assert np.abs(start - end).max(axis=(0, 2, 3)) == pytest.approx(0, abs=0.02)
    assert later["time"].values[0] == opened(store)["time"].values[0]


@pytest.mark.parametrize(("text", "value"), [("0h", 0), ("0", 0), ("12h", 43200), ("2d", 172800)])
def test_durations(text: str, value: int) -> None:
    assert seconds(text) == value
