"""Scores of forecasts whose errors are known in closed form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.verification.evaluate import evaluate
from forecast.verification.report import headline, markdown, table
from forecast.verification.score_table import SCORES
from tests.forecast.stand_in import Turning


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("trajectories") / "store.zarr")


@pytest.fixture(scope="module")
def series(make_store, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "store.zarr"
    return make_store(path, "files", mask=True, n_times=96)


def forecast(store: Path, out: Path, factor: float = 1.0, **options) -> Path:
    run_rollout(Turning(store, factor), store, out, **options)
    return out


def test_a_perfect_forecast_has_no_error_and_correlation_one(store, tmp_path):
    path = forecast(store, tmp_path / "f.nc", split="train", n_steps=4)
    scores = evaluate(path, store, tmp_path / "s.nc")
    model = scores.sel(forecast="model")
    assert model.relative_l2.max() < 1e-5
    assert model.acc.min() > 1 - 1e-6
    assert scores.skill[..., 1:].min() > 0.9999
    np.testing.assert_allclose(model.activity, scores.activity_of_truth, rtol=1e-5)
    np.testing.assert_array_equal(scores.n_forecasts, 4)


def test_a_damped_forecast_has_the_error_of_its_damping(store, tmp_path):
    path = forecast(store, tmp_path / "f.nc", factor=0.9, n_steps=3)
    model = evaluate(path, store, tmp_path / "s.nc").sel(forecast="model", region="global")
    # The synthetic fields have the mean of their training set: all of the departure is damped.
    for k in range(4):
        np.testing.assert_allclose(model.relative_l2[:, k], 1 - 0.9**k, atol=1e-5)


def test_persistence_is_the_initial_state_held(store, tmp_path):
    path = forecast(store, tmp_path / "f.nc", split="train", n_steps=5)
    scores = evaluate(path, store, tmp_path / "s.nc").sel(region="global")
    source = Store(store)
    states = np.stack([source.states(i, 0, 6).numpy() for i in range(4)])
    area = source.grid.area_weights.numpy()
    expected = SCORES["rmse"](states[:, :1].repeat(6, axis=1), states, area).T
    np.testing.assert_allclose(scores.rmse.sel(forecast="persistence"), expected, rtol=1e-12)
    assert "climatology" not in scores.forecast


def test_with_a_climatology_persistence_holds_the_anomaly(series, tmp_path):
    path = forecast(series, tmp_path / "f.nc", split="train", n_steps=3)
    scores = evaluate(path, series, tmp_path / "s.nc").sel(region="global")
    source = Store(series)
    months = source.time.astype("datetime64[M]").astype(int) % 12
    anomaly = np.stack([source.state(i).numpy() for i in range(96)])
    anomaly = anomaly - source.statistics["climatology"].numpy()[months]
    area = source.grid.area_weights.numpy()
    train = np.arange(48)
    for k in (1, 3):
        of_persistence = SCORES["rmse"](anomaly[train], anomaly[train + k], area)
        of_climatology = SCORES["rmse"](0 * anomaly[train], anomaly[train + k], area)
        at = scores.isel(lead_time=k).rmse
        np.testing.assert_allclose(at.sel(forecast="persistence"), of_persistence, rtol=1e-5)
        np.testing.assert_allclose(at.sel(forecast="climatology"), of_climatology, rtol=1e-5)
    acc = scores.acc.sel(forecast="climatology")
    assert acc.isnull().all(), "climatology has no anomaly to correlate"


def test_lead_times_that_the_store_does_not_reach_are_left_out(series, tmp_path):
    path = forecast(series, tmp_path / "f.nc", n_steps=30)
    scores = evaluate(path, series, tmp_path / "s.nc")
    np.testing.assert_array_equal(scores.n_forecasts, np.r_[24:0:-1, [0] * 7])
    assert np.isfinite(scores.rmse[..., :24]).all() and scores.rmse[..., 24:].isnull().all()
    assert "24 months" not in table(scores) and "23 months" in table(scores)


def test_a_forecast_that_ended_makes_the_score_missing_from_there(store, tmp_path):
    model = Turning(store)
    model.fails = {1: 3}
    run_rollout(model, store, tmp_path / "f.nc", split="train", n_steps=5)
    scores = evaluate(tmp_path / "f.nc", store, tmp_path / "s.nc")
    missing = scores.rmse.sel(forecast="model").isnull().all(["region", "channel"]).values
    np.testing.assert_array_equal(missing, [False] * 3 + [True] * 3)
    assert scores.rmse.sel(forecast="persistence").notnull().all()
    of_each = (
        scores.rmse_each.sel(forecast="model").isnull().all(["region", "channel", "lead_time"])
    )
    assert not of_each.any()
    assert "geopotential: better than persistence up to 2 h" in headline(scores)


def test_scores_are_the_root_of_the_mean_of_those_of_each_forecast(store, tmp_path):
    path = forecast(store, tmp_path / "f.zarr", factor=0.8, split="train", n_steps=4)
    scores = evaluate(path, store, tmp_path / "s.nc")
    expected = np.sqrt(scores.rmse_each.mean("trajectory"))
    np.testing.assert_allclose(scores.rmse, expected, rtol=1e-5)


def test_blocks_of_lead_times_do_not_change_the_scores(store, tmp_path, monkeypatch):
    path = forecast(store, tmp_path / "f.nc", factor=0.8, split="train", n_steps=5)
    whole = evaluate(path, store, tmp_path / "a.nc")
    monkeypatch.setattr("forecast.verification.scoring.reading._BLOCK_BYTES", 2 * 8 * 3 * 8 * 16)
    blocks = evaluate(path, store, tmp_path / "b.nc")
    xr.testing.assert_equal(whole, blocks)


def test_the_scores_file_opens_with_units_and_is_cf(series, tmp_path):
    path = forecast(series, tmp_path / "f.nc", factor=0.8, n_steps=4)
    scores = evaluate(path, series, tmp_path / "s.nc")
    with xr.open_dataset(tmp_path / "s.nc") as file:
        xr.testing.assert_allclose(file, scores)
        assert file.channel_units.sel(channel="sst").item() == "degC"
        assert file.rmse.sel(forecast="model", channel="sst", lead_time=3) > 0
    checker = Path(sys.executable).with_name("compliance-checker")
    if not checker.exists():
        pytest.skip("compliance-checker is not installed")
    command = [checker, "--test=cf:1.8", "--criteria=lenient", "s.nc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    # No exit code: the checker subtracts the labels of `channel`, and fails at that itself.
    assert "§" not in done.stdout, done.stdout
    assert "All tests passed" in done.stdout


def test_the_summary_has_a_row_for_every_variable(series, tmp_path):
    path = forecast(series, tmp_path / "f.nc", factor=0.8, n_steps=12)
    scores = evaluate(path, series, tmp_path / "s.nc")
    text = (tmp_path / "s.md").read_text()
    assert text == markdown(scores)
    assert "| sst (degC) | 1 month |" in text and "| t2m (K) | 1 month |" in text
    assert "| 12 months |" in text
    lines = table(scores).splitlines()
    rows = [line for line in lines if " month" in line and "better" not in line]
    assert len({line.index(" month") for line in rows}) <= 2
    assert "missing" not in text.split("| 12 months |")[0].replace("climatology", "")


def test_forecast_and_store_that_do_not_fit_are_refused(store, series, make_store, tmp_path):
    path = forecast(store, tmp_path / "f.nc", n_steps=2)
    other_seed = make_store(tmp_path / "seed.zarr", seed=1)
    other_grid = make_store(tmp_path / "grid.zarr", nlat=10, nlon=20)
    fewer = make_store(tmp_path / "fewer.zarr", channels=("geopotential", "vorticity"))
    short = make_store(tmp_path / "short.zarr", n_trajectories=4)
    for data, message in (
        (series, "do not fit: a time step of 1h against 1mo"),
        (other_seed, "did not start from store .*: geopotential differs at lead time 0"),
        (other_grid, "do not fit: the grid legendre-gauss 8×16"),
        (fewer, "has no divergence, which .* forecasts"),
        (short, "is of trajectory 5, store .* has 4"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(path, data, tmp_path / "s.nc")
    with pytest.raises(ValueError, match="unknown baseline 'guess'"):
        evaluate(path, store, tmp_path / "s.nc", baselines=["guess"])
    with pytest.raises(ValueError, match="has no climatology"):
        evaluate(path, store, tmp_path / "s.nc", baselines=["climatology"])
    assert not list(tmp_path.glob("*s.nc*")) and not list(tmp_path.glob("*.md"))
