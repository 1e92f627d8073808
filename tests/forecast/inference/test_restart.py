"""Rollouts that go on after an exception, a full disk or a kill, to the same file."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from data_prep.store.outputs import locked
from forecast.inference.forecast import run_rollout
from forecast.inference.writer import ForecastWriter
from forecast.inference.writing.file_formats import NetCDFFormat, ZarrFormat
from forecast.inference.writing.work_folder import WorkFolder
from forecast.model.state import State
from tests.forecast.inference.restart_runs import rollout_to_kill
from tests.forecast.stand_in import Turning
from tests.ranks import run, start

N_STEPS = 23
SETTINGS: dict[str, Any] = {"split": "train", "n_steps": N_STEPS, "every": 2, "batch_size": 3}


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    """Four trajectories to start from: batches of three and one."""
    return make_store(tmp_path_factory.mktemp("trajectories") / "store.zarr")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save a state after every step, and write blocks of five lead times."""
    save_often(monkeypatch.setattr)


def save_often(setattr_: Callable[[str, object], None]) -> None:
    setattr_("forecast.inference.writer._PAUSE", 0.0)
    setattr_("forecast.inference.writer._COSTS", 0)
    setattr_("forecast.inference.writing.blocks._PIECE_BYTES", 5 * 4 * 8 * 16)


class Remembering(Turning):
    """Model that steps the mean of a state and the one before."""

    def __init__(self, store: Path) -> None:
        super().__init__(store)
        self.n_history = 1

    def step(self, state: State) -> State:
        """Return the state after the mean, with the history that it has."""
        mean = State((state.fields + state.history[0]) / 2, state.time)
        following = super().step(mean)
        return state.advance(following.fields, following.time)


@contextmanager
def failing_after(n: int, error: BaseException, target: type, method: str) -> Iterator[None]:
    """Raise an error at the n-th call of a method."""
    original, calls = getattr(target, method), 0

    def call(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= n:
            raise error
        return original(*args, **options)

    setattr(target, method, call)
    try:
        yield
    finally:
        setattr(target, method, original)


def assert_same(path: Path, whole: Path) -> None:
    """Compare all of two files but their history."""
    opened = [xr.open_dataset(p, engine="zarr" if p.suffix == ".zarr" else "netcdf4", chunks=None)
              for p in (path, whole)]  # fmt: skip
    for file in opened:
        del file.attrs["history"]
    xr.testing.assert_identical(*(file.load() for file in opened))
    for file in opened:
        file.close()


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for suffix in ("nc", "zarr"):
        run_rollout(Turning(store), store, folder / f"f.{suffix}", **SETTINGS)
    return folder


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
@pytest.mark.parametrize(
    ("target", "method", "n", "error", "saved"),
    [
        (Turning, "step", 9, KeyboardInterrupt(), 8),
        (Turning, "step", N_STEPS + 2, RuntimeError("lost"), N_STEPS + 1),
        (ZarrFormat, "put", 40, OSError(errno.ENOSPC, "No space left on device"), 14),
        (WorkFolder, "save", 17, OSError(errno.ENOSPC, "No space left on device"), 16),
        (ForecastWriter, "_finish", 1, KeyboardInterrupt(), 2 * N_STEPS),
    ],
)
def test_a_rollout_goes_on_after_an_error_to_the_same_file(
    store, whole, tmp_path, suffix, target, method, n, error, saved
):
    path = tmp_path / f"f.{suffix}"
    raised = OSError if isinstance(error, OSError) else type(error)
    with failing_after(n, error, target, method), pytest.raises(raised) as caught:
        run_rollout(Turning(store), store, path, **SETTINGS)
    assert isinstance(caught.value, OSError) == ("cannot write" in str(caught.value))
    assert not path.exists()
    model = Turning(store)
    run_rollout(model, store, path, restart=True, **SETTINGS)
    assert model.steps_done == 2 * N_STEPS - saved
    assert_same(path, whole / f"f.{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_history_is_gone_on_with(store, tmp_path):
    run_rollout(Remembering(store), store, tmp_path / "whole.nc", **SETTINGS)
    path = tmp_path / "f.nc"
    with failing_after(30, KeyboardInterrupt(), Turning, "step"), pytest.raises(KeyboardInterrupt):
        run_rollout(Remembering(store), store, path, **SETTINGS)
    model = Remembering(store)
    run_rollout(model, store, path, restart=True, **SETTINGS)
    assert model.steps_done == 2 * N_STEPS - 29
    assert_same(path, tmp_path / "whole.nc")


def test_a_netcdf_file_is_assembled_after_its_assembly_was_interrupted(store, whole, tmp_path):
    error = RuntimeError("NetCDF: HDF error")
    refused = pytest.raises(OSError, match="cannot write .*f.nc")
    with failing_after(5, error, NetCDFFormat, "put"), refused:
        run_rollout(Turning(store), store, tmp_path / "f.nc", **SETTINGS)
    model = Turning(store)
    run_rollout(model, store, tmp_path / "f.nc", restart=True, **SETTINGS)
    assert model.steps_done == 0
    assert_same(tmp_path / "f.nc", whole / "f.nc")


@pytest.fixture
def unfinished(store, tmp_path):
    with failing_after(9, KeyboardInterrupt(), Turning, "step"), pytest.raises(KeyboardInterrupt):
        run_rollout(Turning(store), store, tmp_path / "f.zarr", **SETTINGS)
    return tmp_path / ".f.zarr.partial"


def test_an_unfinished_forecast_is_refused_without_restart_and_kept(store, unfinished):
    with pytest.raises(FileExistsError, match="unfinished forecast; go on with --restart, or rem"):
        run_rollout(Turning(store), store, unfinished.parent / "f.zarr", **SETTINGS)
    run_rollout(Turning(store), store, unfinished.parent / "f.zarr", restart=True, **SETTINGS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_steps": 21}, r"differs in the number of steps \(23 there, 21 here\);"),
        ({"every": 1}, r"the interval of written steps \(2 there, 1 here\);"),
        ({"split": "test"}, r"the initial times.*the batch size \(3 there, 1 here\);"),
        ({"factor": 0.5}, "differs in the packages;"),
    ],
)
def test_another_rollout_does_not_go_on_with_an_unfinished_one(store, unfinished, change, message):
    model = Turning(store, change.get("factor", 1.0))
    options = SETTINGS | {k: v for k, v in change.items() if k != "factor"}
    path = unfinished.parent / "f.zarr"
    with pytest.raises(ValueError, match=message) as error:
        run_rollout(model, store, path, restart=True, **options)
    assert "\n" not in str(error.value)
    run_rollout(Turning(store), store, path, restart=True, **SETTINGS)


def test_a_changed_store_is_another_input(make_store, tmp_path):
    store = make_store(tmp_path / "store.zarr")
    with failing_after(9, KeyboardInterrupt(), Turning, "step"), pytest.raises(KeyboardInterrupt):
        run_rollout(Turning(store), store, tmp_path / "f.nc", **SETTINGS)
    store.rename(tmp_path / "old.zarr")
    make_store(store, seed=1)
    with pytest.raises(ValueError, match="differs in the store"):
        run_rollout(Turning(store), store, tmp_path / "f.nc", restart=True, **SETTINGS)


def test_a_damaged_state_is_named(store, unfinished):
    (saved,) = (unfinished / "states").iterdir()
    saved.write_bytes(saved.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged .*; remove the folder .*partial to begin"):
        run_rollout(Turning(store), store, unfinished.parent / "f.zarr", restart=True, **SETTINGS)


def test_restart_with_nothing_there_begins(store, whole, tmp_path):
    run_rollout(Turning(store), store, tmp_path / "f.nc", restart=True, **SETTINGS)
    assert_same(tmp_path / "f.nc", whole / "f.nc")


def test_forecasts_that_ended_early_are_known_after_a_restart(store, tmp_path):
    def ending() -> Turning:
        model = Turning(store)
        model.fails = {1: 6}
        return model

    run_rollout(ending(), store, tmp_path / "whole.nc", **SETTINGS | {"batch_size": 4})
    with failing_after(9, KeyboardInterrupt(), Turning, "step"), pytest.raises(KeyboardInterrupt):
        run_rollout(ending(), store, tmp_path / "f.nc", **SETTINGS | {"batch_size": 4})
    (stop,) = run_rollout(
        Turning(store), store, tmp_path / "f.nc", restart=True, **SETTINGS | {"batch_size": 4}
    )
    assert (stop.step, stop.channel) == (6, "vorticity")
    with xr.open_dataset(tmp_path / "f.nc") as file:
        np.testing.assert_array_equal(file.last_step, [22, 5, 22, 22])


def test_an_error_before_a_state_is_saved_leaves_nothing(store, tmp_path, monkeypatch):
    monkeypatch.setattr("forecast.inference.writer._PAUSE", 60.0)
    with failing_after(9, KeyboardInterrupt(), Turning, "step"), pytest.raises(KeyboardInterrupt):
        run_rollout(Turning(store), store, tmp_path / "f.nc", **SETTINGS)
    assert not list(tmp_path.iterdir())


def test_two_processes_do_not_write_one_forecast(store, unfinished):
    with locked(unfinished), pytest.raises(FileExistsError, match="another process is writing"):
        run_rollout(Turning(store), store, unfinished.parent / "f.zarr", restart=True, **SETTINGS)


def wait_for(path: Path, process: Any) -> None:
    """Wait until a path exists or a process has ended."""
    while not path.exists() and process.exitcode is None:
        time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "ranks", "latitude", "kills"),
    [("zarr", 1, None, 10), ("nc", 1, None, 10), ("zarr", 2, 1, 2), ("nc", 2, 2, 2)],
)
def test_a_rollout_after_kills_at_random_moments_makes_the_same_file(
    make_store, tmp_path, suffix, ranks, latitude, kills
):
    store = make_store(tmp_path / "store.zarr")
    whole, path = tmp_path / f"whole.{suffix}", tmp_path / f"f.{suffix}"
    run(ranks, rollout_to_kill, store, whole, latitude)
    longest, draw = float(whole.with_suffix(".seconds").read_text()), random.Random(0)
    made = [path]
    while kills:
        processes = start(ranks, rollout_to_kill, store, path, latitude)
        wait_for(tmp_path / f".f.{suffix}.partial", processes[0])
        processes[0].join(draw.uniform(0.0, longest))
        ended = {process.exitcode for process in processes}
        kills -= None in ended
        for process in processes:
            process.kill()
            process.join()
        assert ended <= {None, 0}
        if path.exists():  # finished before enough kills: begin again
            made.append(path.rename(tmp_path / f"f{len(made)}.{suffix}"))
    run(ranks, rollout_to_kill, store, path, latitude)
    for file in made:
        assert_same(file, whole)
    assert path.with_suffix(".txt").read_text() == whole.with_suffix(".txt").read_text()
    assert not list(tmp_path.glob(".f.*"))
