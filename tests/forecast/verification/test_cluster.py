"""Scores by the workers of a dask cluster, against those of a single process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from forecast.inference.forecast import run_rollout
from forecast.verification.evaluate import evaluate
from sphere_ops.parallel import cluster
from tests.forecast.stand_in import Turning
from tests.forecast.verification.test_ensemble_files import with_members
from tests.forecast.verification.test_precipitation_scores import forecast_of, rainy_store

distributed = pytest.importorskip("distributed")


@dataclass(frozen=True)
class Case:
    """Forecast file, its store, and settings of its scores."""

    forecast: Path
    store: Path
    settings: dict[str, Any] = field(default_factory=dict)


def single(make_store: Callable[..., Path], folder: Path) -> Case:
    """Forecast four trajectories, of which one ends early, with conserved quantities."""
    store = make_store(folder / "store.zarr")
    model = Turning(store, 0.9)
    model.fails = {1: 3}
    run_rollout(model, store, folder / "f.zarr", split="train", n_steps=5)
    return Case(folder / "f.zarr", store, {"thresholds": ["geopotential>30", "vorticity>q75"]})


def members(make_store: Callable[..., Path], folder: Path) -> Case:
    """Make an ensemble from many starts, with a mask, and lead times beyond the store."""
    store = make_store(folder / "store.zarr", "files", mask=True, n_times=96)
    run_rollout(Turning(store, 0.9), store, folder / "one.nc", split="test", n_steps=3)
    with_members(folder / "one.nc", folder / "f.nc", ("sst", "t2m"))
    return Case(folder / "f.nc", store, {"thresholds": ["t2m>0.2"], "fractions": ["sst>30:500km"]})


def rain(make_store: Callable[..., Path], folder: Path) -> Case:
    """Forecast precipitation, whose scores have a climatology of their own."""
    store = rainy_store(make_store, folder / "store.zarr", 400)
    return Case(forecast_of(store, folder / "f.nc", lambda tp: 1.5 * tp), store)


OWN_SCORES = {
    single: ("brier", "conserved_drift"),
    members: ("brier", "crps", "fss", "rmse_lower"),
    rain: ("seeps",),
}
"""Scores that the other cases lack, or have too few forecasts for."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler with two workers, each a process."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0",
        local_directory=tmp_path_factory.mktemp("dask"),
    ) as started:  # fmt: skip
        yield started.scheduler_address


@pytest.mark.slow
@pytest.mark.parametrize("make", [single, members, rain])
def test_workers_of_a_cluster_give_the_scores_of_a_single_process(
    make: Callable[..., Case], address: str, make_store: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    case = make(make_store, tmp_path)
    monkeypatch.chdir(tmp_path)  # the workers have another folder, and relative paths still work
    inputs, done = (case.forecast.name, case.store.name), []
    options = {"regions": ["tropics"], **case.settings}
    alone = evaluate(*inputs, "alone.nc", **options)
    together = evaluate(
        *inputs, "together.nc", **options, scheduler=address,
        progress=lambda n, total, note: done.append((n, total)),
    )  # fmt: skip
    n = alone.sizes["trajectory" if "trajectory" in alone.dims else "init_time"]
    assert done == [(i, n) for i, _ in sorted(done)] and done[-1] == (n, n) and len(done) > 2
    assert set(together.variables) == set(alone.variables)
    for name, of_one in alone.data_vars.items():
        if str(name).endswith("_each"):
            np.testing.assert_array_equal(together[name], of_one, err_msg=str(name))
            continue
        # Sums over the forecasts are rounded in another order, and may nearly cancel.
        nearly = {"rtol": 1e-12, "atol": 1e-14 * float(abs(of_one).max().fillna(0))}
        np.testing.assert_allclose(together[name], of_one, **nearly, err_msg=str(name))
    assert {"power", "coherence", *OWN_SCORES[make]} <= set(alone.data_vars)
    with xr.open_dataset("together.nc") as file:
        xr.testing.assert_allclose(file, together)


@pytest.mark.slow
def test_the_error_of_a_worker_is_that_of_a_single_process(
    address: str, make_store: Callable[..., Path], refused: Callable[..., str], tmp_path: Path
) -> None:
    case = single(make_store, tmp_path)
    other = make_store(tmp_path / "other.zarr", seed=1)
    words = ("evaluate", case.forecast, "--data", other, "--out", tmp_path / "s.nc")
    line = refused(*words)
    assert "did not start from store" in line
    assert refused(*words, "--scheduler", address) == line
    assert not list(tmp_path.glob("s.*"))


def test_a_scheduler_that_cannot_score_is_refused_in_one_line(
    make_store: Callable[..., Path], refused: Callable[..., str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(cluster, "_TIMEOUT", 1)
    case = single(make_store, tmp_path)
    shared = "--data", case.store, "--out", tmp_path / "s.nc", "--scheduler", "tcp://127.0.0.1:9"
    line = refused("evaluate", case.forecast, *shared)
    assert "no dask scheduler answers at 'tcp://127.0.0.1:9'" in line
    line = refused("evaluate", case.forecast, case.forecast, *shared)
    assert "--scheduler is for the scores of one forecast" in line
    line = refused("evaluate", case.forecast, *shared, "--truth", tmp_path / "truth.nc")
    assert f"--truth {tmp_path / 'truth.nc'} is not a store" in line
    assert not list(tmp_path.glob("s.*"))
