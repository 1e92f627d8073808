"""Scores of forecast files with members, against their definitions over all starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.verification import ensembles
from forecast.verification.evaluate import evaluate
from forecast.verification.open_truth import open_truth
from forecast.verification.report import table
from forecast.verification.score_table import SCORES
from forecast.verification.scoring.reading import pieces
from tests.forecast.stand_in import Turning

N_MEMBERS, N_STEPS = 5, 3
THRESHOLDS = ["t2m>0.2", "t2m>q75", "sst>30"]


def with_members(single: Path, out: Path, channels: tuple[str, ...], seed: int = 0) -> Path:
    """Write a forecast with members about a single one, missing where it is missing."""
    rng = np.random.default_rng(seed)
    with xr.open_dataset(single) as file:
        file = file.load()
    for name in channels:
        size = 0.3 * float(file[name].std())
        field = file[name].expand_dims(member=np.arange(N_MEMBERS, dtype=np.int32), axis=1)
        noise = rng.normal(0, size, field.shape).astype("f4")
        file[name] = field.copy(data=field.values + noise).assign_attrs(file[name].attrs)
    file.to_netcdf(out)
    return out


@pytest.fixture(scope="module")
def series(make_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensembles")
    path = make_store(folder / "store.zarr", "files", mask=True, n_times=96)
    run_rollout(Turning(path, 0.9), path, folder / "one.nc", split="validation", n_steps=N_STEPS)
    with_members(folder / "one.nc", folder / "f.nc", ("sst", "t2m"))
    return path


@pytest.fixture(scope="module")
def scored(series, tmp_path_factory):
    out = tmp_path_factory.mktemp("scores") / "s.nc"
    return evaluate(series.parent / "f.nc", series, out, regions=["tropics"], thresholds=THRESHOLDS)


@pytest.fixture(scope="module")
def fields(series):
    """Return members (n, k, c, m, h, w) in float64, truth (n, k, c, h, w), and area weights."""
    store = Store(series)
    starts = store.split_indices("validation")
    truth = np.stack([store.states(int(i), 0, N_STEPS + 1).numpy() for i in starts])
    with xr.open_dataset(series.parent / "f.nc") as file:
        members = np.stack([file[name].values for name in store.channel_names], 3)
    return np.moveaxis(members, 1, 0), truth, store.grid.area_weights.numpy()


def test_scores_of_members_are_those_of_the_definitions(scored, fields):
    members, truth, area = fields
    rows = np.abs(latitudes(area)) <= 20
    for region, inside in (("global", True), ("tropics", rows[:, None])):
        of = scored.sel(forecast="model", region=region)
        true = np.where(inside, truth, np.nan)
        for name, values in (
            ("crps", ensembles.crps(members, true, area).mean(0)),
            ("spread", np.sqrt(ensembles.variance(members, true, area).mean(0))),
            ("energy_score", ensembles.energy_score(members, true, area).mean(0)),
            ("rank_histogram", ensembles.rank_histogram(members, true, area).mean(0)),
        ):
            expected = np.swapaxes(values, 0, 1)  # (c, k, ...)
            # The sort keeps float32; sums are float64.
            np.testing.assert_allclose(of[name], expected, rtol=1e-6, err_msg=name)
        mean_error = ensembles.mean_squared_error(members, true, area).mean(0).T
        np.testing.assert_allclose(of.rmse, np.sqrt(mean_error), rtol=1e-6)
        factor = np.sqrt((N_MEMBERS + 1) / N_MEMBERS)
        np.testing.assert_allclose(of.spread_skill, factor * of.spread / of.rmse, rtol=1e-12)


def latitudes(area: np.ndarray) -> np.ndarray:
    from sphere_ops.grid import Grid

    return Grid.legendre_gauss(len(area), 2 * len(area)).latitude.numpy()


def test_events_are_scored_at_numbers_and_at_quantiles_of_the_training_states(
    scored, series, fields
):
    members, truth, area = fields
    store = Store(series)
    train = store.split_indices("train")
    t2m = np.stack([store.state(int(i))[1].numpy() for i in train])
    for t, limit in ((0, np.float64(0.2)), (1, np.quantile(t2m, 0.75, axis=0))):
        at = {"forecast": "model", "region": "global", "channel": "t2m"}
        found = scored.sel(at).isel(threshold=t)
        y, x = truth[:, :, 1], members[:, :, :, 1]
        brier = ensembles.brier_score(x, y, limit[None], area).mean(0)[:, 0]
        np.testing.assert_allclose(found.brier, brier, rtol=1e-6)
        sums = ensembles.reliability(x, y, limit[None], area)
        for name, expected in sums._asdict().items():
            of = found[f"reliability_{name}"]
            np.testing.assert_allclose(of, expected.mean(0)[:, 0], rtol=1e-6)
    assert scored.brier.sel(channel="sst", threshold="t2m>0.2").isnull().all()
    assert list(scored.threshold.values) == THRESHOLDS


def test_a_baseline_is_an_ensemble_of_one(scored):
    for name in ("persistence", "climatology"):
        of = scored.sel(forecast=name)
        np.testing.assert_array_equal(of.crps, of.mae)
        assert of.spread.isnull().all() and of.brier.isnull().all()


def test_values_of_each_start_have_the_scores_as_their_mean(scored):
    model = scored.sel(forecast="model")
    np.testing.assert_allclose(model.crps_each.mean("init_time"), model.crps, rtol=1e-6)
    spread = np.sqrt(model.spread_each.mean("init_time"))
    np.testing.assert_allclose(spread, model.spread, rtol=1e-6)
    assert "rank_histogram_each" not in scored and "brier_each" in scored


def test_pieces_of_one_lead_time_change_no_score(scored, series, tmp_path, monkeypatch):
    monkeypatch.setattr("forecast.verification.scoring.reading._BLOCK_BYTES", 1)
    again = evaluate(
        series.parent / "f.nc",
        series,
        tmp_path / "s.nc",
        regions=["tropics"],
        thresholds=THRESHOLDS,
    )
    xr.testing.assert_equal(again.drop_attrs(), scored.drop_attrs())


@pytest.mark.parametrize("name", ["one.nc", "f.nc"])
def test_a_piece_is_as_large_for_many_members_as_for_one(series, monkeypatch, name):
    truth = open_truth(ForecastFile(series.parent / name), series)
    block = 4 * truth.valid[0].size * N_MEMBERS * 2  # two lead times of one channel
    monkeypatch.setattr("forecast.verification.scoring.reading._BLOCK_BYTES", block)
    sizes = [piece.fields.nbytes for piece in pieces(truth, range(2))]
    assert len(sizes) > 1 and 0 < max(sizes) <= block


def test_the_table_of_an_ensemble_has_crps_and_spread(scored):
    lines = table(scored).splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("variable"))
    assert "spread" in lines[header - 1] + lines[header] and "crps" in lines[header]


def test_an_event_of_a_single_forecast_has_probability_zero_or_one(series, fields, tmp_path):
    _, truth, _ = fields
    scores = evaluate(
        series.parent / "one.nc", series, tmp_path / "s.nc", thresholds=["t2m>0.2"]
    ).sel(forecast="model", region="global", channel="t2m", threshold="t2m>0.2")
    with xr.open_dataset(series.parent / "one.nc") as file:
        wrong = (file.t2m.values > 0.2) != (truth[:, :, 1] > 0.2)
    area = Store(series).grid.area_weights.numpy()
    np.testing.assert_allclose(scores.brier, (wrong * area).sum((-2, -1)).mean(0), rtol=1e-9)


@pytest.mark.parametrize("text", ["t2m", "t2m>warm", "t2m>q0", "d2m>3"])
def test_a_threshold_that_is_none_is_refused(series, tmp_path, text):
    with pytest.raises(ValueError, match=f"threshold '{text}'; expected"):
        evaluate(series.parent / "one.nc", series, tmp_path / "s.nc", thresholds=[text])
    assert not list(tmp_path.iterdir())


def test_all_scores_of_the_ensemble_mean_are_in_the_file(scored):
    assert set(SCORES) <= set(scored)
