import json
import multiprocessing
import os
import random
import signal
import threading

import pytest
import torch

from configs.schema import Config
from forecast import run as run_module
from forecast.checkpoint import load_package
from forecast.forecaster import Forecaster
from forecast.recorder import read_metrics
from forecast.schedule import Phase, phases
from forecast.store import Store
from forecast.train import train
from forecast.trainer import Trainer

BASE = {
    "data": {
        "source": "shallow_water",
        "grid": {"kind": "legendre-gauss", "nlat": 8, "nlon": 16},
        "time_step": "1h",
    },
    "model": {
        "branches": {"spectral": {"lmax": 6}, "differential": {"order": 1}},
        "channels": 4,
        "blocks": 1,
    },
    "training": {
        "steps": 12,
        "batch_size": 2,
        "learning_rate": 1e-2,
        "validate_every": 4,
        "validation_rollout": 2,
        "log_every": 2,
    },
    "tracking": {"enabled": False},
}


def config(model: dict | None = None, **training) -> Config:
    changed = {
        **BASE,
        "model": {**BASE["model"], **(model or {})},
        "training": {**BASE["training"], **training},
    }
    return Config.model_validate(changed)


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("train") / "store.zarr")


def weights(run) -> dict[str, torch.Tensor]:
    return dict(load_package(run).named_parameters())


def assert_same_weights(a, b) -> None:
    first, second = weights(a), weights(b)
    for name in first:
        assert torch.equal(first[name], second[name]), name


def stop_after(step: int, monkeypatch) -> None:
    """Send this process a SIGTERM in that step."""
    original = Trainer.step

    def stepping(self, *arguments):
        if self.step_count + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    monkeypatch.setattr(Trainer, "step", stepping)


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
    "settings",
    [
        {},
        {
            "rollout_steps": 3, "rollout_from": 0.4, "push_forward": 1, "accumulate": 2,
            "ema_decay": 0.9, "checkpoint_steps": True, "checkpoint_blocks": True,
        },
    ],
    ids=["plain", "everything"],
)  # fmt: skip
def test_resumed_run_equals_the_uninterrupted_run(store, tmp_path, monkeypatch, settings):
    whole = train(config(**settings), store, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(7, patch)  # in the middle of an epoch, and between two saved states
        stopped = train(config(**settings), store, tmp_path / "parts")
    assert (stopped.step, stopped.stopped_by) == (7, signal.SIGTERM)
    resumed = train(config(**settings), store, tmp_path / "parts", resume=True)
    assert resumed.step == whole.step == 12
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    assert resumed.validation == whole.validation
    losses = [
        [(r["step"], r["train/loss"]) for r in read_metrics(tmp_path / run / "metrics.jsonl")]
        for run in ("whole", "parts")
    ]
    # The line of the interrupted pair of steps holds only the part that came after.
    assert [pair for pair in losses[0] if pair[0] != 8] == [p for p in losses[1] if p[0] != 8]


def test_a_run_that_lost_everything_after_its_last_save_repeats_it(store, tmp_path, monkeypatch):
    train(config(), store, tmp_path / "whole")

    def killed(self, *arguments):
        if self.step_count == 6:
            raise KeyboardInterrupt  # nothing is saved on this way out
        return original(self, *arguments)

    original = Trainer.step
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config(), store, tmp_path / "parts")
    with (tmp_path / "parts/metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "half a li')
    train(config(), store, tmp_path / "parts", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    steps = [r["step"] for r in read_metrics(tmp_path / "parts/metrics.jsonl")]
    assert steps == [2, 4, 6, 8, 10, 12]


def test_resuming_nothing_begins(store, tmp_path):
    assert train(config(steps=2), store, tmp_path / "run", resume=True).step == 2


def test_accumulated_batches_have_the_gradient_of_one_large_batch(store, tmp_path):
    opened = Store(store)
    gradients = []
    for size, parts in ((4, 1), (2, 2)):
        torch.manual_seed(0)
        settings = config(batch_size=size, accumulate=parts, gradient_clip=1e9)
        trainer = Trainer(Forecaster.from_store(settings.model, opened), settings.training)
        from forecast.data import Windows

        windows = Windows(opened, "train", 1)
        chosen = [list(range(i * size, (i + 1) * size)) for i in range(parts)]
        trainer.step([windows.batch(c) for c in chosen], 1)
        gradients.append([p.grad for p in trainer.forecaster.parameters()])
    for whole, summed in zip(*gradients, strict=True):
        torch.testing.assert_close(summed, whole, rtol=1e-4, atol=1e-6)


def test_recomputed_steps_have_the_gradients_of_kept_ones(store):
    opened = Store(store)
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        settings = config(checkpoint_steps=recompute)
        trainer = Trainer(Forecaster.from_store(settings.model, opened), settings.training)
        from forecast.data import Windows

        trainer.step([Windows(opened, "train", 3).batch([1, 5])], 3)
        gradients.append([p.grad for p in trainer.forecaster.parameters()])
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, kept, rtol=1e-5, atol=1e-7)


def test_a_schedule_covers_every_step_once_with_growing_rollouts():
    assert phases(100, 1, 0.0) == [Phase(0, 100, 1)]
    assert phases(100, 3, 0.5) == [Phase(0, 50, 1), Phase(50, 75, 2), Phase(75, 100, 3)]
    assert phases(90, 4, 0.0) == [Phase(0, 30, 2), Phase(30, 60, 3), Phase(60, 90, 4)]
    assert phases(2, 4, 0.9)[-1].last == 2


def test_non_finite_steps_are_skipped_up_to_a_limit_and_named(store, tmp_path, monkeypatch):
    original = Trainer.rollout_loss

    def poisoned(self, batch, n_steps):
        loss = original(self, batch, n_steps)
        return loss * float("nan") if self.step_count in (3, 5) else loss

    monkeypatch.setattr(Trainer, "rollout_loss", poisoned)
    train(config(), store, tmp_path / "lenient")
    lines = (tmp_path / "lenient/non_finite.jsonl").read_text().splitlines()
    reports = [json.loads(line) for line in lines]
    assert [r["step"] for r in reports] == [4, 6] and reports[0]["loss"] == "nan"
    assert len(reports[0]["batch"]) == 2 and reports[0]["batch"][0].startswith("trajectory ")
    with pytest.raises(
        ValueError, match="stopped at step 6: 2 steps .*lower training.learning_rate"
    ):
        train(config(max_skipped=1), store, tmp_path / "strict")
    assert all(p.isfinite().all() for p in weights(tmp_path / "strict").values())


def test_a_diverging_learning_rate_ends_with_a_way_out(store, tmp_path):
    settings = config(
        learning_rate=1e4, warmup=0.0, max_skipped=2, steps=200, gradient_clip=1e9, rollout_steps=4
    )
    with pytest.raises(ValueError, match="lower training.learning_rate, now 10000"):
        train(settings, store, tmp_path / "run")


def test_a_batch_that_does_not_fit_in_memory_is_told_what_would(store, tmp_path, monkeypatch):
    def full(self, batch, n_steps):
        raise torch.OutOfMemoryError("tried to allocate\n40 GiB")

    monkeypatch.setattr(Trainer, "rollout_loss", full)
    with pytest.raises(ValueError, match="batch of 8 .*batch_size=4 training.accumulate=2"):
        train(config(batch_size=8), store, tmp_path / "run")
    with pytest.raises(ValueError, match="batch of 1 .*training.checkpoint_blocks=true"):
        train(config(batch_size=1), store, tmp_path / "other")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_to_about_the_same_loss(store, tmp_path, precision):
    validations = [
        train(config(precision=p, steps=30, validate_every=30), store, tmp_path / p).validation
        for p in ("float32", precision)
    ]
    full, half = (v["validation/relative_l2_step_1"] for v in validations)
    assert half == pytest.approx(full, rel=0.2)


def test_average_is_what_the_package_holds(store, tmp_path):
    train(config(ema_decay=0.5), store, tmp_path / "run")
    from forecast.checkpoint import load_training_state

    tensors = load_training_state(tmp_path / "run").tensors
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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"time_step": "6h"}, "data.time_step is 6h, but .* has a step of 1h"),
        ({"variables": ["geopotential"]}, "data.variables are geopotential, but .* has"),
        ({"grid": {"nlat": 16, "nlon": 32}}, "data.grid is legendre-gauss 16×32, but .* is on"),
    ],
)
def test_a_store_that_does_not_fit_is_refused(store, tmp_path, data, message):
    settings = Config.model_validate({**BASE, "data": {**BASE["data"], **data}})
    with pytest.raises(ValueError, match=message):
        train(settings, store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_mesh_that_training_would_not_use_is_refused(store, tmp_path):
    settings = Config.model_validate({**BASE, "mesh": {"data": 2}})
    with pytest.raises(ValueError, match="mesh is 2×1, but training runs in one process"):
        train(settings, store, tmp_path / "run")


def test_folders_that_cannot_be_used_are_refused(store, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(FileExistsError, match="exists already; .* --resume"):
        train(config(), store, tmp_path / "run")
    train(config(steps=2), store, tmp_path / "begun")
    with pytest.raises(ValueError, match="another model .changed: model.channels from 4 to 6"):
        train(config({"channels": 6}), store, tmp_path / "begun", resume=True)


def test_two_processes_cannot_train_in_one_folder(store, tmp_path, monkeypatch):
    from forecast.run_folder import run_folder

    entered, refused = threading.Event(), []
    with run_folder(config(), tmp_path / "run", resume=False):
        entered.set()
        try:
            train(config(), store, tmp_path / "run", resume=True)
        except FileExistsError as error:
            refused.append(str(error))
    assert "another process trains in" in refused[0]


def test_the_log_file_says_what_happened(store, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module.log, "disabled", False)
    import logging

    logging.getLogger("forecast").setLevel(logging.INFO)
    stop_after(3, monkeypatch)
    train(config(), store, tmp_path / "run")
    assert "stopped at step 3 of 12 by SIGTERM" in (tmp_path / "run/train.log").read_text()


@pytest.mark.parallel
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork, since Python 3.12
def test_a_run_killed_at_any_moment_ends_with_the_same_weights(store, tmp_path):
    settings = config(steps=60, validate_every=3, ema_decay=0.9)
    train(settings, store, tmp_path / "whole")

    def attempt() -> None:
        torch.set_num_threads(1)
        train(settings, store, tmp_path / "killed", resume=True)

    kills, moments = 0, random.Random(0)
    while True:
        process = multiprocessing.get_context("fork").Process(target=attempt)
        process.start()
        process.join(moments.uniform(0.02, 0.4) if kills < 6 else 120)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1
    assert process.exitcode == 0
    assert kills > 0
    assert_same_weights(tmp_path / "whole", tmp_path / "killed")
    steps = [r["step"] for r in read_metrics(tmp_path / "killed/metrics.jsonl")]
    assert steps == sorted(set(steps)) and steps[-1] == 60
