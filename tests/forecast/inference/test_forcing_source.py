"""Forecasts of models that are given channels at every time, and from stores of shorter steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from configs.model import ModelConfig
from configs.time.step import TimeStep
from data_prep.store.reader import Store
from forecast.inference.forcing_source import ForcingSource
from forecast.inference.forecast import run_rollout
from forecast.inference.initial_states import InitialStates
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package
from forecast.training.train import train
from forecast.verification.evaluate import evaluate
from sphere_ops.grid import Grid
from tests.forecast.forced_world import MODEL, forced_world, settings

START = "2001-01-31T12"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Folder with a store of 160 times, its first 130 times, and a model that was trained on it."""
    path = tmp_path_factory.mktemp("forced")
    forced_world(path / "store.zarr")
    train(settings(), path / "store.zarr", path / "run")
    return path


def error(file: Path, store: Path) -> float:
    """Return the largest error of the last state of a forecast over the spread of the truth."""
    with xr.open_dataset(file, decode_timedelta=False) as forecast:
        place = Store(store).find(forecast.valid_time.values[0, -1:].astype("M8[ns]"))[0]
        truth = Store(store).state(int(place))[0].numpy()
        return float(np.abs(forecast.t2m.values[0, -1] - truth).max() / truth.std())


def test_a_forecast_follows_the_forcing_of_its_store(folder, tmp_path):
    out, store = tmp_path / "f.nc", folder / "store.zarr"
    run_rollout(folder / "run", store, out, init_times=[START], n_steps=20)
    assert error(out, store) < 0.3
    with xr.open_dataset(out) as forecast:
        assert "t2m" in forecast and "sst" not in forecast
        assert forecast.attrs["comment"] == "sst at every time from store.zarr"
    forecaster, whole = load_package(folder / "run"), Store(store)
    initial = InitialStates(whole, forecaster, init_times=[START])
    place = initial.starts[0][0]
    fields = (whole.state(place + n)[None, 1:] for n in range(1, 21))
    with torch.no_grad():
        *_, last = rollout(forecaster, initial.read([0]), 20, forcing=fields)
    with xr.open_dataset(out) as forecast:
        np.testing.assert_array_equal(forecast.t2m.values[0, -1], last.fields[0, 0].numpy())


def test_a_forecast_beyond_the_end_of_its_forcing_is_refused(folder, tmp_path, refused):
    words = ("rollout", folder / "run/package", "--data", folder / "store.zarr")
    words += ("--out", tmp_path / "f.nc", "--init-time", "2001-02-08T12")
    line = refused(*words, "--steps", 9)
    assert "needs sst at 2001-02-10T00:00, which" in line
    assert "its last time is 2001-02-09T18:00); take fewer steps (--steps 5), start earlier" in line
    assert "--forcing" in line
    assert not (tmp_path / "f.nc").exists()


def test_initial_times_of_a_split_that_have_no_forcing_are_left_out(folder, tmp_path, caplog):
    with caplog.at_level("INFO"):
        run_rollout(folder / "run", folder / "store.zarr", tmp_path / "f.nc", n_steps=4)
    with xr.open_dataset(tmp_path / "f.nc") as forecast:
        assert forecast.sizes["init_time"] == 16
    assert "4 of 20 initial times are left out: sst end before 4 steps" in caplog.text
    with pytest.raises(ValueError, match=r"take fewer steps \(--steps 19\)"):
        run_rollout(folder / "run", folder / "store.zarr", tmp_path / "g.nc", n_steps=21)


def test_another_store_can_give_the_forcing(folder, tmp_path, run_forecast):
    out = tmp_path / "f.nc"
    forced_world(tmp_path / "long.zarr", n=170)
    words = ("rollout", folder / "run/package", "--data", folder / "store.zarr", "--steps", 9)
    words += ("--out", out, "--init-time", "2001-02-08T12")
    assert run_forecast(*words, "--forcing", tmp_path / "long.zarr") == 0
    with xr.open_dataset(out) as forecast:
        assert forecast.attrs["comment"] == "sst at every time from long.zarr"
        assert np.isfinite(forecast.t2m.values).all()


def test_the_climatology_of_a_store_can_give_the_forcing(make_store, tmp_path):
    store = Store(make_store(tmp_path / "s.zarr", "files", mask=True))
    config = ModelConfig.model_validate(MODEL)
    forecaster = Forecaster.from_store(config, store.select(channels=["t2m"], forcing=["sst"]))
    source = ForcingSource(forecaster, store, "climatology")
    assert source.n_steps(store.time[-1:], 30).tolist() == [30]
    steps = list(source.steps(store.time[-1:], [0], 3, torch.device("cpu")))
    expected = store.statistics["climatology"][[0, 1, 2], :1]
    torch.testing.assert_close(torch.cat(steps), expected, rtol=0, atol=0, equal_nan=True)
    out = tmp_path / "f.nc"
    run_rollout(forecaster, tmp_path / "s.zarr", out, n_steps=20, forcing="climatology")
    with xr.open_dataset(out) as forecast:
        assert forecast.sizes["init_time"] == 12
        assert forecast.attrs["comment"] == "sst at every time from the climatology of s.zarr"


def test_a_source_that_does_not_fit_is_refused(folder, make_store, tmp_path):
    others = make_store(tmp_path / "others.zarr", "files", channels=("t2m", "msl"))
    small = forced_world(tmp_path / "small.zarr", grid=Grid.legendre_gauss(6, 12))
    cases = (
        (others, "given sst at every time, which .*others.zarr does not have; it has t2m, msl"),
        (small, "the forcing in .*small.zarr is on .*6×12"),
        ("climatology", "store.zarr has no climatology to force with"),
    )
    for forcing, message in cases:
        with pytest.raises(ValueError, match=message):
            run_rollout(
                folder / "run", folder / "store.zarr", tmp_path / "f.nc", init_times=[START],
                n_steps=2, forcing=forcing,
            )  # fmt: skip


@pytest.mark.parametrize("transfer", ["fields", "operators"])
def test_a_forcing_on_another_grid_is_taken_to_that_of_the_model(folder, tmp_path, transfer):
    store = forced_world(tmp_path / "s.zarr", grid=Grid.equiangular(13, 24))
    out = tmp_path / "f.nc"
    options = {"transfer": transfer, "fill": "nearest" if transfer == "operators" else None}
    run_rollout(folder / "run", store, out, init_times=[START], n_steps=6, **options)
    assert error(out, store) < 0.4


def test_scores_of_a_forced_model_are_those_of_its_own_channels(folder, tmp_path):
    store, out = folder / "store.zarr", tmp_path / "f.nc"
    run_rollout(folder / "run", store, out, n_steps=4)
    scores = evaluate(out, store, tmp_path / "scores.nc")
    assert scores.channel.values.tolist() == ["t2m"]
    rmse = scores.rmse.sel(channel="t2m")[:, 1:]
    assert (rmse.sel(forecast="model") < 0.2 * rmse.sel(forecast="persistence")).all()


def test_a_model_of_12_hours_starts_from_a_store_of_6_hours(folder, tmp_path):
    part = Store(folder / "store.zarr").select(time_step=TimeStep.parse("12h"))
    config = ModelConfig.model_validate({**MODEL, "history": 2, "forcing": ["insolation"]})
    forecaster = Forecaster.from_store(config, part).eval()
    with torch.no_grad():
        forecaster.network.decoder.weight.normal_(std=0.1)
    store, out = Store(folder / "store.zarr"), tmp_path / "f.nc"
    run_rollout(forecaster, store.path, out, init_times=["2001-02-05T06"], n_steps=3)
    initial = InitialStates(store, forecaster, init_times=["2001-02-05T06"]).read([0])
    place = int(store.find(initial.time)[0])
    for found, expected in ((initial.fields, place), (initial.history[0], place - 2)):
        torch.testing.assert_close(found[0], store.state(expected), equal_nan=True)
    with torch.no_grad():
        states = list(rollout(forecaster, initial, 3))
    assert states[-1].time[0] == np.datetime64("2001-02-06T18")
    with xr.open_dataset(out) as forecast:
        np.testing.assert_array_equal(forecast.t2m.values[0, -1], states[-1].fields[0, 0].numpy())
    scores = evaluate(out, store.path, tmp_path / "scores.nc")
    assert np.isfinite(scores.rmse.values).all() and scores.sizes["lead_time"] == 4
    with pytest.raises(ValueError, match="first time to start from is 2001-01-01T12:00, not"):
        InitialStates(store, forecaster, init_times=["2001-01-01T06"])


def test_a_step_that_is_no_multiple_of_the_store_s_is_refused(folder, tmp_path):
    forecaster = load_package(folder / "run")
    forecaster.time_step = TimeStep.parse("9h")
    with pytest.raises(ValueError, match="steps by 9h, which is no multiple of the 6h of"):
        run_rollout(forecaster, folder / "store.zarr", tmp_path / "f.nc", n_steps=2)
