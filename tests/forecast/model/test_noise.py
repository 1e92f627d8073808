"""Noise of a model: a function of seed, step and channel alone, with variance 1."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from configs.length import parse_length
from configs.model import ModelConfig, NoiseConfig
from configs.time.step import TimeStep
from data_prep.store.reader import Store
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.noise import Noise, NoiseState, default_seeds
from forecast.model.package import load_package, save_package, start_from
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import State
from sphere_ops.grid import EARTH_RADIUS, Grid
from tests.forecast.small_run import config

GRID = Grid.legendre_gauss(8, 16)
STEP = TimeStep.parse("6h")
NOISE = {"length_scales": ["2000km", "40deg"], "channels": 2}
ONE = torch.zeros(1)
MODES = [
    NOISE,
    NOISE | {"correlation_time": "12h"},
    NOISE | {"into": "first"},
    NOISE | {"into": "first", "correlation_time": "1d"},
]


def noise(grid: Grid = GRID, **changed) -> Noise:
    return Noise(NoiseConfig(**NOISE | changed), grid, STEP)


@pytest.fixture
def store(make_store, tmp_path) -> Store:
    return Store(make_store(tmp_path / "s.zarr"))


def model_config(settings: dict | None) -> ModelConfig:
    if settings is None:
        return config({"history": 2}).model
    return config({"noise": settings, "history": 2}, members=2, loss="crps").model


def forecaster(store: Store, settings: dict | None = NOISE) -> Forecaster:
    """Return a model whose forecasts depend on all of its weights."""
    torch.manual_seed(0)
    made = Forecaster.from_store(model_config(settings), store)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "decoder" in name or "modulations" in name:
                parameter.normal_(std=0.1)
    return made.eval()


def start(store: Store, n: int = 3) -> State:
    series = torch.stack([store.states(0, i, 2) for i in range(n)])
    return State.from_series(series, np.array([store.valid_time(0, i + 1) for i in range(n)]))


def last(model: Forecaster, state: State, n_steps: int = 3) -> State:
    *_, end = rollout(model, state, n_steps)
    return end


def test_a_length_in_km_is_that_on_the_earth():
    assert parse_length("500km") == pytest.approx(5e5 / EARTH_RADIUS)
    assert parse_length("90 deg") == pytest.approx(math.pi / 2)


@pytest.mark.parametrize("text", ["500", "0km", "200deg", "-3km", "5 miles"])
def test_a_text_that_is_no_length_is_refused(text):
    with pytest.raises(ValueError, match="write it as 500km or 10deg"):
        parse_length(text)


@pytest.mark.parametrize("time", [None, "12h"])
def test_fields_depend_on_seed_step_and_channel_alone(time):
    source = noise(correlation_time=time)
    seeds = [(3, 5), (3, 6), (4, 5)]
    together, alone = source.start(seeds), source.start(seeds[1:2])
    for _ in range(3):
        fields = source.fields(together, ONE)  # (b, channel, h, w)
        assert torch.equal(source.fields(alone, ONE)[0], fields[1])
        together, alone = source.after_step(together), source.after_step(alone)
    flat = fields.flatten(2).flatten(0, 1)
    assert len({tuple(x.tolist()) for x in flat}) == 12


def test_white_noise_of_a_step_needs_no_earlier_step():
    source = noise()
    state = source.after_step(source.after_step(source.start([(1, 2)])))
    later = NoiseState(np.array([[1, 2]]), np.array([2]))
    assert torch.equal(source.fields(state, ONE), source.fields(later, ONE))


def test_correlated_noise_keeps_its_variance_and_loses_its_correlation_exponentially():
    """Area means over 600 samples: errors of about 600^-½ times the few degrees of freedom."""
    source = noise(correlation_time="12h", channels=1)
    state = source.start([(7, i) for i in range(600)])
    area, products = GRID.area_weights.float(), []
    first = source.fields(state, ONE)
    for _ in range(4):
        fields = source.fields(state, ONE)
        products.append([(x * fields * area).sum((-2, -1)).mean(0) for x in (fields, first)])
        state = source.after_step(state)
    variance, correlation = torch.tensor([[p.tolist() for p in row] for row in products]).unbind(1)
    torch.testing.assert_close(variance, torch.ones(4, 2), atol=0.08, rtol=0)
    expected = torch.exp(-torch.arange(4.0) / 2)[:, None].expand(-1, 2)
    torch.testing.assert_close(correlation, expected, atol=0.08, rtol=0)


def test_another_grid_has_the_same_noise():
    """At the poles, where the rows of both equiangular grids lie, and in the coefficients."""
    coarse, fine = Grid.equiangular(13, 24), Grid.equiangular(25, 48)
    source = noise(coarse, correlation_time="12h")
    there = source.on_grid(fine)
    state = source.after_step(source.start([(1,)]))
    torch.testing.assert_close(
        there.fields(state, ONE)[..., ::2, ::2], source.fields(state, ONE), atol=1e-5, rtol=0
    )
    back = there.on_grid(coarse)
    torch.testing.assert_close(back.fields(state, ONE), source.fields(state, ONE))


@pytest.mark.parametrize("seeds", [[], [()], [(1,), (1, 2)], [(1, -2)]])
def test_seeds_that_do_not_fit_are_refused(seeds):
    with pytest.raises(ValueError, match="some whole numbers from 0, as many for all"):
        noise().start(seeds)


# --- the forecaster -------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", MODES)
def test_a_member_is_the_same_in_any_batch_and_differs_from_the_others(store, settings):
    model, state = forecaster(store, settings), start(store)
    seeds = [(5, i) for i in range(3)]
    together = last(model, model.with_noise(state, seeds))
    one = State(*(x[1:2] for x in (state.fields, state.time)), (state.history[0][1:2],))
    alone = last(model, model.with_noise(one, seeds[1:2]))
    torch.testing.assert_close(alone.fields[0], together.fields[1])  # sums in another order
    other = last(model, model.with_noise(one, [(5, 2)]))
    scale = together.fields.std()
    assert (other.fields - alone.fields).abs().max() > 1e-3 * scale  # rounding is 1e-6


@pytest.mark.parametrize("settings", MODES[:2])
def test_a_rollout_goes_on_from_the_tensors_of_its_noise(store, settings):
    model = forecaster(store, settings)
    begun = model.with_noise(start(store), [(5, i) for i in range(3)])
    whole = last(model, begun, 4)
    half = last(model, begun, 2)
    saved = {name: x.clone() for name, x in half.noise.tensors().items()}
    assert all(not x.is_complex() and len(x) == 3 for x in saved.values())
    resumed = replace(half, noise=NoiseState.from_tensors(saved))
    assert torch.equal(last(model, resumed, 2).fields, whole.fields)


def test_a_state_without_noise_gets_that_of_member_0_of_seed_0(store):
    model, state = forecaster(store), start(store)
    seconds = state.time.astype("datetime64[s]").astype(int)
    assert default_seeds(state.time) == [(0, s, 0, 0) for s in seconds]
    given = model.with_noise(state, [(0, int(s), 0, 0) for s in seconds])
    assert torch.equal(last(model, state).fields, last(model, given).fields)


def test_seeds_for_a_model_without_noise_or_for_other_samples_are_refused(store):
    with pytest.raises(ValueError, match="the model has no noise"):
        forecaster(store, None).with_noise(start(store), [(1,)] * 3)
    with pytest.raises(ValueError, match="2 seeds for 3 samples"):
        forecaster(store).with_noise(start(store), [(1,)] * 2)


def test_a_model_on_another_grid_has_the_same_noise(store):
    """The noise is its only input: zero encoder weights but for those of the noise."""
    model = forecaster(store, NOISE | {"into": "first", "correlation_time": "12h"})
    there = model.on_grid(Grid.legendre_gauss(12, 24))
    assert there.noise.drawn_on == model.grid
    state = model.noise.start([(1,), (2,)])
    own, other = model.noise.fields(state, ONE), there.noise.fields(state, ONE)
    area, finer = model.grid.area_weights, there.grid.area_weights
    power, power_there = ((x.square() * a).sum((-2, -1)) for x, a in ((own, area), (other, finer)))
    torch.testing.assert_close(power.float(), power_there.float(), rtol=1e-4, atol=0)


def test_states_on_another_grid_carry_the_noise_of_the_model(store):
    model = forecaster(store, NOISE | {"correlation_time": "12h"})
    finer = ResamplingForecaster(model, Grid.legendre_gauss(12, 24))
    state = State(torch.zeros(1, 3, 12, 24), start(store, 1).time, (torch.zeros(1, 3, 12, 24),))
    assert finer.noise is model.noise
    end = last(finer, finer.with_noise(state, [(4,)]), 2)
    expected = model.noise.after_step(model.noise.after_step(model.noise.start([(4,)])))
    assert torch.equal(end.noise.coeffs[0], expected.coeffs[0])


@pytest.mark.parametrize("settings", MODES[1:3])
def test_a_package_makes_the_members_of_the_model(store, tmp_path, settings):
    model = forecaster(store, settings)
    save_package(model, tmp_path / "p")
    loaded = load_package(tmp_path / "p")
    state = model.with_noise(start(store), [(9, i) for i in range(3)])
    torch.testing.assert_close(last(loaded, state).fields, last(model, state).fields)


def test_without_noise_there_is_nothing_of_it(store):
    model = forecaster(store, None)
    assert model.noise is None and not hasattr(model.network, "modulations")
    assert last(model, start(store)).noise is None
    names = {name for name, _ in forecaster(store).named_parameters()}
    assert names - {name for name, _ in model.named_parameters()} == {
        "network.modulations.0.weight"
    }


@pytest.mark.parametrize("into", ["first", "blocks"])
def test_a_model_started_from_a_deterministic_package_forecasts_as_that(store, tmp_path, into):
    source = forecaster(store, None)
    save_package(source, tmp_path / "p")
    model = Forecaster.from_store(model_config(NOISE | {"into": into}), store).eval()
    start_from(model, tmp_path / "p")
    state = start(store)
    expected = last(source, state).fields
    torch.testing.assert_close(last(model, state).fields, expected, rtol=1e-5, atol=1e-6)


def test_starting_from_a_package_of_another_model_is_refused(store, tmp_path):
    save_package(forecaster(store, None), tmp_path / "p")
    model = Forecaster.from_store(config({"channels": 6}).model, store)
    before = model.network.encoder.weight.clone()
    with pytest.raises(ValueError, match="has other channels, inputs or weights"):
        start_from(model, tmp_path / "p")
    assert torch.equal(model.network.encoder.weight, before)
