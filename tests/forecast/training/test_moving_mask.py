"""Training on channels that are missing at points which change with time."""

import numpy as np
import pytest
import torch
import zarr

from data_prep.store.reader import Store
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.normalizer import Normalizer
from forecast.model.package import load_package, save_package
from forecast.training.losses import Loss
from forecast.training.samples.batches import Batch, Windows
from forecast.training.trainer import Trainer
from sphere_ops.grid import Grid
from sphere_ops.harmonics.fill import smooth_fill
from tests.forecast.small_run import config

GRID = Grid.legendre_gauss(12, 24)
NAMES = ("relative-l2", "relative-l1", "mse", "relative-h1")
ONES = torch.ones(2)
FIRST = torch.tensor([True, False])[:, None, None]


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory) -> Store:
    path = tmp_path_factory.mktemp("moving") / "store.zarr"
    return Store(make_store(path, "files", mask=True, moving_mask=True))


def fields(seed: int) -> torch.Tensor:
    return torch.randn(3, 2, 12, 24, generator=torch.manual_seed(seed))


def points() -> tuple[torch.Tensor, torch.Tensor]:
    """Return land (2, h, w), and points without a value at the time of each sample (3, 2, h, w)."""
    land = torch.zeros(2, 12, 24, dtype=torch.bool)
    land[0, 3:6, 4:9] = True
    missing = torch.rand(3, 2, 12, 24, generator=torch.manual_seed(5)) < 0.4
    missing[:, 1] = False
    return land, missing


@pytest.mark.parametrize("name", NAMES)
def test_a_moving_mask_has_the_loss_of_constant_masks_of_each_sample(name):
    land, missing = points()
    prediction, target = fields(0), fields(1)
    loss = Loss(name, GRID, ONES, ~land, FIRST)
    found = loss(prediction, target.masked_fill(missing, torch.nan))
    of_samples = [
        Loss(name, GRID, ONES, ~land & ~missing[i])(prediction[i : i + 1], target[i : i + 1])
        for i in range(3)
    ]
    torch.testing.assert_close(found, torch.stack(of_samples).mean(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_without_missing_points_the_loss_is_that_of_the_mask(name):
    land, _ = points()
    prediction, target = fields(0), fields(1)
    found = Loss(name, GRID, ONES, ~land, FIRST)(prediction, target)
    expected = Loss(name, GRID, ONES, ~land)(prediction, target)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_and_zero_at_missing_points(name):
    land, missing = points()
    prediction = fields(0).requires_grad_()
    target = fields(1).masked_fill(missing, torch.nan)
    Loss(name, GRID, ONES, ~land, FIRST)(prediction, target).backward()
    assert prediction.grad.isfinite().all()
    assert not prediction.grad[missing].any() and prediction.grad[~missing & ~land].all()


@pytest.mark.parametrize("name", NAMES)
def test_a_target_without_any_value_adds_nothing(name):
    land, _ = points()
    prediction, target = fields(0).requires_grad_(), fields(1)
    loss = Loss(name, GRID, torch.tensor([1.0, 3.0]), ~land, FIRST)
    missing = target.clone()
    missing[1:, 0] = torch.nan
    found = loss(prediction, missing)
    expected = 3 * loss(prediction, target)  # (3 samples, weights 1/4 and 3/4)
    for i in (1, 2):
        of_channel = Loss(name, GRID, torch.tensor([1.0, 0.0]), ~land)
        expected = expected - of_channel(prediction[i : i + 1], target[i : i + 1]) / 4
    torch.testing.assert_close(found, expected / 3, rtol=1e-5, atol=0)
    found.backward()
    assert prediction.grad.isfinite().all() and not prediction.grad[1:, 0].any()


def test_missing_values_of_other_channels_still_make_the_loss_missing():
    target = fields(1)
    target[0, 1, 0, 0] = torch.nan
    assert Loss("relative-l2", GRID, ONES, None, FIRST)(fields(0), target).isnan()


def trainer(store: Store, model: dict | None = None, **training) -> Trainer:
    """Return a trainer of a model whose tendency is not zero."""
    settings = config({"history": 2} | (model or {}), **training)
    torch.manual_seed(0)
    forecaster = Forecaster.from_store(settings.model, store)
    with torch.no_grad():
        forecaster.network.decoder.weight.normal_(std=0.1)
    return Trainer(forecaster, settings.training)


MODELS = [
    {"baseline": "mean"},
    {"baseline": "climatology", "persistent_mean": ["sst"], "forcing": ["sin_year"]},
    {"baseline": "climatology", "fill": "smooth"},
]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["relative-l2", "mse"])
def test_the_loss_of_a_step_is_that_of_the_points_with_values(store, model, name):
    of = trainer(store, model, loss=name)
    batch = Windows(store, "train", 1, 1).batch([0, 7])
    assert batch.fields.isnan()[:, :, 0, 0].any()
    found = of.rollout_loss(batch, 1)
    following = of.forecaster.step(batch.initial)
    prediction, target = following.fields.double(), batch.targets[:, 0].double()
    assert (prediction.isfinite() == store.mask).all()
    scale = of.forecaster.normalizer.std.double()[:, None, None]
    baseline = of.forecaster.normalizer.baseline(following.time).double()
    area = store.grid.area_weights * torch.ones(store.grid.shape, dtype=torch.float64)
    losses = []
    for p, t in zip((prediction - baseline) / scale, (target - baseline) / scale, strict=True):
        for c in range(2):
            there = t[c].isfinite()
            weights, error = area[there], (p[c] - t[c])[there]
            square = (weights * error**2).sum()
            if name == "mse":
                losses.append(square / weights.sum())
            else:
                losses.append((square / (weights * t[c][there] ** 2).sum()).sqrt())
    expected = torch.stack(losses).mean().float()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", NAMES)
def test_training_stays_finite_with_rollout_and_push_forward(store, model, name):
    of = trainer(store, model, loss=name, checkpoint_steps=True)
    windows = Windows(store, "train", 3, 1)
    before = {k: v.clone() for k, v in of.forecaster.named_parameters()}
    for i in range(3):
        result = of.step([windows.batch([i, i + 6])], 2)
        assert np.isfinite([result.loss, result.gradient_norm]).all() and result.taken
    assert any((v != before[k]).any() for k, v in of.forecaster.named_parameters())
    errors = of.validate(Windows(store, "validation", 3, 1), [0, 4])
    assert len(errors) == 6 and np.isfinite(list(errors.values())).all()


@pytest.mark.parametrize("moving", [True, False])
def test_smoothly_filled_inputs_are_those_of_the_fill_of_each_state(make_store, tmp_path, moving):
    source = Store(make_store(tmp_path / "s.zarr", "files", mask=True, moving_mask=moving))
    forecaster = trainer(source, {"baseline": "climatology", "fill": "smooth"}).forecaster
    seen = []
    forecaster.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = Windows(source, "train", 0, 1).batch([0, 7])
    forecaster.step(batch.initial)
    series = [
        forecaster.normalizer.normalise(batch.fields[:, n], source.time[[n, n + 7]]) for n in (0, 1)
    ]
    before, present = (smooth_fill(x, x.isfinite(), source.grid) for x in series)
    assert before.isfinite().all() and (before[:, 0, 0].std() > 0)
    torch.testing.assert_close(seen[0][:, :2], present)
    step = (present - before) / forecaster.normalizer.step_scale
    torch.testing.assert_close(seen[0][:, 2:4], step, rtol=1e-4, atol=1e-4)
    baseline = forecaster.normalizer.climatology_of_order_one(batch.time + np.timedelta64(31, "D"))
    filled = smooth_fill(baseline, source.mask, source.grid)
    torch.testing.assert_close(seen[0][:, 4:6], filled)


def test_a_forcing_with_missing_points_is_filled_too(store):
    part = Store(store.path).select(forcing=("sst",))
    windows = Windows(part, "train", 1)
    for fill in ("baseline", "smooth"):
        forecaster = trainer(part, {"history": 1, "fill": fill}).forecaster
        seen = []
        forecaster.network.register_forward_pre_hook(lambda _, x, seen=seen: seen.append(x[0]))
        batch = windows.batch([0, 7])
        given = batch.forcing[:, 0]
        assert (given.isnan() & part.select(channels=(), forcing=("sst",)).mask).any()
        forecaster.step(batch.initial, given)
        scaled = (given - forecaster.forcing.mean) / forecaster.forcing.std
        expected = scaled.nan_to_num()
        if fill == "smooth":
            expected = smooth_fill(scaled, scaled.isfinite(), part.grid)
        torch.testing.assert_close(seen[0][:, 1:2], expected)


def test_values_outside_the_mask_change_nothing(store):
    for fill in ("baseline", "smooth"):
        forecaster = trainer(store, {"fill": fill}).forecaster
        initial = Windows(store, "train", 0, 1).batch([0, 7]).initial
        spoiled = initial.map(lambda x: x.where(store.mask, 77.0))
        found, expected = forecaster.step(spoiled).fields, forecaster.step(initial).fields
        assert torch.equal(found.nan_to_num(), expected.nan_to_num())


def test_a_month_without_any_value_trains_the_other_channel(store):
    of = trainer(store)
    batch = Windows(store, "train", 1, 1).batch([0])
    empty = batch.fields.clone()
    empty[:, :, 0] = torch.nan
    result = of.step([Batch(empty, batch.time, batch.starts, 1)], 1)
    assert result.taken and 0 < result.loss < 10


def test_a_rollout_has_values_wherever_the_channel_ever_has_some(store):
    forecaster = trainer(store).forecaster.eval()
    initial = Windows(store, "test", 0, 1).batch([0]).initial
    assert (initial.fields.isnan() & store.mask).any()
    for state in rollout(forecaster, initial, 4):
        assert torch.equal(state.fields[0].isfinite(), store.mask)


def test_the_area_mean_that_persists_is_that_of_the_points_with_values(store):
    forecaster = trainer(store, {"history": 1, "persistent_mean": ["sst"]}).forecaster
    initial = Windows(store, "test", 0).batch([0]).initial
    with torch.no_grad():
        following = forecaster.step(initial)
    there = initial.fields[0, 0].isfinite()
    area = (store.grid.area_weights * torch.ones(store.grid.shape))[there]
    means = [
        (state.fields[0, 0][there] * area).sum() / area.sum() for state in (initial, following)
    ]
    assert means[1] == pytest.approx(means[0].item(), rel=1e-5)


def test_the_baseline_has_values_under_ice(store):
    """Months without a value are between those around them, not at zero degrees."""
    missing = store.statistics["climatology"].isnan() & store.mask
    assert missing[:, 0].any()
    sst = Forecaster.from_store(config({"baseline": "climatology"}).model, store).normalizer
    values = store.statistics["climatology"][:, 0]
    found = sst.climatology[:, 0][missing[:, 0]]
    assert found.min() > values[values.isfinite()].min() - 1e-3


def test_the_baseline_of_a_point_without_training_data_is_that_of_its_neighbours(
    make_store, tmp_path
):
    path = make_store(tmp_path / "s.zarr", "files", moving_mask=True)
    whole = Normalizer.from_store(Store(path), "climatology")
    zarr.open_group(path)["climatology"][:, 0, 4, 5] = np.nan
    found = Normalizer.from_store(Store(path), "climatology").climatology[:, 0, 4, 5]
    around = whole.climatology[:, 0, 3:6, 4:7].flatten(1)
    assert (around.amin(1) < found).all() and (found < around.amax(1)).all()


def test_a_package_keeps_the_names_of_channels_with_a_moving_mask(store, tmp_path):
    forecaster = trainer(store).forecaster.eval()
    save_package(forecaster, tmp_path / "p")
    again = load_package(tmp_path / "p")
    assert again.moving_mask == ("sst",) == again.on_grid(Grid.legendre_gauss(10, 20)).moving_mask
    initial = Windows(store, "test", 0, 1).batch([0]).initial
    with torch.no_grad():
        found, expected = again.step(initial), forecaster.step(initial)
    torch.testing.assert_close(found.fields, expected.fields, rtol=0, atol=0, equal_nan=True)
