"""CRPS of the members of an ensemble: closed forms, gradients, and training with it."""

import math
import shutil

import numpy as np
import pytest
import scoringrules
import torch
from torch.autograd import gradcheck

from configs import layout
from configs.schema import Config
from data_prep.store.reader import Store
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package
from forecast.training.losses import EnsembleLoss, almost_fair_crps
from forecast.training.run import Run
from forecast.training.samples.batches import Windows, batches
from forecast.training.tracking.recorder import read_metrics
from forecast.training.train import train
from forecast.training.trainer import Trainer
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT, power_spectrum
from tests.forecast.small_run import BASE, config

GRID = Grid.legendre_gauss(12, 24)
MEMBERS = {"members": 3, "loss": "crps"}
NOISE = {"noise": {"length_scales": ["3000km"], "channels": 2}}


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# --- the score ------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [2, 3, 6])
def test_both_ends_of_alpha_are_the_scores_of_scoringrules(members):
    ensemble, truth = draw(40, members), draw(40, seed=1)
    values = truth.numpy(), ensemble.numpy()
    fair = scoringrules.crps_ensemble(*values, estimator="fair")
    np.testing.assert_allclose(almost_fair_crps(ensemble, truth, 1.0), fair, atol=1e-12)
    empirical = scoringrules.crps_ensemble(*values, estimator="nrg")
    np.testing.assert_allclose(almost_fair_crps(ensemble, truth, 0.0), empirical, atol=1e-12)


def test_alpha_is_the_weight_of_the_fair_score():
    ensemble, truth = draw(40, 4), draw(40, seed=1)
    fair, empirical, between = (almost_fair_crps(ensemble, truth, a) for a in (1.0, 0.0, 0.95))
    torch.testing.assert_close(between, 0.95 * fair + 0.05 * empirical, atol=1e-12, rtol=0)


@pytest.mark.parametrize("members", [2, 5])
def test_fair_score_of_gaussian_members_is_that_of_the_gaussian_for_any_number(members):
    """σ [z (2Φ(z) − 1) + 2φ(z) − π^-½] with z = (y − μ)/σ (Gneiting et al. 2005)."""
    truth = torch.full((200_000,), 0.7, dtype=torch.float64)
    ensemble = 0.2 + 1.3 * draw(len(truth), members)
    z = 0.5 / 1.3
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    expected = 1.3 * (z * math.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))
    found = almost_fair_crps(ensemble, truth, 1.0).mean().item()
    assert found == pytest.approx(expected, abs=0.01)  # five standard errors of the mean


def test_fair_score_leaves_a_member_free_and_the_almost_fair_one_does_not():
    truth = torch.zeros(1, dtype=torch.float64)
    at_truth, away = (torch.tensor([[0.0, x]], dtype=torch.float64) for x in (0.0, 3.0))
    assert almost_fair_crps(away, truth, 1.0) == almost_fair_crps(at_truth, truth, 1.0) == 0
    assert almost_fair_crps(away, truth, 0.95) > 0.03


# --- the loss -------------------------------------------------------------------------------------


def loss(members: int = 3, channels: int = 2, **options) -> EnsembleLoss:
    scale = options.pop("step_scale", torch.ones(channels))
    return EnsembleLoss(members, GRID, torch.ones(channels), scale, **options).double()


def test_loss_is_the_area_mean_of_the_score():
    prediction, truth = draw(6, 2, 12, 24), draw(2, 2, 12, 24, seed=1)
    score = almost_fair_crps(prediction.view(2, 3, 2, 12, 24), truth, 0.9)
    expected = (score * GRID.area_weights).sum((-2, -1)).mean()
    torch.testing.assert_close(loss(alpha=0.9)(prediction, truth), expected, rtol=1e-6, atol=0)


def test_a_channel_counts_in_units_of_its_one_step_differences():
    prediction, truth = draw(3, 2, 12, 24), draw(1, 2, 12, 24, seed=1)
    scale = torch.tensor([0.1, 2.0], dtype=torch.float64)[:, None, None]
    expected = loss()(prediction, truth)
    scaled = loss(step_scale=scale.flatten())
    torch.testing.assert_close(
        scaled(prediction * scale, truth * scale), expected, rtol=1e-6, atol=0
    )


def test_points_outside_the_mask_and_missing_targets_do_not_count():
    mask = torch.ones(2, 12, 24, dtype=torch.bool)
    mask[0, 3:6, 4:9] = False
    moving = torch.tensor([False, True])[:, None, None]
    prediction, truth = draw(6, 2, 12, 24), draw(2, 2, 12, 24, seed=1)
    truth[1, 1, 8:, :5] = torch.nan
    masked = loss(mask=mask, moving=moving, spectral=0.2)
    spoiled = prediction.where(mask, 77.0)
    spoiled[3:, 1, 8:, :5] = -33.0
    elsewhere = truth.where(mask, -3.0)
    expected = masked(prediction, truth)
    torch.testing.assert_close(masked(spoiled, elsewhere), expected, rtol=1e-9, atol=0)
    for found, value in zip(
        masked.moments(spoiled, elsewhere), masked.moments(prediction, truth), strict=True
    ):
        torch.testing.assert_close(found, value, rtol=1e-9, atol=0)


def coefficients(size: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return four fields (4, 1, h, w) with coefficients of a size by degree, and those (4, n)."""
    coeffs = torch.tril(torch.complex(*draw(2, 4, 1, 12, 12)) / math.sqrt(2)) * size[:, None]
    coeffs[..., 0] = coeffs[..., 0].real * math.sqrt(2)
    real = torch.cat([coeffs.real, coeffs.imag], -1)[:, 0] * math.sqrt(2)
    real[..., 0] /= math.sqrt(2)
    return InverseRealSHT(GRID, lmax=12, mmax=12)(coeffs), real


def spectral_part(fields: torch.Tensor) -> torch.Tensor:
    pointwise, both = loss(channels=1, alpha=1.0), loss(channels=1, alpha=1.0, spectral=1.0)
    return both(fields[1:], fields[:1]) - pointwise(fields[1:], fields[:1])


def test_spectral_part_is_the_score_of_each_degree_in_units_of_the_truth():
    """A coefficient of order m > 0 stands for two real ones."""
    fields, real = coefficients(torch.exp(-0.3 * torch.arange(12.0)))
    score = almost_fair_crps(real[None, 1:], real[:1], 1.0)[0]  # (l, 2m)
    size = real[0].square().sum(-1) / (2 * torch.arange(12) + 1)
    relative = score.sum(-1) / (2 * torch.arange(12) + 1) / size.sqrt()
    rms = (real[0].square().sum() / (4 * math.pi)).sqrt()
    torch.testing.assert_close(spectral_part(fields), rms * relative.mean(), rtol=1e-5, atol=0)
    power = power_spectrum(RealSHT(GRID, lmax=12, mmax=12)(fields)).sum()
    torch.testing.assert_close(power, real.square().sum() / (4 * math.pi))


def test_spectral_part_of_white_noise_is_about_the_pointwise_score():
    fields, _ = coefficients(torch.ones(12))
    pointwise = loss(channels=1, alpha=1.0)(fields[1:], fields[:1])
    assert 0.6 < (spectral_part(fields) / pointwise).item() < 1.6


def test_spectral_part_sees_a_degree_of_little_power():
    size = torch.ones(12, dtype=torch.float64)
    size[11] = 1e-2
    fields, _ = coefficients(size)
    noisy = fields.clone()
    noisy[1:] += coefficients((torch.arange(12) == 11) * 0.1)[0][1:]
    pointwise = loss(channels=1, alpha=1.0)
    before, after = (pointwise(x[1:], fields[:1]) for x in (fields, noisy))
    assert abs(after / before - 1) < 0.05
    assert spectral_part(noisy) > 1.2 * spectral_part(fields)


def test_spectral_part_is_finite_for_a_target_that_is_zero():
    fields = draw(4, 1, 12, 24).requires_grad_()
    value = loss(channels=1, spectral=1.0)(fields[1:], torch.zeros(1, 1, 12, 24).double())
    value.backward()
    assert value.isfinite() and fields.grad.isfinite().all()


def test_gradients_are_those_of_finite_differences():
    mask = torch.ones(2, 12, 24, dtype=torch.bool)
    mask[0, 3:6, 4:9] = False
    of = loss(mask=mask, spectral=0.5)
    truth = draw(1, 2, 12, 24, seed=1)
    basis = draw(3, 5, 2, 12, 24, seed=2)

    def value(weights: torch.Tensor) -> torch.Tensor:
        return of(torch.einsum("mk,mkchw->mchw", weights, basis), truth)

    assert gradcheck(value, draw(3, 5, seed=3).requires_grad_())


def test_exchangeable_members_have_a_spread_equal_to_their_error():
    prediction, truth = draw(4 * 400, 1, 12, 24), draw(400, 1, 12, 24, seed=1)
    variance, error = loss(members=4, channels=1).moments(prediction, truth)
    ratio = (5 / 4 * variance.mean() / error.mean()).sqrt().item()
    assert ratio == pytest.approx(1, abs=0.01)  # of 115,200 independent values


# --- training -------------------------------------------------------------------------------------


@pytest.fixture
def store(make_store, tmp_path) -> Store:
    return Store(make_store(tmp_path / "s.zarr", n_trajectories=10))


def settings(**training) -> Config:
    return config(NOISE, **MEMBERS | training)


def trainer(store: Store, **training) -> Trainer:
    run = settings(**training)
    torch.manual_seed(0)
    forecaster = Forecaster.from_store(run.model, store).double()
    with torch.no_grad():
        for name, parameter in forecaster.named_parameters():
            if "decoder" in name or "modulations" in name:
                parameter.normal_(std=0.1)
    made = Trainer(forecaster, run.training)
    made.loss.double()
    return made


def gradient(of: Trainer, store: Store, n_steps: int, size: int = 2) -> torch.Tensor:
    [batch] = batches(Windows(store, "train", 2), size, 0, 0, 1)
    batch = batch._map(torch.Tensor.double)
    of.rollout_loss(batch, n_steps).backward()
    return torch.cat([p.grad.flatten() for p in of.forecaster.parameters()])


def test_loss_of_a_batch_is_the_mean_of_those_of_its_samples(store):
    """The members of a sample meet no other sample, and their noise depends on none."""
    windows, of = Windows(store, "train", 2), trainer(store, spectral_crps=0.1)
    whole, *each = (
        of.rollout_loss(windows.batch(chosen)._map(torch.Tensor.double), 2)
        for chosen in ([1, 5, 9], [1], [5], [9])
    )
    torch.testing.assert_close(whole, torch.stack(each).mean())


def test_recomputed_steps_have_the_gradients_of_kept_ones(store):
    expected = gradient(trainer(store), store, 2)
    assert expected.abs().max() > 0
    found = gradient(trainer(store, checkpoint_steps=True), store, 2)
    torch.testing.assert_close(found, expected)


def test_members_are_kept_apart_in_a_rollout_that_is_pushed_forward(store):
    of = trainer(store)
    [batch] = batches(Windows(store, "train", 2), 1, 0, 0, 1)
    batch = batch._map(torch.Tensor.double)
    seeds = batch.member_seeds(3, of.config.seed, of.step_count)
    model = of.forecaster
    ends = []
    for seed in seeds:
        *_, end = rollout(model, model.with_noise(batch.initial, [seed]), 2)
        ends.append(model.normalise(end.fields, end.time))
    truth = model.normalise(batch.targets[:, 1], end.time)
    expected = of.loss(torch.cat(ends), truth)
    torch.testing.assert_close(of.rollout_loss(batch, 1), expected)


def test_a_noise_is_new_in_every_step_of_the_optimiser(store):
    of = trainer(store)
    [batch] = batches(Windows(store, "train", 2), 1, 0, 0, 1)
    batch = batch._map(torch.Tensor.double)
    first = of.rollout_loss(batch, 2)
    of.step_count += 1
    assert first != of.rollout_loss(batch, 2)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_training_lowers_the_score_and_keeps_the_best_package_by_it(store, tmp_path, precision):
    run = settings(
        steps=60,
        precision=precision,
        validate_every=20,
        validation_rollout=2,
        batch_size=4,
        learning_rate=3e-2,
    )
    result = train(run, store.path, tmp_path / "run")
    records = [r for r in read_metrics(tmp_path / "run/metrics.jsonl") if "validation/crps" in r]
    scores = [r["validation/crps"] for r in records]
    assert scores[-1] < 0.9 * scores[0]
    assert 0 < result.validation["validation/spread_skill_step_1"] < 3
    assert load_package(tmp_path / "run/best").noise is not None


def test_best_package_is_that_of_the_lowest_crps(store, tmp_path, monkeypatch):
    crps, l2, saved = iter([0.3, 0.2, 0.4]), iter([0.1, 0.5, 0.05]), []

    def validate(self, windows, indices):
        return {"validation/crps": next(crps), "validation/relative_l2": next(l2)}

    monkeypatch.setattr(Trainer, "validate", validate)
    save = Run._save_package
    monkeypatch.setattr(Run, "_save_package", lambda s, n: (saved.append((n, s.step)), save(s, n)))
    train(settings(steps=3, validate_every=1), store.path, tmp_path / "run")
    assert [step for name, step in saved if name == "best"] == [1, 2]


def test_a_resumed_run_draws_the_noise_of_the_uninterrupted_one(store, tmp_path):
    whole = train(settings(steps=4, validate_every=2), store.path, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / layout.CHECKPOINTS / "00000004")
    again = train(settings(steps=4, validate_every=2), store.path, tmp_path / "again", resume=True)
    assert again.validation == whole.validation


def test_fine_tuning_starts_at_the_error_of_the_deterministic_package(store, tmp_path):
    train(config(steps=40, validate_every=40), store.path, tmp_path / "first")
    first = read_metrics(tmp_path / "first/metrics.jsonl")[-1]["validation/relative_l2_step_1"]
    run = settings(steps=1, learning_rate=1e-7, start_from=str(tmp_path / "first"))
    tuned = train(run, store.path, tmp_path / "tuned").validation
    assert tuned["validation/relative_l2_step_1"] == pytest.approx(first, rel=1e-3)


@pytest.mark.parametrize(
    ("model", "training", "absent"),
    [
        (NOISE, {}, "model.noise without training.members, training.loss=crps"),
        ({}, {"loss": "crps"}, "training.loss=crps without model.noise, training.members"),
        (NOISE, {"members": 4}, "model.noise, training.members without training.loss=crps"),
    ],
)
def test_noise_members_and_crps_are_refused_without_one_another(model, training, absent):
    with pytest.raises(ValueError, match=absent):
        config(model, **training)


assert "noise" not in BASE["model"]
