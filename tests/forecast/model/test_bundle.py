"""Models that predict several time steps at once."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr

from configs.load import load_config
from configs.model import ModelConfig
from configs.time.step import TimeStep
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.normalizer import differences_ahead
from forecast.model.package import load_package, save_package, start_from
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import State
from forecast.training.train import train
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample
from sphere_ops.parallel.fields import area_mean
from tests.forecast.small_run import config

BRANCHES = {"spectral": {"lmax": 8}, "integral": {"theta_cutoff": 1.2}}


def build(store: Store, bundle: int = 3, trained: bool = True, **settings) -> Forecaster:
    torch.manual_seed(0)
    model = ModelConfig.model_validate(
        {"branches": BRANCHES, "channels": 6, "blocks": 1, "bundle": bundle, **settings}
    )
    forecaster = Forecaster.from_store(model, store)
    if trained:
        with torch.no_grad():
            forecaster.network.decoder.weight.normal_(std=0.2)
    return forecaster.eval()


def state_of(store: Store, n_history: int = 0) -> State:
    series = torch.stack([store.states(i, 0, n_history + 1) for i in (0, 1)])
    return State.from_series(series, np.array([store.valid_time(i, n_history) for i in (0, 1)]))


@pytest.fixture(scope="module")
def trajectories(make_store, tmp_path_factory):
    return Store(make_store(tmp_path_factory.mktemp("t") / "store.zarr"))


@pytest.fixture(scope="module")
def monthly(make_store, tmp_path_factory):
    return Store(make_store(tmp_path_factory.mktemp("m") / "store.zarr", "files", mask=True))


def counted(forecaster: Forecaster) -> list[int]:
    calls: list[int] = []
    forecaster.network.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_one_application_predicts_the_steps_of_a_bundle(trajectories):
    forecaster, start = build(trajectories, history=2), state_of(trajectories, 1)
    calls = counted(forecaster)
    states = list(rollout(forecaster, start, 7))
    assert len(calls) == 3  # the last one for a single step
    assert [len(s.ahead) for s in states] == [2, 1, 0, 2, 1, 0, 2]
    hours = [(s.time[0] - start.time[0]) // np.timedelta64(1, "h") for s in states]
    assert hours == [1, 2, 3, 4, 5, 6, 7]
    for before, after in pairwise([start, *states]):
        torch.testing.assert_close(after.history[0], before.fields, rtol=0, atol=0)
    # The second bundle begins from the state at the end of the first, and the one before it.
    again = State(states[2].fields, states[2].time, (states[1].fields,))
    for expected, found in zip(states[3:6], rollout(forecaster, again, 3), strict=True):
        torch.testing.assert_close(found.fields, expected.fields, rtol=0, atol=0)
    assert (states[1].fields - states[0].fields).abs().max() > 0


def test_each_step_is_a_change_of_the_present_state_in_its_own_unit(trajectories):
    forecaster = build(trajectories, conserve=False, spectral_limit=None)
    start, outputs = state_of(trajectories), []
    forecaster.network.register_forward_hook(lambda *args: outputs.append(args[2]))
    states = list(rollout(forecaster, start, 3))
    of = forecaster.normalizer
    for n, state in enumerate(states):
        std = of.std_step if n == 0 else of.std_ahead[n - 1]
        change = outputs[0].unflatten(1, (3, -1))[:, n] * std[:, None, None]
        torch.testing.assert_close(state.fields, start.fields + change, rtol=1e-4, atol=1e-4)


def test_the_unit_of_a_later_step_is_the_size_of_a_change_over_as_many_steps(trajectories):
    normalizer = build(trajectories).normalizer
    train_ = trajectories.split_indices("train")
    every = torch.stack([trajectories.states(int(i), 0, len(trajectories.time)) for i in train_])
    for n in (2, 3):
        change = (every[:, n:] - every[:, :-n]).double().flatten(0, 1)
        mean = area_mean(change, trajectories.grid).mean(0)
        square = area_mean(change.square(), trajectories.grid).mean(0)
        expected = (square - mean.square()).sqrt().float()
        found = normalizer.std_ahead[n - 2]
        # Pairs are those of whole bundles: a few fewer than all.
        torch.testing.assert_close(found, expected, rtol=0.1, atol=0)
    pairs = differences_ahead(trajectories, normalizer, 2)
    starts = trajectories.windows("train", 2)
    assert len(starts) < 500
    change = torch.stack([
        trajectories.state(i, s + 2).double() - trajectories.state(i, s) for i, s in starts.tolist()
    ])  # fmt: skip
    mean = area_mean(change, trajectories.grid).mean(0)
    variance = area_mean(change.square(), trajectories.grid).mean(0) - mean.square()
    expected = variance.sqrt().float() / normalizer.std
    torch.testing.assert_close(pairs[0], expected, rtol=1e-5, atol=0)


def test_an_untrained_model_of_anomalies_is_damped_persistence_at_all_steps(monthly):
    free = {"spectral_limit": None, "nonnegative": False}
    forecaster = build(monthly, trained=False, baseline="climatology", **free).double()
    of, time = forecaster.normalizer, np.array([monthly.valid_time(3), monthly.valid_time(9)])
    anomaly = torch.randn(2, len(monthly.channels), *monthly.grid.shape, dtype=torch.float64)
    states = list(rollout(forecaster, State(of.denormalise(anomaly, time), time), 3))
    stds = torch.cat([of.std_step[None], of.std_ahead])
    for state, std in zip(states, stds, strict=True):
        kept = 1 - (std / of.std).square() / 2
        found = of.normalise(state.fields, state.time)
        expected = (anomaly * kept[:, None, None]).where(monthly.mask, torch.nan)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
    assert (stds[1] > stds[0]).any()


def test_area_means_are_kept_and_limits_act_at_all_steps(trajectories):
    forecaster = build(trajectories, range_limit=0.0)
    forecaster.network.decoder.weight.data.mul_(20)
    start = state_of(trajectories)
    low, high = forecaster.range_limiter.bounds
    free = build(trajectories, spectral_limit=None)
    free.network.decoder.weight.data.mul_(20)
    before = area_mean(start.fields, trajectories.grid)
    wild = list(rollout(free, start, 4))
    for state, other in zip(rollout(forecaster, start, 4), wild, strict=True):
        after = area_mean(state.fields, trajectories.grid)
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-3)
        x, y = (forecaster.normalise(s.fields, s.time) for s in (state, other))
        room = 0.2 * (high - low).amax()  # means are kept after the limits act
        assert (x < high + room).all() and (x > low - room).all()
        assert (y > high + room).any()


@pytest.mark.parametrize("bundle", [1, 3])
def test_input_states_may_be_several_steps_apart(trajectories, bundle):
    model = build(trajectories, bundle, history=3, history_step=2)
    assert model.n_history == 4 and len(model.normalizer.std_ahead) == max(bundle, 2) - 1
    start, inputs = state_of(trajectories, 4), []
    model.network.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    following = model.step(start)
    of, series = model.normalizer, [model.normalise(x, start.time) for x in start.series]
    changes = [(series[4] - series[2]), (series[2] - series[0])]
    expected = torch.cat([series[4], *(x / (of.std_ahead[0] / of.std)[:, None, None]
                                       for x in changes)], dim=1)  # fmt: skip
    torch.testing.assert_close(inputs[0][:, : expected.shape[1]], expected)
    assert len(following.history) == 4
    states = list(rollout(model, start, 5))
    assert states[-1].history[-1] is states[-2].fields


def test_a_package_forecasts_as_its_model(trajectories, tmp_path):
    forecaster = build(trajectories, history=2, history_step=2)
    save_package(forecaster, tmp_path / "p")
    loaded, start = load_package(tmp_path / "p"), state_of(trajectories, 2)
    for a, b in zip(rollout(loaded, start, 5), rollout(forecaster, start, 5), strict=True):
        torch.testing.assert_close(a.fields, b.fields, rtol=0, atol=0)


def test_a_bundle_starts_from_the_weights_of_a_model_of_longer_steps(trajectories, tmp_path):
    every_third = trajectories.select(time_step=TimeStep.parse("3h"), phases=True)
    free = {"history": 2, "conserve": False, "spectral_limit": None}
    daily = build(every_third, 1, **free)
    save_package(daily, tmp_path / "p")
    bundle = build(trajectories, trained=False, history_step=3, **free)
    start_from(bundle, tmp_path / "p")
    bundle.normalizer.std_ahead[1] = daily.normalizer.std_step  # of changes over three steps
    start = state_of(trajectories, 3)
    sparse = State(start.fields, start.time, start.history[:1])
    expected = daily.step(sparse).fields - start.fields
    found = list(rollout(bundle, start, 3))
    torch.testing.assert_close(found[2].fields - start.fields, expected, rtol=1e-4, atol=1e-4)
    scale = (bundle.normalizer.std_step / daily.normalizer.std_step)[:, None, None]
    first = found[0].fields - start.fields
    torch.testing.assert_close(first, expected * scale, rtol=1e-4, atol=1e-4)
    assert expected.abs().max() > 0.1
    save_package(bundle, tmp_path / "bundle")
    with pytest.raises(ValueError, match="other channels, inputs or weights"):
        start_from(daily, tmp_path / "bundle")


def test_on_another_grid_each_step_is_that_of_the_own_grid(trajectories):
    forecaster, start = build(trajectories), state_of(trajectories)
    own, finer = forecaster.grid, Grid.of(forecaster.grid.kind, 2 * forecaster.grid.nlat,
                                          2 * forecaster.grid.nlon)  # fmt: skip
    there = State(resample(start.fields, own, finer), start.time)
    back = State(resample(there.fields, finer, own), start.time)
    calls = counted(forecaster)
    found = list(rollout(ResamplingForecaster(forecaster, finer), there, 3))
    assert len(calls) == 1
    for a, b in zip(found, rollout(forecaster, back, 3), strict=True):
        torch.testing.assert_close(a.fields, resample(b.fields, own, finer), rtol=1e-5, atol=1e-3)
    scale = forecaster.normalizer.std.max()
    operators = list(rollout(forecaster.on_grid(finer), there, 3))
    assert (operators[2].fields - found[2].fields).abs().max() < scale


@pytest.mark.parametrize("rollout_steps", [1, 2])
def test_training_lowers_the_error_of_every_step(make_store, tmp_path, rollout_steps):
    settings = config(
        {"bundle": 2, "history": 2}, steps=60, rollout_steps=rollout_steps, learning_rate=1e-2,
        replay_steps=4 if rollout_steps == 1 else 0, batch_size=2, validation_rollout=3,
    )  # fmt: skip
    path = make_store(tmp_path / "s.zarr")
    train(settings, path, tmp_path / "run")
    store, forecaster = Store(path), load_package(tmp_path / "run")
    start, truth = state_of(store, 1), store.states(0, 2, 2)
    for n, state in enumerate(rollout(forecaster, start, 2)):
        x, y, z = (
            forecaster.normalise(f, state.time[:1])
            for f in (state.fields[:1], truth[n][None], start.fields[:1])
        )
        assert (x - y).square().mean() < (z - y).square().mean()


def test_a_forecast_goes_on_in_the_middle_of_a_bundle(make_store, tmp_path, monkeypatch):
    path = make_store(tmp_path / "s.zarr")
    forecaster = build(Store(path), history=2)
    whole, stopped = tmp_path / "a.zarr", tmp_path / "b.zarr"
    save_package(forecaster, tmp_path / "p")

    def forecast(out, **options):
        return run_rollout(tmp_path / "p", path, out, split="train", n_steps=5, **options)

    forecast(whole)
    monkeypatch.setattr("forecast.inference.writer.ForecastWriter.due", lambda self: True)

    def stop(done: int, total: int, note: str) -> None:
        if done >= total * 2 // 5 + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forecast(stopped, progress=stop)
    calls = []
    forward = type(forecaster.network).forward
    monkeypatch.setattr(
        type(forecaster.network), "forward", lambda *a: calls.append(1) or forward(*a)
    )
    forecast(stopped, restart=True)
    assert len(calls) == 1  # that of the second bundle
    a, b = (xr.open_zarr(x, decode_timedelta=False).load() for x in (whole, stopped))
    xr.testing.assert_equal(a, b)


def test_settings_that_do_not_go_together_are_refused():
    for words, message in {
        ("model.bundle=2", "model.persistence=damped"): "bundle is 2, with model.persistence=da",
        ("model.bundle=4", "training.replay_steps=6"): "replay_steps is 6, with model.bundle=4",
    }.items():
        with pytest.raises(ValueError, match=message):
            load_config("atmosphere_smoke", list(words))
    with pytest.raises(ValueError, match="bundle is 2, with model.noise"):
        load_config("swe", [
            "model.bundle=2", "model.noise={length_scales: [1000km]}", "training.loss=crps",
            "training.members=2",
        ])  # fmt: skip
