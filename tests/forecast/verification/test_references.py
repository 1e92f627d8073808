"""Anomalies about a climatology or a mean state, from every source of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from configs.model import ModelConfig
from data_prep.store.climatology import DailyClimatology
from data_prep.store.gather.daily import write_daily_climatology
from data_prep.store.reader import Store
from data_prep.store.statistics import write_statistics
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.model.forecaster import Forecaster
from forecast.model.package import save_package
from forecast.verification.evaluate import evaluate
from forecast.verification.references import References
from forecast.verification.report import headline
from forecast.verification.score_table import SCORES
from tests.forecast import stand_in
from tests.forecast.stand_in import Turning

STATISTICS = ("mean", "std", "std_step", "time_mean", "climatology")


def array(path: Path, name: str) -> zarr.Array:
    found = zarr.open_group(path, mode="r+")[name]
    assert isinstance(found, zarr.Array)
    return found


def without_splits(path: Path) -> Path:
    """Return the store as made with `data.splits=null`."""
    array(path, "split")[:] = ""
    group = zarr.open_group(path, mode="r+")
    for name in [key for key in group.array_keys() if key.startswith(STATISTICS)]:
        del group[name]
    return path


def contrast(store: Path) -> None:
    """Add a constant pattern of zero area mean to all states, far larger than their changes."""
    fields = array(store, "fields")
    latitude = np.radians(array(store, "latitude")[:])
    fields[...] = fields[...] + 20 * np.nanstd(fields[...]) * np.sin(latitude)[:, None]


def package(store: Path, out: Path, baseline: str) -> Path:
    """Package of a model of the store."""
    settings = {"branches": {"spectral": {"lmax": 6}}, "channels": 4, "blocks": 1}
    config = ModelConfig.model_validate({**settings, "baseline": baseline})
    save_package(Forecaster.from_store(config, Store(store)), out)
    return out


@pytest.fixture
def series(make_store, tmp_path) -> Path:
    return make_store(tmp_path / "series.zarr", "files", mask=True, n_times=96)


@pytest.mark.parametrize("stored", [True, False], ids=["in the store", "from its fields"])
@pytest.mark.parametrize("kind", ["trajectory", "files"])
def test_a_lasting_contrast_between_regions_is_no_correlation(
    make_store, tmp_path, monkeypatch, kind, stored
):
    days = {} if kind == "trajectory" else {"time_step": "1d", "mask": True}
    path = make_store(tmp_path / "store.zarr", kind, **days)
    contrast(path)
    store = Store(path)
    if stored:
        write_statistics(zarr.open_group(path, mode="r+"))
    else:  # a store that was made before mean states were kept
        group = zarr.open_group(path, mode="r+")
        for name in [key for key in group.array_keys() if key.startswith("time_mean")]:
            del group[name]
    monkeypatch.setattr(stand_in, "TURN", stand_in.TURN + np.pi / 4)  # half a turn in 4 steps
    run_rollout(Turning(path), path, tmp_path / "f.nc", split="train", n_steps=4)
    scores = evaluate(tmp_path / "f.nc", path, tmp_path / "s.nc").sel(
        forecast="model", region="global"
    )

    starts = store.split_indices("train")[: 4 if kind == "trajectory" else None]
    truth = np.stack([store.states(int(i), 0, 5).numpy() for i in starts]).astype(np.float64)
    states = truth if kind == "trajectory" else truth[:, :1]
    if kind == "trajectory":
        states = np.stack([store.states(int(i), 0, 6).numpy() for i in starts])
    mean_state = states.astype(np.float64).mean((0, 1))
    with xr.open_dataset(tmp_path / "f.nc") as file:
        forecast = np.stack([file[name].values for name in store.channel_names], 2)
    area, constant = store.grid.area_weights.numpy(), store.statistics["mean"].numpy()
    expected = SCORES["acc"](forecast, truth, mean_state, area).T
    np.testing.assert_allclose(scores.acc, expected, atol=1e-4)  # float32 of a far larger mean
    about_a_constant = SCORES["acc"](forecast, truth, constant[:, None, None], area).T
    assert about_a_constant[:, 4].min() > 0.9 > 0.6 > expected[:, 4].max()


def test_without_a_training_split_all_but_anomalies_is_scored(
    series, tmp_path, run_forecast, capsys
):
    run_rollout(Turning(series, 0.9), series, tmp_path / "f.nc", split="train", n_steps=3)
    expected = evaluate(tmp_path / "f.nc", series, tmp_path / "a.nc", baselines=["persistence"])
    bare = without_splits(series)
    words = ["evaluate", tmp_path / "f.nc", "--data", bare, "--out", tmp_path / "s.nc"]
    assert run_forecast(*words) == 0
    said = capsys.readouterr().out
    assert "no anomaly correlation: store" in said and "--climatology names a package" in said
    with xr.open_dataset(tmp_path / "s.nc") as scores:
        assert scores.acc.isnull().all() and scores.relative_l2.isnull().all()
        assert scores.activity.notnull().all() and scores.skill[..., 1:].notnull().all()
        for name in ("rmse", "mae", "bias"):
            model = {"forecast": "model"}
            xr.testing.assert_allclose(scores[name].sel(model), expected[name].sel(model))


@pytest.mark.parametrize("source", ["package", "store"])
def test_climatology_and_means_may_come_from_a_package_or_another_store(
    series, make_store, tmp_path, source
):
    run_rollout(Turning(series, 0.9), series, tmp_path / "f.nc", split="train", n_steps=3)
    expected = evaluate(tmp_path / "f.nc", series, tmp_path / "a.nc")
    given = package(series, tmp_path / "package", "climatology")
    if source == "store":
        given = make_store(tmp_path / "other.zarr", "files", mask=True, n_times=96)
    scores = evaluate(
        tmp_path / "f.nc", without_splits(series), tmp_path / "s.nc", climatology=given
    )
    xr.testing.assert_allclose(scores, expected)
    assert str(given) in scores.attrs["comment"]
    assert not any("anomaly correlation" in line for line in headline(scores))


def test_a_package_with_means_alone_gives_the_relative_error(series, tmp_path):
    given = package(series, tmp_path / "package", "mean")
    run_rollout(Turning(series, 0.9), series, tmp_path / "f.nc", split="train", n_steps=3)
    scores = evaluate(
        tmp_path / "f.nc", without_splits(series), tmp_path / "s.nc", climatology=given
    )
    assert scores.relative_l2.notnull().all() and scores.acc.isnull().all()


def test_a_climatology_that_does_not_fit_is_refused(series, make_store, tmp_path):
    run_rollout(Turning(series), series, tmp_path / "f.nc", n_steps=2)
    other_grid = make_store(tmp_path / "grid.zarr", "files", nlat=10, nlon=20)
    fewer = make_store(tmp_path / "fewer.zarr", "files", channels=("sst",))
    for given, error, message in (
        (tmp_path / "nothing", FileNotFoundError, "no package or store at .*nothing"),
        (other_grid, ValueError, "climatology of store .* is on legendre-gauss 10×20"),
        (fewer, ValueError, "store .*fewer.zarr has no climatology of t2m"),
    ):
        with pytest.raises(error, match=message):
            evaluate(tmp_path / "f.nc", series, tmp_path / "s.nc", climatology=given)


def test_points_that_the_climatology_lacks_are_left_out(series, make_store, tmp_path):
    run_rollout(Turning(series), series, tmp_path / "f.nc", split="train", n_steps=2)
    larger_mask = make_store(tmp_path / "other.zarr", "files", mask=True, n_times=96)
    array(larger_mask, "climatology")[:, 1, 0, :5] = np.nan
    scores = evaluate(tmp_path / "f.nc", series, tmp_path / "s.nc", climatology=larger_mask)
    assert np.isfinite(scores.rmse).all()
    assert any(line.endswith("have values: 5 of t2m") for line in headline(scores))
    assert torch.isfinite(Store(series).statistics["climatology"][:, 1]).all()


def test_a_climatology_by_day_comes_before_that_by_month(make_store, tmp_path):
    path = make_store(tmp_path / "store.zarr", "files", time_step="1d", n_times=1500)
    write_daily_climatology(zarr.open_group(path, mode="r+"), 5)
    run_rollout(Turning(path), path, tmp_path / "f.nc", split="test", n_steps=2)
    file = ForecastFile(tmp_path / "f.nc")
    references = References.of_store(Store(path), file)
    assert references.kind.startswith("the daily climatology of store")
    time = file.valid_time[:3, 1]
    found = references.of_anomalies(time)
    expected = DailyClimatology(path).at(time)
    np.testing.assert_array_equal(found, expected.numpy())
    scores = evaluate(tmp_path / "f.nc", path, tmp_path / "s.nc")
    assert "the daily climatology" in str(scores.attrs)
