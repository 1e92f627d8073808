"""Training of a network that is not built from the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from configs.model import ModelConfig
from forecast.model.package import load_package
from forecast.training.train import train
from sphere_ops.grid import Grid
from tests.forecast.conftest import build_store
from tests.forecast.small_run import config, stop_after


class Linear(nn.Module):
    """Linear map of the channels at every point."""

    checkpoint_blocks = False

    def __init__(self, config: ModelConfig, in_channels: int, out_channels: int, _: Grid) -> None:
        super().__init__()
        self.map = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x)

    def parameter_counts(self) -> dict[str, int]:
        return {"map": sum(p.numel() for p in self.parameters())}


build: Any = Linear


def weights(run: Path) -> dict[str, Tensor]:
    return dict(load_package(run, build=build).named_parameters())


def test_a_given_network_is_trained_resumed_and_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = build_store(tmp_path / "s.zarr")
    train(config(), data, tmp_path / "whole", build=build)
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        stopped = train(config(), data, tmp_path / "parts", build=build)
    assert stopped.step == 5
    assert train(config(), data, tmp_path / "parts", resume=True, build=build).step == 12
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert set(whole) == {"network.map.weight", "network.map.bias"}
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_a_given_network_starts_from_the_weights_of_a_package(tmp_path: Path) -> None:
    data = build_store(tmp_path / "s.zarr")
    train(config(steps=3), data, tmp_path / "first", build=build)
    start = {"start_from": str(tmp_path / "first"), "steps": 1, "learning_rate": 1e-30}
    train(config(**start), data, tmp_path / "second", build=build)
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    for name, value in first.items():
        torch.testing.assert_close(second[name], value)


def test_a_package_of_a_given_network_needs_the_function_that_builds_it(tmp_path: Path) -> None:
    train(config(steps=1), build_store(tmp_path / "s.zarr"), tmp_path / "run", build=build)
    with pytest.raises(ValueError, match="package .* is damaged"):
        load_package(tmp_path / "run")
