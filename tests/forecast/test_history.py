"""Models with several input states: those of training, of a rollout and of serving."""

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.initial_times import find_initial_times
from forecast.inference.mlflow_model import MLflowModel
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package, save_package
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import State
from forecast.training.samples.batches import Windows
from forecast.training.train import train
from forecast.training.trainer import Trainer
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample
from tests.forecast.small_run import config


def trained(store: Store, history: int, **model) -> Forecaster:
    torch.manual_seed(0)
    forecaster = Forecaster.from_store(config({"history": history, **model}).model, store)
    with torch.no_grad():
        forecaster.network.decoder.weight.normal_(std=0.3)
    return forecaster.eval()


def test_the_network_sees_the_steps_that_led_to_the_state(stores):
    store = Store(stores["files"])
    forecaster = trained(store, 3, baseline="climatology")
    seen = []
    forecaster.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    oldest, older, fields = store.states(4, 0, 3)[:, None]
    time = np.array([store.valid_time(6)])
    forecaster.step(State(fields, time, (oldest, older)))
    anomaly = [
        forecaster.normalizer.normalise(x, store.time_step.advance(time, -n)).nan_to_num()
        for n, x in enumerate((fields, older, oldest))
    ]
    scale = forecaster.normalizer.step_scale
    steps = [(anomaly[n] - anomaly[n + 1]) / scale for n in range(2)]
    torch.testing.assert_close(seen[0][:, :6], torch.cat([anomaly[0], *steps], 1))
    with pytest.raises(ValueError, match=r"sees 3 states \(model.history\), got 2; give a state "):
        forecaster.step(State(fields, time, (older,)))


def test_a_rollout_sees_its_own_states(stores):
    store = Store(stores["trajectory"])
    forecaster = trained(store, 3)
    initial = State.from_series(store.states(0, 0, 3)[None], np.array([store.valid_time(0, 2)]))
    fields, times = [*initial.series], [initial.time]
    for _ in range(4):
        following = forecaster.step(State(fields[-1], times[-1], (fields[-3], fields[-2])))
        fields.append(following.fields)
        times.append(store.time_step.advance(times[-1]))
    found = list(rollout(forecaster, initial, 4))
    for state, expected_time, expected in zip(found, times[1:], fields[3:], strict=True):
        np.testing.assert_array_equal(state.time, expected_time)
        torch.testing.assert_close(state.fields, expected, rtol=0, atol=0)


def test_a_split_too_short_for_the_past_is_refused(stores):
    message = "no 7 consecutive states; ask for fewer rollout steps, for less model.history or"
    with pytest.raises(ValueError, match=message):
        Windows(Store(stores["trajectory"]), "train", 0, n_history=6)


@pytest.mark.parametrize("kind", ["trajectory", "files"])
def test_a_window_has_the_states_before_it_and_all_are_of_its_split(stores, kind):
    store = Store(stores[kind])
    plain, windows = Windows(store, "train", 2), Windows(store, "train", 2, n_history=2)
    assert len(windows) == len(Windows(store, "train", 4)) < len(plain)
    batch = windows.batch([0, 5, len(windows) - 1])
    assert len(batch.initial.history) == batch.targets.shape[1] == 2
    for b, (index, step) in enumerate(batch.starts):
        expected = store.states(index, step - 2, 5)
        found = torch.stack([*(x[b] for x in batch.initial.series), *batch.targets[b]])
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
        assert batch.time[b] == store.valid_time(index, step)
        span = [index] if store.has_trajectories else range(index - 2, index + 3)
        assert {store.split[i] for i in span} == {"train"}


def test_what_is_pushed_forward_leaves_its_states_behind(stores):
    store = Store(stores["trajectory"])
    settings = config({"history": 2})
    trainer = Trainer(trained(store, 2), settings.training)
    batch = Windows(store, "train", 3, n_history=1).batch([0, 4])
    *_, before, last = rollout(trainer.forecaster, batch.initial, 3)
    normalise = trainer.forecaster.normalizer.normalise
    target = normalise(batch.targets[:, 2], last.time)
    expected = trainer.loss(normalise(last.fields, last.time), target)
    torch.testing.assert_close(trainer.rollout_loss(batch, 1), expected)
    assert not torch.allclose(before.fields, batch.targets[:, 1])


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_forecast_starts_where_the_store_has_the_states_before(stores, tmp_path, suffix):
    store = Store(stores["trajectory"])
    forecaster = trained(store, 3)
    save_package(forecaster, tmp_path / "package")
    out = tmp_path / f"f{suffix}"
    run_rollout(tmp_path / "package", store.path, out, split="train", n_steps=3, batch_size=3)
    with xr.open_dataset(out, chunks=None) as file:
        for i in range(4):
            time = np.array([store.valid_time(i, 2)])
            initial = State.from_series(store.states(i, 0, 3)[None], time)
            steps = [state.fields for state in rollout(forecaster, initial, 3)]
            expected = torch.cat([initial.fields, *steps])
            np.testing.assert_array_equal(file.init_time[i], time[0])
            for c, name in enumerate(store.channel_names):
                rounding = 1e-6 * float(expected[:, c].abs().max())  # of another batch size
                np.testing.assert_allclose(
                    file[name].values[i], expected[:, c], rtol=0, atol=rounding
                )


def test_starts_without_a_past_are_left_out_or_refused(stores):
    series, trajectories = Store(stores["files"]), Store(stores["trajectory"])
    assert find_initial_times(series, "train", n_history=2)[:2] == [(2, 0), (3, 0)]
    assert find_initial_times(series, "test", n_history=2) == find_initial_times(series, "test")
    assert find_initial_times(trajectories, n_history=2) == [(5, 2)]
    assert find_initial_times(series, init_times=["2000-03"], n_history=2) == [(2, 0)]
    with pytest.raises(
        ValueError, match=r"begins at 2000-01-01.*first .* is 2000-03-01.*not 2000-02"
    ):
        find_initial_times(series, init_times=["2000-02"], n_history=2)
    with pytest.raises(ValueError, match="no time in split 'train' .* has the 24 before it"):
        find_initial_times(series, "train", n_history=24)
    with pytest.raises(ValueError, match="has 6 times, the model sees 7 at once"):
        find_initial_times(trajectories, n_history=6)


def test_a_missing_value_before_the_initial_state_is_refused(make_store, tmp_path):
    path = make_store(tmp_path / "store.zarr")
    zarr.open_group(path)["fields"][5, 0, 2, 3, 4] = np.nan
    with pytest.raises(
        ValueError, match="divergence at trajectory 5, .* or before .first at .*; a"
    ):
        run_rollout(trained(Store(path), 2), path, tmp_path / "f.nc", n_steps=2)


def test_on_another_grid_the_past_goes_along(stores):
    store = Store(stores["trajectory"])
    forecaster, fine = trained(store, 2), Grid.legendre_gauss(16, 32)
    state = State.from_series(store.states(0, 0, 2)[None], np.array([store.valid_time(0, 1)]))
    *_, own = rollout(forecaster, state, 3)
    there = state.map(lambda x: resample(x, store.grid, fine))
    *_, found = rollout(ResamplingForecaster(forecaster, fine), there, 3)
    expected = resample(own.fields, store.grid, fine)
    scale = store.statistics["std"].float()[:, None, None]  # 30 is added to the first channel
    assert ((own.fields - state.fields) / scale).abs().amax((0, 2, 3)).min() > 0.1
    torch.testing.assert_close(found.fields / scale, expected / scale, rtol=0, atol=1e-3)


def test_served_it_takes_the_states_in_the_order_of_time(stores):
    store = Store(stores["trajectory"])
    forecaster = trained(store, 2)
    states = store.states(0, 0, 2)
    time = np.array([store.valid_time(0, 1)])
    steps = rollout(forecaster, State.from_series(states[None], time), 3)
    expected = torch.stack([state.fields for state in steps], 1)
    served = MLflowModel(forecaster)
    inputs = {"state": states[None].numpy(), "time": time.astype("datetime64[s]").astype(int)}
    np.testing.assert_array_equal(served.predict(inputs, {"n_steps": 3}), expected.numpy())
    with pytest.raises(ValueError, match=r"expected \(b, 2, 3, 8, 16\) .* in the order of time"):
        served.predict({**inputs, "state": states.numpy()})


def test_two_states_tell_what_one_does_not(make_store, tmp_path):
    """Use fields of which half rotate westward: only the previous state shows the direction."""
    path = make_store(tmp_path / "store.zarr", n_trajectories=12)
    fields = zarr.open_group(path)["fields"]
    fields[::2] = fields[::2][:, ::-1]
    errors = []
    for history in (1, 2):
        settings = config({"history": history}, steps=120, validate_every=120, learning_rate=3e-2)
        run = tmp_path / f"run{history}"
        train(settings, path, run)
        store, forecaster = Store(path), load_package(run / "package")
        batch = Windows(store, "train", 1, history - 1).batch(range(20))
        trainer = Trainer(forecaster.eval(), settings.training)
        errors.append(trainer.rollout_loss(batch, 1).item())
    assert errors[1] < 0.5 * errors[0]
