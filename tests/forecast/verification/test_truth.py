"""Scores against a truth that the forecast did not start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.verification.evaluate import evaluate
from tests.forecast.stand_in import Turning

N_STEPS = 3


@pytest.fixture(scope="module")
def series(make_store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    path = make_store(folder / "store.zarr", "files", n_times=96)
    run_rollout(Turning(path, 0.9), path, folder / "f.nc", split="train", n_steps=N_STEPS)
    return path


def changed(store: Path, out: Path, times: slice = slice(None), **replaced: xr.DataArray) -> Path:
    """Copy a store with its channels in the other order, and with some of its times."""
    with xr.open_zarr(store, consolidated=False, chunks=None) as data:
        data = data.load().drop_encoding()
    data = data.isel(channel=slice(None, None, -1), time=times).assign(replaced)
    data.to_zarr(out, zarr_format=3, consolidated=False)
    return out


def test_the_same_states_in_another_store_give_the_same_scores(series, tmp_path):
    path = series.parent / "f.nc"
    other = changed(series, tmp_path / "other.zarr")
    expected = evaluate(path, series, tmp_path / "a.nc")
    for data in (None, series):
        found = evaluate(path, data, tmp_path / f"{data is None}.nc", truth=other)
        xr.testing.assert_allclose(found.drop_attrs(), expected.drop_attrs(), rtol=1e-12)


def test_a_truth_that_ends_early_leaves_lead_times_out_and_counts_them(series, tmp_path):
    path = series.parent / "f.nc"
    short = changed(series, tmp_path / "short.zarr", slice(0, 47))  # starts are 0 to 47
    found = evaluate(path, series, tmp_path / "s.nc", truth=short)
    np.testing.assert_array_equal(found.n_forecasts, [47, 46, 45, 44])
    assert list(found.forecast.values) == ["model", "climatology"]
    assert "no persistence: short.zarr lacks initial times" in found.attrs["notes"]
    expected = evaluate(path, series, tmp_path / "all.nc").rmse_each
    kept = {"lead_time": 3, "init_time": slice(44)}
    mean = expected.isel(kept).sel(forecast="model").mean("init_time")
    np.testing.assert_allclose(found.rmse[0, ..., 3], np.sqrt(mean), rtol=1e-6)
    with pytest.raises(ValueError, match="lacks initial times of .*, which persistence keeps"):
        evaluate(path, series, tmp_path / "x.nc", truth=short, baselines=["persistence"])


def test_a_truth_without_any_valid_time_is_refused(series, tmp_path):
    late = changed(series, tmp_path / "late.zarr", slice(60, 96))
    with pytest.raises(ValueError, match="late.zarr has no valid time of .*2005-01.*2000-01"):
        evaluate(series.parent / "f.nc", series, tmp_path / "s.nc", truth=late)
    assert not (tmp_path / "s.nc").exists()


def test_a_truth_of_longer_steps_scores_the_lead_times_that_it_has(series, tmp_path):
    coarse = changed(series, tmp_path / "coarse.zarr", slice(0, None, 3))
    found = evaluate(series.parent / "f.nc", series, tmp_path / "s.nc", truth=coarse)
    np.testing.assert_array_equal(found.n_forecasts, [16, 16, 16, 16])


def test_the_start_is_checked_in_the_store_that_is_named_as_data(series, make_store, tmp_path):
    other = make_store(tmp_path / "seed.zarr", "files", n_times=96, seed=1)
    path = series.parent / "f.nc"
    with pytest.raises(ValueError, match="did not start from store .*seed.zarr"):
        evaluate(path, other, tmp_path / "s.nc", truth=series)
    found = evaluate(path, series, tmp_path / "s.nc", truth=other)
    truth, start = Store(other), Store(series)
    assert not np.allclose(truth.state(0), start.state(0))
    assert (found.rmse.sel(forecast="model").isel(lead_time=0) > 0).all()


def test_a_truth_is_needed(series, tmp_path, run_forecast, capsys):
    assert run_forecast("evaluate", series.parent / "f.nc", "--out", tmp_path / "s.nc") == 2
    said = capsys.readouterr().err
    assert "needs a truth; give the store that it started from with --data" in said


def test_a_truth_on_another_grid_is_refused(series, make_store, tmp_path):
    other = make_store(tmp_path / "grid.zarr", "files", nlat=10, nlon=20)
    with pytest.raises(ValueError, match="do not fit: the grid .*give a truth of the same kind"):
        evaluate(series.parent / "f.nc", series, tmp_path / "s.nc", truth=other)
