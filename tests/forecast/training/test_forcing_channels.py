"""Channels that are given at every time: training, rollout, packages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from configs import layout
from configs.schema import Config
from data_prep.store.reader import Store
from data_prep.store.selection import field_reader
from forecast.inference.mlflow_model import MLflowModel
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package
from forecast.model.state import State
from forecast.training.samples.batches import Windows
from forecast.training.train import train
from forecast.training.trainer import Trainer
from tests.forecast.forced_world import forced_world, settings
from tests.forecast.small_run import assert_same_weights


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return forced_world(tmp_path_factory.mktemp("forced") / "store.zarr")


@pytest.fixture(scope="module")
def run(world, tmp_path_factory) -> Path:
    """Run of a model of t2m that is given sst."""
    path = tmp_path_factory.mktemp("forced") / "run"
    train(settings(), world, path)
    return path


def error(run: Path) -> float:
    last = (run / layout.METRICS_FILE).read_text().splitlines()[-1]
    return json.loads(last)["validation/relative_l2"]


def test_a_field_that_follows_a_forcing_is_learnt_with_it_and_not_without(world, run, tmp_path):
    train(settings({"forcing": []}), world, tmp_path / "without")
    assert error(run) < 0.1
    assert error(tmp_path / "without") > 0.5


def test_a_package_holds_the_forcing_channels_and_their_scaling(world, run):
    forecaster, store = load_package(run), Store(world)
    assert forecaster.channel_names == ("t2m",) and forecaster.mask is None
    assert [(v.name, v.role) for v in forecaster.forcing_channels] == [("sst", "forcing")]
    assert torch.equal(forecaster.forcing_mask, store.mask[1:])
    assert forecaster.forcing.mean.item() == pytest.approx(store.statistics["mean"][1].item())
    text = json.loads((run / layout.PACKAGE / layout.PACKAGE_FILE).read_text())
    assert [v["name"] for v in text[layout.FORCING_CHANNELS]] == ["sst"]


def test_the_forcing_of_a_window_is_that_of_its_target_times(world):
    store = Store(world)
    windows = Windows(store.select(channels=["t2m"], forcing=["sst"]), "train", 3, 1)
    batch = windows.batch([4, 30])
    expected = torch.stack([store.states(int(i), 1, 3)[:, 1:] for i in (5, 31)])
    torch.testing.assert_close(batch.forcing, expected, rtol=0, atol=0, equal_nan=True)
    assert batch.fields.shape[1:3] == (5, 1) and batch.forcing.shape[1:3] == (3, 1)
    assert batch.first_steps(2).forcing.shape[1] == 2


def test_a_missing_forcing_is_the_mean_and_the_forecast_finite(world, run):
    forecaster = load_package(run)
    state = State(torch.full((2, 1, 8, 16), 280.0), np.array(["2001-01-01"] * 2, "M8[ns]"))
    sst = torch.full((2, 1, 8, 16), forecaster.forcing.mean.item())
    lacking = sst.clone()
    lacking[:, :, 3:6] = torch.nan
    with torch.no_grad():
        there, here = (forecaster.step(state, x).fields for x in (sst, lacking))
    torch.testing.assert_close(here, there)
    assert here.isfinite().all()


def test_a_model_with_forcing_channels_is_not_stepped_without(world, run):
    forecaster = load_package(run)
    state = State(torch.full((1, 1, 8, 16), 280.0), np.array(["2001-01-01"], "M8[ns]"))
    sst = torch.full((1, 1, 8, 16), 15.0)
    with pytest.raises(ValueError, match=r"shape none; the model takes sst .*\(1, 1, 8, 16\)"):
        forecaster.step(state)
    with pytest.raises(ValueError, match="shape none; the model takes sst"):
        list(rollout(forecaster, state, 2, forcing=[sst]))
    with pytest.raises(ValueError, match=r"shape \(1, 2, 8, 16\)"):
        forecaster.step(state, sst.repeat(1, 2, 1, 1))
    free = Forecaster.from_store(settings().model, Store(world))
    with pytest.raises(ValueError, match="the model takes none at every step"):
        free.step(State(sst.repeat(1, 2, 1, 1), state.time), sst)


@pytest.mark.parametrize("changes", [{"checkpoint_steps": True}, {"workers": 2}])
def test_recomputed_steps_and_worker_processes_change_nothing(
    world, tmp_path, monkeypatch, changes
):
    options = {"steps": 4, "rollout_steps": 2, "push_forward": 2, "validate_every": 4}
    train(settings(**options), world, tmp_path / "a")
    if "workers" in changes:
        monkeypatch.setattr(field_reader, "_IN_MEMORY_BYTES", 0)
    train(settings(**options, **changes), world, tmp_path / "b")
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_steps_pushed_forward_take_the_forcing_of_their_own_times(world):
    store = Store(world).select(channels=["t2m"], forcing=["sst"])
    seen: list[torch.Tensor] = []

    class Watching(Forecaster):
        def step(self, state, forcing=None):
            seen.append(forcing)
            return super().step(state, forcing)

    trainer = Trainer(Watching.from_store(settings().model, store), settings().training)
    batch = Windows(store, "train", 4).batch([7])
    trainer.rollout_loss(batch, 2)
    torch.testing.assert_close(torch.cat(seen), batch.forcing[0], rtol=0, atol=0, equal_nan=True)


def test_a_model_that_forecasts_nothing_is_refused(world, tmp_path):
    config = settings({"variables": ["sst"], "forcing": ["sst"]})
    with pytest.raises(ValueError, match="sst is both in data.variables and in data.forcing"):
        train(config, world, tmp_path / "run")


def test_a_role_of_the_configuration_makes_a_channel_given(world, tmp_path):
    config = settings({"variables": ["sst", "t2m"], "forcing": []}, steps=2, validate_every=2)
    tree = config.model_dump() | {"variables": {"sst": {"role": "forcing"}}}
    train(Config.model_validate(tree), world, tmp_path / "run")
    forecaster = load_package(tmp_path / "run")
    assert forecaster.channel_names == ("t2m",)
    assert [v.name for v in forecaster.forcing_channels] == ["sst"]


def test_mlflow_s_model_takes_the_forcing_of_every_step(world, run):
    forecaster, store = load_package(run), Store(world)
    served = MLflowModel(forecaster)
    states = torch.stack([store.states(i, 0, 3) for i in (5, 60)])  # (b, t, c, h, w)
    inputs = {
        "state": states[:, 0, :1].numpy(),
        "time": store.time[[5, 60]].astype("M8[s]").astype(int),
        "forcing": states[:, 1:, 1:].numpy(),
    }
    with torch.no_grad():
        found = served.predict(inputs, {"n_steps": 2})
        initial = State(states[:, 0, :1], store.time[[5, 60]])
        steps = rollout(forecaster, initial, 2, forcing=states[:, 1:, 1:].unbind(1))
        expected = torch.stack([state.fields for state in steps], 1).numpy()
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match=r"forcing of shape None; expected \(2, 1, 1, 8, 16\)"):
        served.predict({name: inputs[name] for name in ("state", "time")})
