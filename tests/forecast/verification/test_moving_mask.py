"""Scores of channels that are missing at points which change with time."""

import shutil

import numpy as np
import pytest
import xarray as xr
import zarr

from data_prep.store.climatology import Climatology
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.plotting.mean_spectra import mean_spectra
from forecast.verification.evaluate import evaluate
from forecast.verification.report import markdown
from forecast.verification.score_table import SCORES
from forecast.verification.truth import Truth
from tests.forecast.stand_in import Turning

N_STEPS = 4


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    path = tmp_path_factory.mktemp("moving") / "store.zarr"
    return make_store(path, "files", mask=True, moving_mask=True, n_times=96)


@pytest.fixture(scope="module")
def forecast(store, tmp_path_factory):
    path = tmp_path_factory.mktemp("forecast") / "f.nc"
    run_rollout(Turning(store, 0.9), store, path, split="test", n_steps=N_STEPS)
    return path


def fields(store: Store, forecast) -> dict[str, np.ndarray]:
    """Return forecast, truth and climatology (n, k, c, h, w) of forecasts with all of the truth."""
    starts = store.split_indices("test")[:-N_STEPS]
    monthly = Climatology(store.statistics["climatology"].double(), store.time_step)
    with xr.open_dataset(forecast) as file:
        states = np.stack([file[name].values for name in store.channel_names], 2)[: len(starts)]
    span = N_STEPS + 1
    truth = np.stack([store.states(int(i), 0, span).numpy() for i in starts])
    climatology = np.stack([monthly.at(store.time[i : i + span]).numpy() for i in starts])
    return {"forecast": states, "truth": truth, "climatology": climatology}


@pytest.mark.parametrize("baselines", [None, ["climatology"]])
def test_all_scores_are_over_the_points_that_all_have_in_common(
    store, forecast, tmp_path, baselines
):
    """Compare with the definitions, in which points without truth are left out."""
    source = Store(store)
    times = [str(t)[:7] for t in source.time[source.split_indices("test")[:-N_STEPS]]]
    run_rollout(Turning(store, 0.9), store, tmp_path / "f.nc", init_times=times, n_steps=N_STEPS)
    scores = evaluate(tmp_path / "f.nc", store, tmp_path / "s.nc", baselines=baselines).sel(
        region="global"
    )
    of = fields(source, tmp_path / "f.nc")
    there = np.isfinite(of["truth"]) & np.isfinite(of["climatology"])
    if baselines is None:
        there = there & there[:, :1]
    assert len(np.unique(there[:, 0, 0].sum((-2, -1)))) > 3
    truth = np.where(there, of["truth"], np.nan)
    persistence = of["truth"][:, :1] - of["climatology"][:, :1] + of["climatology"]
    states = {"model": of["forecast"], "persistence": persistence, "climatology": of["climatology"]}
    area = source.grid.area_weights.numpy()
    for name in scores.forecast.values:
        for score_name, score in SCORES.items():
            reference = [of["climatology"]] if score.reference else []
            expected = score(states[name].astype("f8"), truth, *reference, area).T
            found = scores[score_name].sel(forecast=name)
            np.testing.assert_allclose(
                found, expected, rtol=1e-5, atol=1e-7, err_msg=f"{score_name} of {name}"
            )
    np.testing.assert_allclose(scores.n_points, there.sum((-2, -1)).mean(0).T)
    assert "sst is missing at points that change" in scores.attrs["notes"]


def test_rmse_is_the_one_that_xarray_finds(store, forecast, tmp_path):
    scores = evaluate(forecast, store, tmp_path / "s.nc")
    with (
        xr.open_dataset(forecast) as file,
        xr.open_zarr(store, consolidated=False, decode_timedelta=True) as data,
    ):
        sst = data.fields.sel(channel="sst")
        climatology = data.climatology.sel(channel="sst")
        initial = file.sst.isel(lead_time=0)
        squares = []
        for i in range(len(file.init_time) - 3):
            truth = sst.sel(time=file.valid_time[i, 3])
            start = file.init_time[i]
            common = (
                truth.notnull()
                & initial[i].notnull()
                & climatology.sel(month=truth.time.dt.month).notnull()
                & climatology.sel(month=start.dt.month).notnull()
            )
            error = (file.sst[i, 3].drop_vars("lead_time") - truth).where(common)
            weights = xr.DataArray(Store(store).grid.area_weights[:, 0], dims="latitude")
            squares.append(float((error**2).weighted(weights).mean()))
    found = scores.rmse.sel(forecast="model", channel="sst", region="global")[3]
    assert float(found) == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-6)


def test_values_under_the_ice_change_no_score(store, forecast, tmp_path):
    """Replace the forecast where the truth is missing."""
    other = tmp_path / "other.nc"
    source = Store(store)
    starts = source.split_indices("test")
    with xr.open_dataset(forecast) as file:
        file = file.load()
    for i, start in enumerate(starts):
        for k in range(1, N_STEPS + 1):
            if start + k < len(source.time):
                missing = source.state(int(start) + k)[0].isnan() & source.mask[0]
                file.sst.values[i, k][missing.numpy()] = 77.0
    file.to_netcdf(other)
    found = evaluate(other, store, tmp_path / "a.nc")
    expected = evaluate(forecast, store, tmp_path / "b.nc")
    xr.testing.assert_equal(found.drop_attrs(), expected.drop_attrs())
    truth = [Truth(ForecastFile(path), source) for path in (other, forecast)]
    a, b = (mean_spectra(t.file, t, [0, 2]) for t in truth)
    np.testing.assert_array_equal(a.forecast, b.forecast)
    np.testing.assert_allclose(a.truth[0], a.forecast[0], rtol=1e-6)


def test_a_forecast_that_lacks_points_of_open_water_is_damaged(store, forecast, tmp_path):
    with xr.open_dataset(forecast) as file:
        file = file.load()
    file.sst.values[2, 3, 5, 5] = np.nan
    file.to_netcdf(tmp_path / "f.nc")
    with pytest.raises(ValueError, match="sst of the forecast from .* has missing values at 3"):
        evaluate(tmp_path / "f.nc", store, tmp_path / "s.nc")


def test_a_time_without_any_truth_of_a_channel_is_left_out_of_its_mean(store, forecast, tmp_path):
    path = shutil.copytree(store, tmp_path / "s.zarr")
    first = int(Store(store).split_indices("test")[0])
    zarr.open_group(path)["fields"][first + 2, 0] = np.nan
    found = evaluate(forecast, path, tmp_path / "a.nc")
    expected = evaluate(forecast, store, tmp_path / "b.nc")
    assert found.rmse.notnull().all() and found.acc.sel(forecast="model").notnull().all()
    xr.testing.assert_equal(found.rmse.sel(channel="t2m"), expected.rmse.sel(channel="t2m"))
    of_each = expected.rmse_each.sel(forecast="model", channel="sst", region="global").values
    # The first forecast at two steps, the second one at one; a start there cannot be compared.
    kept = np.arange(len(of_each)) != 2
    kept[0] = False
    counted = of_each[kept][: len(of_each) - 2, 2]
    assert found.rmse.sel(forecast="model", channel="sst", region="global")[
        2
    ].item() == pytest.approx(
        np.sqrt(np.nanmean(np.where(np.isfinite(counted), counted, np.nan))), rel=1e-5
    )
    assert "| missing |" not in markdown(found).replace("climatology", "")


def test_a_complete_store_scores_a_file_with_missing_initial_points(
    store, forecast, make_store, tmp_path
):
    whole = make_store(tmp_path / "whole.zarr", "files", mask=True, n_times=96)
    scores = evaluate(forecast, whole, tmp_path / "s.nc")
    assert scores.rmse.notnull().all()
    n_points = scores.n_points.sel(channel="sst", region="global").values
    assert n_points[0] < n_points[1] == Store(whole).mask[0].sum()
