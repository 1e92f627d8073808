"""Small model that trains in a second on the synthetic store, and comparisons of its runs."""

import os
import signal

import torch

from configs.schema import Config
from forecast.model.package import load_package
from forecast.training.trainer import Trainer

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


def weights(run) -> dict[str, torch.Tensor]:
    return dict(load_package(run).named_parameters())


def assert_same_weights(a, b) -> None:
    first, second = weights(a), weights(b)
    for name in first:
        assert torch.equal(first[name], second[name]), name


def stop_after(step: int, monkeypatch) -> None:
    """Send a SIGTERM to this process in a given step."""
    original = Trainer.step

    def stepping(self, *arguments):
        if self.step_count + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    monkeypatch.setattr(Trainer, "step", stepping)
