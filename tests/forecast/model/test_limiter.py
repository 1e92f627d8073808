"""Limiter of rollouts: unchanged and limited fields, and a bound for any model."""

import numpy as np
import pytest
import torch
from torch import nn

from configs import layout
from configs.model import ModelConfig
from data_prep.store.reader import Store
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.limiter import RangeLimiter, SpectralLimiter
from forecast.model.normalizer import Normalizer
from forecast.model.package import load_package, save_package
from forecast.model.state import State
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT, power_spectrum
from sphere_ops.parallel.fields import area_mean

GRIDS = [
    Grid.of("legendre-gauss", 12, 24),
    Grid.of("equiangular", 13, 24),
    Grid.of("cell-centred", 12, 23),
]


def field(grid: Grid, lmax: int, seed: int = 0) -> torch.Tensor:
    """Return two random fields of two channels with degrees below lmax, float64."""
    generator = torch.Generator().manual_seed(seed)
    coeffs = torch.randn(2, 2, lmax, lmax, dtype=torch.complex128, generator=generator).tril()
    coeffs[..., 0] = coeffs[..., 0].real.to(coeffs)
    return InverseRealSHT(grid, lmax=lmax, mmax=lmax)(coeffs)


def analysed(grid: Grid, x: torch.Tensor) -> torch.Tensor:
    return RealSHT(grid, lmax=grid.exact_lmax, mmax=grid.exact_lmax)(x)


def limiter(grid: Grid, x: torch.Tensor, factor: float, beyond: float = 0.0) -> SpectralLimiter:
    """Return the limiter for the training data x."""
    power = power_spectrum(analysed(grid, x)).amax(0)
    return SpectralLimiter(grid, torch.cat([power, power.new_full((2, 1), beyond)], 1), factor)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_state_like_those_of_the_training_data_passes_unchanged(grid):
    x = field(grid, grid.exact_lmax)
    limit = limiter(grid, x, 1.0, beyond=1.0)
    assert torch.equal(limit(x), x)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_degree_that_has_outgrown_the_data_is_scaled_to_the_limit(grid):
    x = field(grid, grid.exact_lmax)
    coeffs = analysed(grid, x)
    grown = coeffs.clone()
    grown[1, 0, 3] *= 10  # one degree of one channel of one sample
    y = InverseRealSHT(grid, lmax=grid.exact_lmax, mmax=grid.exact_lmax)(grown)
    limited = analysed(grid, limiter(grid, x, 2.0, beyond=1.0)(y))
    limit = 2 * power_spectrum(coeffs).amax(0)
    expected = coeffs.clone()
    expected[1, 0, 3] *= (limit[0, 3] / power_spectrum(coeffs)[1, 0, 3]).sqrt()
    torch.testing.assert_close(limited, expected, rtol=1e-3, atol=1e-10)  # 1e-5 is its own slack
    others = torch.ones(2, 2, grid.exact_lmax, dtype=torch.bool)
    others[1, 0, 3] = False
    torch.testing.assert_close(limited[others], coeffs[others], rtol=1e-10, atol=1e-10)


def test_a_degree_of_little_power_is_held_too():
    """A geopotential has a millionth of its power in the smallest scales that a grid resolves."""
    grid = GRIDS[0]
    size = torch.tensor([1.0] * 8 + [1e-3] * (grid.exact_lmax - 8), dtype=torch.float64)
    coeffs = analysed(grid, field(grid, grid.exact_lmax)) * size[:, None]
    x = InverseRealSHT(grid, lmax=grid.exact_lmax, mmax=grid.exact_lmax)(coeffs)
    coeffs[:, :, 9] *= 10
    y = InverseRealSHT(grid, lmax=grid.exact_lmax, mmax=grid.exact_lmax)(coeffs)
    limit = limiter(grid, x, 1.5, beyond=1.0)
    power = power_spectrum(analysed(grid, limit(y)))[:, :, 9]
    assert (power < 1.51 * limit.power[:, 9]).all()


def test_what_is_beyond_the_degrees_counts_as_one_more():
    grid = Grid.of("equiangular", 13, 24)  # exact up to degree 6, and holds 12
    large, small = field(grid, grid.exact_lmax), 1e-3 * field(grid, 12, seed=1)
    limit = limiter(grid, large, 1.5, beyond=float(area_mean(small.square(), grid).max()))
    torch.testing.assert_close(limit(large + small), large + small, rtol=0, atol=1e-2)
    grown = limit(large + 1e4 * small)
    assert float(area_mean(grown.square(), grid).max()) < 2 * float(limit.power.sum(1).max())


def test_the_limits_hold_on_another_grid():
    grid = Grid.of("legendre-gauss", 12, 24)
    x = field(grid, 12)
    limit = limiter(grid, x, 1.0)
    for other in (Grid.of("legendre-gauss", 24, 48), Grid.of("equiangular", 13, 24)):
        there = limit.on_grid(other)
        y = resample(x, grid, other)
        torch.testing.assert_close(there(y), y, rtol=1e-2, atol=1e-2)
        low = min(12, other.exact_lmax)
        power = power_spectrum(analysed(other, there(10 * y)))[..., :low]
        torch.testing.assert_close(
            power, power_spectrum(analysed(grid, limit(10 * x)))[..., :low], rtol=0.05, atol=1e-3
        )


@pytest.mark.parametrize("size", [1e15, 1e30, float("inf")])
def test_what_would_overflow_is_held_too(size):
    grid = Grid.of("legendre-gauss", 12, 24)
    x = field(grid, 12).float()
    limit = limiter(grid, x.double(), 1.5).float()
    held = limit(torch.where(x > 0, size, -size))
    assert held.isfinite().all()
    assert float(area_mean(held.square(), grid).max()) <= 1.6 * float(limit.power.sum(1).max())


@pytest.mark.parametrize(
    ("kind", "baseline"),
    [("trajectories", "mean"), ("files", "mean"), ("files", "climatology")],
)
def test_a_store_that_does_not_hold_the_largest_power_gets_it(make_store, tmp_path, kind, baseline):
    store = Store(make_store(tmp_path / "store.zarr", kind, mask=kind == "files"))
    normalizer, channels = Normalizer.from_store(store, baseline), [1, 0]
    held = SpectralLimiter.from_store(store, normalizer, channels, 1.5).power
    for name in (layout.LARGEST_POWER, layout.CLIMATOLOGY_LARGEST_POWER):
        store.statistics.pop(name, None)
    computed = SpectralLimiter.from_store(store, normalizer, channels, 1.5).power
    # Two algorithms in float64, rounded to float32: one unit in the last place of both.
    torch.testing.assert_close(held, computed, rtol=1.2e-7, atol=1e-15)
    assert (held[:, 1:4] > 0).all() and held.dtype == torch.float32


class Amplifier(nn.Module):
    """Network whose tendency is a twentieth of the state."""

    def __init__(self, scale: torch.Tensor) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.05 * x[:, : len(self.scale)] / self.scale


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("trajectories", {}), ("files", {"baseline": "climatology"})],
    ids=["trajectories", "masked series"],
)
def test_a_model_that_amplifies_everything_stays_where_the_data_were(
    make_store, tmp_path, kind, settings
):
    store = Store(make_store(tmp_path / "store.zarr", kind, mask=kind == "files"))
    config = ModelConfig.model_validate(
        {"branches": {"spectral": {"lmax": 8}}, "channels": 4, "blocks": 1, **settings}
    )
    start = store.windows("train", 0)[0]
    state = State(store.state(*start)[None], np.array([store.valid_time(*start)]))
    sizes = {}
    for factor in (1.5, None):
        forecaster = Forecaster.from_store(
            config.model_copy(update={"spectral_limit": factor}), store
        ).eval()
        forecaster.network = Amplifier(forecaster.normalizer.step_scale)
        *_, last = rollout(forecaster, state, 300)
        normalised = forecaster.normalise(last.fields, last.time)
        sizes[factor] = float(area_mean(normalised.square(), store.grid).max().sqrt())
    assert sizes[None] > 1e4
    assert sizes[1.5] < 10


def test_training_goes_on_without_it(make_store, tmp_path):
    store = Store(make_store(tmp_path / "store.zarr"))
    config = ModelConfig.model_validate({"branches": {"spectral": {"lmax": 8}}, "blocks": 1})
    forecaster = Forecaster.from_store(config, store)
    state = State(100 * store.state(0)[None], np.array([store.valid_time(0)]))
    persistence = forecaster.train().step(state).fields
    torch.testing.assert_close(persistence, state.fields)
    assert not torch.allclose(forecaster.eval().step(state).fields, state.fields, rtol=0.5)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("trajectories", {}), ("files", {"baseline": "climatology"})],
    ids=["trajectories", "masked series"],
)
def test_values_stay_inside_the_range_that_the_data_have_at_each_point(
    make_store, tmp_path, kind, settings
):
    store = Store(make_store(tmp_path / "store.zarr", kind, mask=kind == "files"))
    settings = {"spectral_limit": None, "range_limit": 0.5, "channels": 4, "blocks": 1, **settings}
    config = ModelConfig.model_validate({"branches": {"spectral": {"lmax": 8}}, **settings})
    forecaster = Forecaster.from_store(config, store).eval()
    starts = store.windows("train", 0)
    states = torch.stack([store.state(*start) for start in starts]).double()
    time = np.array([store.valid_time(*start) for start in starts])
    data = forecaster.normalise(states, time)
    low, high = data.amin(0), data.amax(0)
    passed = forecaster.range_limiter(data)
    torch.testing.assert_close(passed, data, rtol=0, atol=1e-6)
    forecaster.network = Amplifier(forecaster.normalizer.step_scale)
    *_, last = rollout(forecaster, State(states[:1], time[:1]), 300)
    found = forecaster.normalise(last.fields, last.time)[0]
    room = 0.5 * (high - low) + 1e-4
    assert (found >= low - room).all() and (found <= high + room).all()
    outgrown = (found < low - 0.9 * room) | (found > high + 0.9 * room)
    assert outgrown.double().mean() > 0.3
    if store.mask is not None:
        assert torch.equal(last.fields[0].isnan(), ~store.mask)


def test_diagnostic_channels_stay_inside_their_range(make_store, tmp_path):
    store = Store(make_store(tmp_path / "store.zarr"))
    names = store.channel_names
    store, diagnostic = (
        store.select(channels=names, roles={names[-1]: "diagnostic"}),
        len(names) - 1,
    )
    settings = {
        "branches": {"spectral": {"lmax": 8}},
        "blocks": 1,
        "range_limit": 0.25,
        "conserve": False,
    }
    forecaster = Forecaster.from_store(ModelConfig.model_validate(settings), store).eval()
    assert not forecaster._residual[diagnostic]
    torch.nn.init.normal_(forecaster.network.decoder.weight, std=100)
    time = np.array([store.valid_time(0, 0)])
    state = State(store.state(0, 0)[None].float(), time)
    found = forecaster.normalise(forecaster.step(state).fields, time)[0, diagnostic]
    low, high = forecaster.range_limiter.bounds[:, diagnostic]
    room = 1e-4 * (high - low)
    assert (found >= low - room).all() and (found <= high + room).all()
    assert (found > high - room).any()
    # Packages of earlier versions hold the range of what is fed back alone.
    kept = [i for i in range(len(store.channels)) if i != diagnostic]
    save_package(forecaster, tmp_path / "package")
    forecaster.range_limiter.bounds = forecaster.range_limiter.bounds[:, kept]
    save_package(forecaster, tmp_path / "earlier")
    for name in ("package", "earlier"):
        bounds = load_package(tmp_path / name).range_limiter.bounds
        assert torch.equal(bounds[:, kept], forecaster.range_limiter.bounds)
        assert bounds[:, diagnostic].isinf().all() == (name == "earlier")


def test_a_package_keeps_the_range(make_store, tmp_path):
    store = Store(make_store(tmp_path / "store.zarr"))
    settings = {"branches": {"spectral": {"lmax": 8}}, "blocks": 1, "range_limit": 0.25}
    forecaster = Forecaster.from_store(ModelConfig.model_validate(settings), store)
    save_package(forecaster, tmp_path / "package")
    loaded = load_package(tmp_path / "package")
    assert torch.equal(loaded.range_limiter.bounds, forecaster.range_limiter.bounds)


def test_on_a_finer_grid_the_range_is_that_of_the_nearest_point():
    grid, finer = Grid.of("legendre-gauss", 8, 16), Grid.of("legendre-gauss", 16, 32)
    low = torch.arange(8.0)[:, None].expand(8, 16)
    there = RangeLimiter(grid, torch.stack([low, low + 0.5])[:, None]).on_grid(finer)
    limited = there(torch.zeros(1, 1, 16, 32))[0, 0]
    nearest = (finer.latitude[:, None] - grid.latitude).abs().argmin(-1)
    torch.testing.assert_close(limited, nearest.float()[:, None].expand(16, 32))
