"""Rollout: predictions as the next input, and the contents of a forecast file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from configs.time.step import TimeStep
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.initial_times import find_initial_times
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.state import State
from tests.forecast.small_run import config
from tests.forecast.stand_in import Turning


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("trajectories") / "store.zarr")


@pytest.fixture(scope="module")
def masked_store(make_store, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "store.zarr"
    return make_store(path, "files", mask=True)


class Doubling:
    """Network x -> 2 x."""

    def __init__(self, time_step: str, weight: float = 2.0) -> None:
        self.time_step = TimeStep.parse(time_step)
        self.weight = torch.tensor(weight, requires_grad=True)

    def step(self, state):
        return state.advance(self.weight * state.fields, self.time_step.advance(state.time))


THREE = State(torch.full((1, 1, 2, 2), 3.0), np.array(["2001-01-01"], dtype="datetime64[ns]"))


def test_predictions_are_fed_back():
    yielded = [s.fields.flatten()[0].item() for s in rollout(Doubling("1h"), THREE, 4)]
    assert yielded == [6.0, 12.0, 24.0, 48.0]


def test_valid_times_count_from_the_start():
    time = np.array(["2001-01-31", "2001-02-14T12"], dtype="datetime64[ns]")
    states = list(rollout(Doubling("1mo"), State(torch.ones(2, 1, 2, 2), time), 2))
    expected = np.array(["2001-03-31", "2001-04-14T12"], dtype="datetime64[ns]")
    np.testing.assert_array_equal(states[-1].time, expected)


def test_gradients_flow_through_all_steps_when_asked_for():
    model = Doubling("1h")
    *_, last = rollout(model, THREE, 3, grad=True)
    last.fields.mean().backward()
    assert model.weight.grad.item() == pytest.approx(3 * 2.0**2 * 3.0)


def test_grad_mode_of_the_caller_is_left_alone():
    for state in rollout(Doubling("1h"), THREE, 2):
        assert not state.fields.requires_grad
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_the_file_holds_what_the_rollout_yields(store, tmp_path, suffix):
    model = Turning(store)
    run_rollout(model, store, tmp_path / f"f{suffix}", split="train", n_steps=5, batch_size=3)
    with xr.open_dataset(tmp_path / f"f{suffix}", chunks=None) as file:
        source = Store(store)
        fields = torch.stack([source.state(i) for i in range(4)])
        steps = rollout(model, State(fields, np.full(4, source.time[0])), 5)
        expected = [fields, *(state.fields for state in steps)]
        for c, name in enumerate(source.channel_names):
            np.testing.assert_array_equal(
                file[name].values, torch.stack(expected, 1)[:, :, c].numpy(force=True)
            )
        np.testing.assert_array_equal(file.trajectory_number, [0, 1, 2, 3])
        np.testing.assert_array_equal(file.valid_time[2], source.time)
        assert "last_step" not in file


@pytest.mark.parametrize(("n_steps", "every"), [(0, 1), (5, 10), (5, 0)])
def test_an_interval_is_at_most_the_number_of_steps(store, tmp_path, n_steps, every):
    message = f"{n_steps} steps, of which every {every}th is written; expected at least 1 step"
    with pytest.raises(ValueError, match=message):
        run_rollout(Turning(store), store, tmp_path / "f.nc", n_steps=n_steps, every=every)


def test_every_second_step_is_every_second_step(store, tmp_path):
    run_rollout(Turning(store), store, tmp_path / "all.nc", n_steps=5)
    run_rollout(Turning(store), store, tmp_path / "half.nc", n_steps=5, every=2)
    with (
        xr.open_dataset(tmp_path / "all.nc") as all_,
        xr.open_dataset(tmp_path / "half.nc") as half,
    ):
        xr.testing.assert_identical(
            half.drop_attrs(deep=False), all_.isel(lead_time=[0, 2, 4]).drop_attrs(deep=False)
        )


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_forecast_that_blows_up_ends_and_is_marked(store, tmp_path, suffix, caplog):
    model = Turning(store)
    model.fails = {1: 3}
    ended = run_rollout(model, store, tmp_path / f"f{suffix}", split="train", n_steps=5)
    assert [(e.step, e.channel) for e in ended] == [(3, "vorticity")]
    assert "vorticity is not finite at step 3 (lead time 3 h)" in caplog.text
    with xr.open_dataset(tmp_path / f"f{suffix}", chunks=None) as file:
        np.testing.assert_array_equal(file.last_step, [5, 2, 5, 5])
        finite = np.isfinite(file.vorticity).all(["latitude", "longitude"]).values
        np.testing.assert_array_equal(finite[1], [True] * 3 + [False] * 3)
        assert finite[[0, 2, 3]].all()


@pytest.mark.parametrize("limit", [{"spectral_limit": 1.0}, {"range_limit": 0.0}], ids=str)
def test_a_rollout_without_limiters_is_that_of_the_model_alone(store, tmp_path, limit):
    settings = {"spectral_limit": None, "range_limit": None, **limit}
    forecaster = Forecaster.from_store(config(settings).model, Store(store)).eval()
    torch.nn.init.constant_(forecaster.network.decoder.weight, 0.1)
    limiters, found = (forecaster.limiter, forecaster.range_limiter), {}
    assert sum(limiter is not None for limiter in limiters) == 1
    start = State(Store(store).state(0)[None], Store(store).time[:1].astype("M8[ns]"))
    for limited in (True, False):
        file = tmp_path / f"{limited}.nc"
        run_rollout(
            forecaster, store, file, split="train", n_steps=4, limiter=limited, device="cpu"
        )
        assert (forecaster.limiter, forecaster.range_limiter) == limiters
        if not limited:
            forecaster.remove_limiters()
        *_, last = rollout(forecaster, start, 4)
        forecaster.limiter, forecaster.range_limiter = limiters
        with xr.open_dataset(file) as ds:
            assert ("without the limiter" in ds.attrs.get("comment", "")) is not limited
            found[limited] = ds[forecaster.channel_names[0]].values[0, -1]
        np.testing.assert_allclose(found[limited], last.fields[0, 0], rtol=1e-4)
    assert not np.allclose(found[True], found[False], rtol=1e-3)


def test_a_rollout_stops_when_all_forecasts_have_ended(store, tmp_path):
    model = Turning(store)
    model.fails = {0: 2}
    run_rollout(model, store, tmp_path / "f.nc", n_steps=1000)
    assert model.steps_done == 2


def test_masked_points_are_missing_and_do_not_end_a_forecast(masked_store, tmp_path):
    ended = run_rollout(Turning(masked_store), masked_store, tmp_path / "f.nc", n_steps=3)
    assert not ended
    with xr.open_dataset(tmp_path / "f.nc") as file:
        valid = Store(masked_store).mask.numpy()
        for c, name in enumerate(("sst", "t2m")):
            np.testing.assert_array_equal(np.isfinite(file[name].values).all((0, 1)), valid[c])
        assert file.lead_time.values.tolist() == [0, 1, 2, 3]
        assert file.lead_time.attrs["units"] == "months"


def test_progress_reaches_the_total(store, tmp_path):
    calls: list[tuple[int, int, str]] = []
    run_rollout(
        Turning(store),
        store,
        tmp_path / "f.nc",
        split="train",
        n_steps=3,
        batch_size=3,
        progress=lambda *call: calls.append(call),
    )
    assert [done for done, _, _ in calls] == [3, 6, 9, 10, 11, 12]
    assert {total for _, total, _ in calls} == {12}


def test_starts_are_found_by_date(masked_store, store):
    series = Store(masked_store)
    assert find_initial_times(series, init_times=["2001-03", "2002-01-15"]) == [(14, 0), (24, 0)]
    assert find_initial_times(Store(store), init_times=["2000-01-01 02:00"]) == [(5, 2)]
    with pytest.raises(ValueError, match=r"no state at 2010-01; it has 2000-01-01.*nearest"):
        find_initial_times(series, init_times=["2010-01"])
    for store_of in (series, Store(store)):  # beyond the range of nanoseconds too
        last = str(store_of.time[-1].astype("M8[m]"))
        with pytest.raises(ValueError, match=rf"no state at 3000-01;.*nearest: {last}"):
            find_initial_times(store_of, init_times=["3000-01"])
    with pytest.raises(ValueError, match="'soon' is not a date"):
        find_initial_times(series, init_times=["soon"])


def test_package_and_store_that_do_not_fit_are_refused(store, masked_store, make_store, tmp_path):
    with pytest.raises(ValueError, match="the model forecasts geopotential, vorticity"):
        run_rollout(Turning(store), masked_store, tmp_path / "f.nc")
    two_hours = make_store(tmp_path / "2h.zarr", time_step="2h")
    with pytest.raises(ValueError, match="steps by 1h, .* the 2h of"):
        run_rollout(Turning(store), two_hours, tmp_path / "f.nc")
    assert not (tmp_path / "f.nc").exists()


def test_a_missing_value_in_an_initial_state_is_refused(make_store, tmp_path):
    import zarr

    path = make_store(tmp_path / "store.zarr")
    zarr.open_group(path)["fields"][5, 0, 2, 3, 4] = np.nan
    with pytest.raises(ValueError, match="missing values of divergence at trajectory 5"):
        run_rollout(Turning(path), path, tmp_path / "f.nc", n_steps=2)
    assert [p.name for p in tmp_path.iterdir()] == ["store.zarr"]
