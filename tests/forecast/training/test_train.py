import json

import pytest
import torch

from data_prep.store.reader import Store
from forecast.model.forecaster import Forecaster
from forecast.training.checkpoint import load_checkpoint
from forecast.training.samples.batches import Windows
from forecast.training.schedule import Phase, phases
from forecast.training.tracking.recorder import read_metrics
from forecast.training.train import train
from forecast.training.trainer import Trainer
from tests.forecast.small_run import config, weights


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("train") / "store.zarr")


def test_training_lowers_the_error_below_persistence(make_store, tmp_path):
    store = make_store(tmp_path / "store.zarr", n_trajectories=26)
    settings = config(
        {"channels": 8}, steps=150, learning_rate=2e-2, validate_every=150, batch_size=4
    )
    result = train(settings, store, tmp_path / "run")
    assert result.stopped_by is None and result.step == 150
    scores = result.validation
    assert scores["validation/relative_l2_step_1"] < 0.8 * scores["validation/persistence_step_1"]
    records = read_metrics(tmp_path / "run/metrics.jsonl")
    assert records[-1]["train/loss"] < 0.6 * records[0]["train/loss"]
    summary = json.loads((tmp_path / "run/package/package.json").read_text())["training"]
    assert summary["step"] == 150
    assert (tmp_path / "run/best/model.safetensors").exists()
    assert (tmp_path / "run/curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("loss", "weight", "power"),
    [("relative-l2", 1, 1), ("relative-l2", 0.5, 0.5), ("mse", 1, 2), ("mse", 0, 0)],
)
def test_channels_that_change_little_may_count_more(store, loss, weight, power):
    opened = Store(store)
    expected = (opened.statistics["std"] / opened.statistics["std_step"]).float() ** power
    assert power == 0 or expected.max() > 1.02 * expected.min()
    settings = config(loss=loss, change_weight=weight)
    trainer = Trainer(Forecaster.from_store(settings.model, opened), settings.training)
    torch.testing.assert_close(trainer.loss.channel_weights, expected / expected.sum())
    # The error of a validation is not weighted.
    equal = torch.full_like(expected, 1 / len(expected))
    torch.testing.assert_close(trainer.error.channel_weights, equal)


def gradients(store, batches, n_steps, **training) -> list[torch.Tensor]:
    """Return gradients of one step of a model with a decoder that is not zero."""
    torch.manual_seed(0)
    settings = config(gradient_clip=1e9, **training)
    trainer = Trainer(Forecaster.from_store(settings.model, store), settings.training)
    with torch.no_grad():
        trainer.forecaster.network.decoder.weight.normal_()
    trainer.step(batches, n_steps)
    found = {name: p.grad for name, p in trainer.forecaster.named_parameters()}
    # The last biases only shift area means, which are kept.
    assert all(g.abs().max() > 1e-5 for name, g in found.items() if name.endswith("weight"))
    return list(found.values())


def assert_same_gradients(found, expected):
    """Compare gradients; those of weights without effect on the loss are rounding in both."""
    rounding = 1e-6 * max(float(b.abs().max()) for b in expected)
    for a, b in zip(found, expected, strict=True):
        size = float(b.abs().max())
        if size < rounding:
            assert float(a.abs().max()) < rounding
        else:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * size)


def test_accumulated_batches_have_the_gradient_of_one_large_batch(store):
    opened = Store(store)
    batch = Windows(opened, "train", 1).batch
    whole = gradients(opened, [batch([0, 1, 2, 3])], 1)
    summed = gradients(opened, [batch([0, 1]), batch([2, 3])], 1, accumulate=2)
    assert_same_gradients(summed, whole)


def test_recomputed_steps_have_the_gradients_of_kept_ones(store):
    opened = Store(store)
    batches = [Windows(opened, "train", 3).batch([1, 5])]
    kept = gradients(opened, batches, 3)
    assert_same_gradients(gradients(opened, batches, 3, checkpoint_steps=True), kept)


def test_a_schedule_covers_every_step_once_with_growing_rollouts():
    assert phases(100, 1, 0.0) == [Phase(0, 100, 1)]
    assert phases(100, 3, 0.5) == [Phase(0, 50, 1), Phase(50, 75, 2), Phase(75, 100, 3)]
    assert phases(90, 4, 0.0) == [Phase(0, 30, 2), Phase(30, 60, 3), Phase(60, 90, 4)]
    assert phases(2, 4, 0.9)[-1].last == 2


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_to_about_the_same_loss(store, tmp_path, precision):
    full, half = (
        train(config(precision=p, steps=30, validate_every=30), store, tmp_path / p).validation
        for p in ("float32", precision)
    )
    name = "validation/relative_l2_step_1"
    # 2e-5 was seen; a model that learns nothing is off by 1e-2.
    assert half[name] == pytest.approx(full[name], rel=1e-3) and half[name] != full[name]
    assert full[name] < 0.99 * full["validation/persistence_step_1"]


def test_average_is_what_the_package_holds(store, tmp_path):
    train(config(ema_decay=0.5), store, tmp_path / "run")
    tensors = load_checkpoint(tmp_path / "run").tensors
    for name, parameter in weights(tmp_path / "run").items():
        assert torch.equal(parameter, tensors[f"average.{name}"])
        assert not torch.equal(parameter, tensors[f"model.{name}"])


def test_a_dry_run_writes_nothing_and_says_what_it_takes(store, tmp_path, capsys):
    train(config(), store, tmp_path / "run", dry_run=True)
    text = capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    for word in ("spectral", "differential", "pointwise", "time per step", "memory"):
        assert word in text
    assert f"{4 * 4 * 6:,}" in text


@pytest.mark.filterwarnings("ignore")  # torch.compile's own
@pytest.mark.isa
@pytest.mark.slow
def test_a_compiled_network_trains_to_the_eager_result(store):
    opened = Store(store)
    batch = Windows(opened, "train", 1).batch([0, 7])
    losses, gradients = [], []
    for compiled in (False, True):
        torch.manual_seed(0)
        settings = config(compile=compiled)
        trainer = Trainer(Forecaster.from_store(settings.model, opened), settings.training)
        with torch.no_grad():
            trainer.forecaster.network.decoder.weight.normal_()
        losses.append([trainer.step([batch], 1).loss])
        gradients.append(torch.cat([p.grad.flatten() for p in trainer.forecaster.parameters()]))
        losses[-1] += [trainer.step([batch], 1).loss for _ in range(5)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4) and losses[0][-1] < losses[0][0]
    eager, fast = gradients
    assert (fast - eager).norm() < 1e-5 * eager.norm()
