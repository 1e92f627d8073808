"""Update by damped persistence: its statistics, its weights, and the steps of a model with it."""

import numpy as np
import pytest
import torch

from configs.model import ModelConfig
from data_prep.store.reader import Store
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.normalizer import Normalizer
from forecast.model.package import load_package, save_package
from forecast.model.state import State
from forecast.model.update import DampedUpdate
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT, power_spectrum
from sphere_ops.parallel.fields import area_mean

LMAX = 5


def build(store: Store, trained: bool = True, **settings) -> Forecaster:
    torch.manual_seed(0)
    settings = {"dealias_lmax": LMAX, "conserve": False, "spectral_limit": None, **settings}
    config = ModelConfig.model_validate(
        {
            "branches": {"spectral": {"lmax": 8}, "differential": {"order": 1}},
            "channels": 6,
            "blocks": 1,
            "persistence": "damped",
            **settings,
        }
    )
    forecaster = Forecaster.from_store(config, store).double()
    if trained:
        with torch.no_grad():
            forecaster.network.decoder.weight.normal_()
    return forecaster


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory) -> Store:
    return Store(make_store(tmp_path_factory.mktemp("t") / "store.zarr"))


def state_of(store: Store) -> State:
    index = store.split_indices("train")[:2]
    fields = torch.stack([store.state(i) for i in index]).double()
    return State(fields, np.array([store.valid_time(i) for i in index]))


def pairs(store: Store) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all training states that have a next one, and the next ones, normalised, float64."""
    normalizer = Normalizer.from_store(store, "mean").double()
    both = torch.stack([store.states(i, s, 2).double() for i, s in store.windows("train", 1)])
    time = np.array([store.valid_time(0)])  # the baseline is a mean for all times
    before, after = (normalizer.normalise(both[:, k], time) for k in (0, 1))
    return before, after


def test_an_untrained_model_is_damped_persistence_of_each_coefficient(store):
    forecaster, state = build(store, trained=False), state_of(store)
    analysis = RealSHT(store.grid, lmax=LMAX, mmax=LMAX)
    update = forecaster.update
    mean = analysis(update.mean)
    present = analysis(forecaster.normalise(state.fields, state.time))
    found = analysis(forecaster.normalise(forecaster.step(state).fields, state.time))
    expected = mean + update.persistence[:, :, None] * (present - mean)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_persistence_is_the_correlation_of_the_anomaly_with_that_of_the_next_step(store):
    update = DampedUpdate.from_store(store, Normalizer.from_store(store, "mean"), LMAX)
    before, after = pairs(store)
    mean = (before.mean(0) + after.mean(0)) / 2
    torch.testing.assert_close(update.mean.double(), mean, rtol=1e-5, atol=1e-5)
    analysis = RealSHT(store.grid, lmax=LMAX, mmax=LMAX)
    a, b = analysis(before - mean), analysis(after - mean)
    twice = torch.where(torch.arange(LMAX) > 0, 2.0, 1.0)  # coefficients of both signs of m

    def product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return ((x * y.conj()).real * twice).sum((0, -1))  # (c, lmax)

    expected = 2 * product(a, b) / (product(a, a) + product(b, b))
    found = update.persistence.double()
    torch.testing.assert_close(found[:, 1:4], expected[:, 1:4], rtol=1e-4, atol=0)
    assert expected[:, 1:4].min() > 0.5 and expected[:, 1:4].max() < 0.99
    left = power_spectrum(b - expected[:, :, None] * a).mean(0)
    torch.testing.assert_close(update.innovation[:, 1:4].double(), left[:, 1:4], rtol=0.3, atol=0)


def test_degrees_without_variability_are_those_of_the_mean(store):
    """The synthetic fields have the degrees 1 to 3, so that the others hold rounding alone."""
    update = build(store, trained=False).update
    for quiet in (update.persistence[:, [0, 4]], update.innovation[:, [0, 4]]):
        assert not quiet.any()
    x = torch.randn(2, 3, *store.grid.shape, dtype=torch.float64)
    left = power_spectrum(RealSHT(store.grid, lmax=8, mmax=8)(update(x, x) - update.mean))
    assert left[..., [0, 4, 5, 6, 7]].abs().max() < 1e-20
    assert left[..., 1:4].min() > 1e-3


def test_an_error_that_the_network_does_not_see_decays_in_every_degree(store):
    update = build(store, trained=False).update
    torch.manual_seed(1)
    x, y = torch.randn(2, 3, *store.grid.shape, dtype=torch.float64)
    analysis = RealSHT(store.grid, lmax=LMAX, mmax=LMAX)
    output = torch.randn(3, *store.grid.shape, dtype=torch.float64)
    before = power_spectrum(analysis(x - y))
    after = power_spectrum(analysis(update(x, output) - update(y, output)))
    assert (after < before).all()


def test_white_output_has_the_variance_of_the_innovations():
    grid, lmax = Grid.legendre_gauss(24, 48), 24
    degree = torch.arange(lmax, dtype=torch.float64)
    innovation = torch.stack([1 / (1 + degree) ** 2, 10.0 ** (-degree / 3)])
    mean = torch.zeros(2, *grid.shape, dtype=torch.float64)
    correlation = torch.zeros(2, lmax, dtype=torch.float64)
    update = DampedUpdate(grid, mean, correlation, innovation, mean.expand(2, -1, -1, -1))
    torch.manual_seed(0)
    coeffs = torch.randn(300, 2, lmax, lmax, dtype=torch.complex128).tril()
    coeffs[..., 0] = coeffs[..., 0].real.to(coeffs) * 2**0.5
    white = InverseRealSHT(grid, lmax=lmax, mmax=lmax)(coeffs)
    white = white / area_mean(white.square(), grid).mean(0).sqrt()[:, None, None]
    following = update(torch.zeros_like(white), white)
    variance = area_mean(following.square(), grid).mean(0)
    torch.testing.assert_close(variance, innovation.sum(1), rtol=0.02, atol=0)
    # White noise of 15 % of the output has about the power of the innovations, or less.
    error = power_spectrum(RealSHT(grid, lmax=lmax, mmax=lmax)(0.15 * following)).mean(0)
    assert (error < 10 * innovation).all()
    uniform = power_spectrum(coeffs).mean(0) * 0.15**2 * innovation.sum(1, keepdim=True)
    uniform = uniform / power_spectrum(coeffs).mean(0).sum(1, keepdim=True)
    assert (uniform > 1000 * innovation).any()  # which equal weights do not


def test_the_network_sees_states_of_the_training_as_they_are_and_others_within_bounds(store):
    forecaster, state = build(store), state_of(store)
    before, after = pairs(store)
    for x in (before, after):
        assert torch.equal(forecaster.update.visible(x), x)
    seen = []
    forecaster.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    forecaster.step(state)
    forecaster.step(state.map(lambda x: 1e6 * x))
    low, high = forecaster.update.bounds
    present = forecaster.normalise(state.fields, state.time)
    torch.testing.assert_close(seen[0][:, :3], present, rtol=1e-12, atol=0)
    assert (seen[1][:, :3] >= low).all() and (seen[1][:, :3] <= high).all()
    width = torch.maximum(before.amax(0), after.amax(0)) - torch.minimum(
        before.amin(0), after.amin(0)
    )
    torch.testing.assert_close((high - low).double(), 1.5 * width, rtol=1e-4, atol=1e-5)


def test_a_diagnostic_channel_is_the_mean_and_the_output_alone(make_store, tmp_path):
    store = Store(make_store(tmp_path / "s.zarr", "files", channels=("t2m", "tp"), time_step="6h"))
    forecaster, state = build(store), state_of(store)
    other = state.map(torch.clone)
    other.fields[:, 1] += 7
    torch.testing.assert_close(forecaster.step(state).fields, forecaster.step(other).fields)
    assert not forecaster.update.persistence[1].any()


def test_a_package_steps_as_the_model_that_was_saved(store, tmp_path):
    forecaster, state = build(store).float().eval(), state_of(store).map(torch.Tensor.float)
    save_package(forecaster, tmp_path / "package")
    loaded = load_package(tmp_path / "package")
    assert torch.equal(loaded.step(state).fields, forecaster.step(state).fields)


def test_on_another_grid_smooth_fields_are_stepped_alike(make_store, tmp_path):
    store = Store(make_store(tmp_path / "store.zarr", nlat=24, nlon=48))
    state, forecaster = state_of(store), build(store, spectral_limit=1.5)
    own = forecaster.step(state).fields
    for grid, tolerance in ((Grid.legendre_gauss(48, 96), 1e-2), (Grid.legendre_gauss(4, 8), None)):
        there = forecaster.on_grid(grid)
        found = there.step(state.map(lambda x, to=grid: resample(x, store.grid, to))).fields
        assert found.isfinite().all()
        if tolerance is not None:
            back = resample(found, grid, store.grid)
            change = area_mean((own - state.fields).square(), store.grid).sqrt()
            error = area_mean((back - own).square(), store.grid).sqrt()
            assert (error < tolerance * change).all()


def test_gradients_through_a_rollout_are_those_of_differences(store):
    forecaster, state = build(store), state_of(store)
    weight = forecaster.network.decoder.weight

    def size() -> torch.Tensor:
        *_, last = rollout(forecaster, state, 3, grad=True)
        return forecaster.normalise(last.fields, last.time).square().mean()

    (gradient,) = torch.autograd.grad(size(), weight)
    direction = torch.randn_like(weight)
    with torch.no_grad():
        values = []
        for sign in (1, -1):
            weight.add_(sign * 1e-5 * direction)
            values.append(size())
            weight.sub_(sign * 1e-5 * direction)
    slope = (values[0] - values[1]) / 2e-5
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-8)


def test_a_store_with_a_mask_is_refused(make_store, tmp_path):
    store = Store(make_store(tmp_path / "s.zarr", "files", mask=True))
    with pytest.raises(ValueError, match=r"has a mask, .*set model.persistence=full"):
        build(store)
