from dataclasses import replace

import numpy as np
import pytest
import torch

from configs.model import ModelConfig
from data_prep.store.reader import Store
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.state import State
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample
from sphere_ops.harmonics.transforms import RealSHT
from sphere_ops.parallel.fields import area_mean

BRANCHES = {"spectral": {"lmax": 8}, "integral": {"theta_cutoff": 1.2}}


def build(store: Store, trained: bool = True, **settings) -> Forecaster:
    torch.manual_seed(0)
    config = ModelConfig.model_validate(
        {"branches": BRANCHES, "channels": 6, "blocks": 1, **settings}
    )
    forecaster = Forecaster.from_store(config, store).double()
    if trained:
        with torch.no_grad():
            forecaster.network.decoder.weight.normal_()
            forecaster.network.decoder.bias.normal_()
    return forecaster


@pytest.fixture(scope="module")
def trajectories(make_store, tmp_path_factory):
    return Store(make_store(tmp_path_factory.mktemp("t") / "store.zarr"))


@pytest.fixture(scope="module")
def monthly(make_store, tmp_path_factory):
    return Store(make_store(tmp_path_factory.mktemp("m") / "store.zarr", "files", mask=True))


def state_of(store: Store, count: int = 2) -> State:
    index = store.split_indices("train")[:count]
    fields = torch.stack([store.state(i) for i in index]).double()
    return State(fields, np.array([store.valid_time(i) for i in index]))


def test_an_untrained_forecaster_is_persistence(trajectories):
    state = state_of(trajectories)
    forecaster = build(trajectories, trained=False)
    following = forecaster.step(state)
    torch.testing.assert_close(following.fields, state.fields, rtol=1e-12, atol=1e-12)


def test_an_untrained_forecaster_with_a_climatology_damps_every_degree_of_the_anomaly(monthly):
    """Compare with its autocorrelation after one step, for any lmax of the spectral branch."""
    forecaster = build(monthly, trained=False, baseline="climatology", spectral_limit=None)
    normalizer, channels = forecaster.normalizer, len(monthly.channels)
    time = state_of(monthly, 3).time
    anomaly = torch.randn(3, channels, *monthly.grid.shape, dtype=torch.float64)
    following = forecaster.step(State(normalizer.denormalise(anomaly, time), time))
    later = normalizer.normalise(following.fields, following.time)
    kept = 1 - (normalizer.std_step / normalizer.std).square() / 2
    expected = (anomaly * kept[:, None, None]).where(monthly.mask, torch.nan)
    # The weights were set in float32.
    torch.testing.assert_close(later, expected, rtol=1e-6, atol=1e-6, equal_nan=True)
    assert (kept < 0.99).all()


def test_area_means_of_conserved_channels_are_kept_exactly(trajectories):
    state = state_of(trajectories)
    forecaster = build(trajectories)
    before = area_mean(state.fields, trajectories.grid)
    *_, following = rollout(forecaster, state, 5)
    assert (following.fields - state.fields).abs().max() > 1
    after = area_mean(following.fields, trajectories.grid)
    torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-10)


def test_conservation_can_be_left_out(trajectories):
    state = state_of(trajectories)
    following = build(trajectories, conserve=False).step(state)
    change = area_mean(following.fields - state.fields, trajectories.grid)
    assert change.abs().min() > 1e-3


def test_channels_that_are_never_negative_stay_so_in_rollouts(trajectories):
    state = state_of(trajectories)
    forecaster = build(trajectories)
    vapour = replace(trajectories.channels[0], positive=True)
    channels = (vapour, *trajectories.channels[1:])
    parts = forecaster.normalizer, forecaster.static, None, forecaster.network
    of = forecaster.grid, channels, forecaster.time_step, *parts
    free, bounded = (
        Forecaster(ModelConfig(branches=BRANCHES, conserve=False, nonnegative=on), *of).double()
        for on in (False, True)
    )
    state = State(state.fields - state.fields.amax(), state.time)  # mostly negative
    expected, found = free.eval().step(state).fields, bounded.eval().step(state).fields
    assert (expected[:, 0] < 0).any()
    torch.testing.assert_close(found[:, 0], expected[:, 0].clamp(min=0), rtol=0, atol=0)
    torch.testing.assert_close(found[:, 1:], expected[:, 1:], rtol=0, atol=0)
    torch.testing.assert_close(bounded.train().step(state).fields, free.train().step(state).fields)


def test_the_area_mean_of_a_persistent_anomaly_is_kept_while_the_season_goes_on(monthly):
    state = state_of(monthly)
    name = monthly.channel_names[0]
    forecaster = build(monthly, baseline="climatology", persistent_mean=(name,))
    following = forecaster.step(state)
    of, weights = forecaster.normalizer, monthly.grid.area_weights * monthly.mask

    def means(x: State) -> torch.Tensor:
        anomaly = (x.fields - of.baseline(x.time)).where(monthly.mask, 0.0)
        return (anomaly * weights).sum((-2, -1)) / weights.sum((-2, -1))

    before, after = means(state), means(following)
    torch.testing.assert_close(after[:, 0], before[:, 0], rtol=0, atol=1e-10)
    assert (after[:, 1] - before[:, 1]).abs().min() > 1e-3
    season = of.baseline(following.time) - of.baseline(state.time)
    season = season.where(monthly.mask, 0.0)[:, 0]
    assert (season * weights[0]).sum((-2, -1)).abs().min() > 1e-3


def test_what_is_outside_the_mask_neither_enters_nor_leaves(monthly):
    state = state_of(monthly)
    forecaster = build(monthly, baseline="climatology", static=("sin_latitude", "orography"))
    following = forecaster.step(state).fields
    assert torch.equal(following.isnan(), ~monthly.mask.expand_as(following))
    spoiled = forecaster.step(state.map(lambda x: x.where(monthly.mask, 1e9))).fields
    torch.testing.assert_close(spoiled, following, rtol=0, atol=0, equal_nan=True)


def test_gradients_through_a_masked_rollout_are_finite(monthly):
    state = state_of(monthly)
    forecaster = build(monthly, baseline="climatology")
    *_, last = rollout(forecaster, state, 3, grad=True)
    last.fields.where(monthly.mask, 0.0).square().sum().backward()
    for name, parameter in forecaster.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_a_model_of_full_fields_may_see_the_climatology_of_the_target_time(monthly):
    state = state_of(monthly)
    plain, forecaster = build(monthly), build(monthly, climatology_input=True)
    seen = []
    forecaster.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    following, normalizer = forecaster.step(state), forecaster.normalizer
    c = len(monthly.channels)
    shown = seen[0][:, -len(forecaster.static) - c : -len(forecaster.static)]
    expected = normalizer.climatology_of_order_one(following.time)
    torch.testing.assert_close(shown, expected)
    assert expected.std() > 0.1 and normalizer.baseline(state.time).shape[-2:] == (1, 1)
    assert torch.equal(normalizer.std, plain.normalizer.std)
    there = forecaster.on_grid(monthly.grid).step(state).fields
    torch.testing.assert_close(there, following.fields, equal_nan=True)


def test_forcings_are_those_of_the_target_time(monthly):
    state = state_of(monthly)
    forecaster = build(monthly, forcing=("daily_insolation",))
    seen = []
    forecaster.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    forecaster.step(state)
    from forecast.model.forcing import forcing_fields

    target = forcing_fields(
        ("daily_insolation",), monthly.time_step.advance(state.time), monthly.grid
    )
    torch.testing.assert_close(seen[0][:, 2:3], target)


def test_a_dealiased_tendency_has_no_degrees_beyond_the_truncation(trajectories):
    state = state_of(trajectories)
    forecaster = build(trajectories, dealias_lmax=4)
    change = forecaster.step(state).fields - state.fields
    coeffs = RealSHT(trajectories.grid, lmax=8, mmax=8)(change)
    assert coeffs[..., :4, :].abs().max() > 0.1
    assert coeffs[..., 4:, :].abs().max() < 1e-10


def test_diagnostic_channels_are_predicted_and_not_fed_back(make_store, tmp_path):
    path = make_store(tmp_path / "s.zarr", "files", channels=("t2m", "tp"), time_step="6h")
    store = Store(path)
    state = state_of(store)
    forecaster = build(store)
    other = state.map(torch.clone)
    other.fields[:, 1] += 7
    torch.testing.assert_close(forecaster.step(state).fields, forecaster.step(other).fields)


# The rows of a coarse grid alias a part of what a GELU makes, and hold no edge of the orography:
# 1e-2 to 4e-2 of the change with 8 rows, 3e-3 to 7e-3 with 24.
@pytest.mark.parametrize(("nlat", "tolerance"), [(8, 8e-2), (24, 1e-2)])
def test_on_another_grid_smooth_fields_are_stepped_alike(make_store, tmp_path, nlat, tolerance):
    store = Store(make_store(tmp_path / "store.zarr", nlat=nlat, nlon=2 * nlat))
    state = state_of(store)
    branches = {**BRANCHES, "differential": {"order": 1}}
    forecaster = build(store, branches=branches, static=("sin_latitude", "orography"))
    grid = Grid.legendre_gauss(2 * nlat, 4 * nlat)
    fine = forecaster.on_grid(grid)

    def rms(x: torch.Tensor) -> torch.Tensor:
        return area_mean(x.square(), store.grid).mean(0).sqrt()  # (channel,)

    own = forecaster.step(state).fields
    there = fine.step(state.map(lambda x: resample(x, store.grid, grid))).fields
    change = rms(own - state.fields)
    assert (change > 0.2 * store.statistics["std"]).all()
    assert (rms(resample(there, grid, store.grid) - own) < tolerance * change).all()
    for name, a in forecaster.named_parameters():
        assert a is fine.get_parameter(name), name
    lmax = store.grid.exact_lmax  # the degrees that both grids hold
    held = resample(forecaster.static, store.grid, store.grid, lmax=lmax)
    torch.testing.assert_close(resample(fine.static, grid, store.grid), held, rtol=0, atol=1e-6)


def test_sub_monthly_climatology_has_no_jump_at_the_turn_of_the_month(make_store, tmp_path):
    from configs.time.step import TimeStep
    from forecast.model.normalizer import Normalizer

    climatology = torch.randn(12, 1, 4, 8, generator=torch.manual_seed(0))
    one = torch.ones(1)
    normalizer = Normalizer(one, one, one, TimeStep.parse("6h"), climatology)
    time = np.array(["2001-04-30T23:59", "2001-05-01T00:00", "2001-05-16T12:00"], "datetime64[ns]")
    before, after, middle = normalizer.baseline(time)
    assert (after - before).abs().max() < 1e-3
    torch.testing.assert_close(middle, climatology[4])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"static": ("land_fraction",)}, "model.static names 'land_fraction'"),
        ({"baseline": "climatology"}, "model.baseline is climatology"),
        ({"climatology_input": True}, "model.climatology_input is true"),
        ({"dealias_lmax": 40}, "model.dealias_lmax is 40"),
        ({"persistent_mean": ("tp",)}, r"model.persistent_mean names \['tp'\]"),
    ],
)
def test_a_model_that_the_store_cannot_serve_is_refused(trajectories, settings, message):
    with pytest.raises(ValueError, match=message):
        build(trajectories, **settings)
