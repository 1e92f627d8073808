"""Time per training step of every row of the ablation beside torch-harmonics' models; the loader.

    python -m benchmarks.training [--quick] [--json FILE] [--device cuda] [--only NAME]

All models do the same step: forward, loss, backward, clipping and AdamW on a batch of 4 windows of
random fields at 64×128, in one process, in turn; minima and medians of these. The peers are
torch-harmonics' example models SFNO and LSNO with 32 channels and 4 layers, as they come, in place
of our network. The loader's row is the share of the time in compute when every batch of a store is
read from disk by worker processes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from torch import nn

from benchmarks.measure import Row, Timing, interleaved, peak_memory, report
from benchmarks.task_a import FULL, PRESET, Variant, ablation
from configs.load import load_config
from configs.model import ModelConfig
from configs.schema import Config, ShallowWaterData
from configs.timestep import TimeStep
from configs.variables import variable
from forecast import store as forecast_store
from forecast.data import Batch, Windows, batches
from forecast.forcing import positional_field
from forecast.forecaster import Forecaster
from forecast.normalizer import Normalizer
from forecast.store import Store
from forecast.trainer import Trainer
from sphere_ops.grid import Grid
from sphere_ops.memory import keep_freed_memory

_BATCH, _CHANNELS, _LAYERS = 4, 32, 4
_PEERS = ("SFNO", "LSNO")


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few runs and rows")
    parser.add_argument("--json", type=Path, help="save the rows here")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory rows out")
    parser.add_argument("--peak", metavar="NAME", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="torch_harmonics")
    device = torch.device(arguments.device)
    if arguments.peak:
        print(peak_memory(_step(arguments.peak, device), device))
        return
    keep_freed_memory()
    names = [v.name for v in ablation() if arguments.only in v.name]
    runs = 3 if arguments.quick else arguments.runs
    if arguments.quick:
        names = names[-4:]
    steps = {name: _step(name, device) for name in (*names, *_PEERS)}
    times = interleaved(steps, runs, device)
    rows = [_row(name, peer, times) for name in names for peer in _PEERS]
    if not arguments.no_memory:
        peaks = {name: _peak(name, device) for name in (*names, *_PEERS)}
        rows += [_memory_row(name, peer, peaks) for name in names for peer in _PEERS]
    if device.type == "cpu":
        rows.append(_loader(steps[names[-1]]))
    title = f"one training step on {device}, float32, {torch.get_num_threads()} threads"
    report(rows, title, arguments.json)


def _step(name: str, device: torch.device) -> Callable[[], object]:
    """One training step of a row of the ablation, or of a peer."""
    variant = next((v for v in ablation() if v.name == name), Variant(name))
    config = variant.config(FULL)
    trainer = Trainer(_forecaster(name, config).to(device), config.training)
    if name in _PEERS:  # torch's fused AdamW takes no complex weights
        trainer.optimizer = torch.optim.AdamW(trainer.forecaster.parameters())
    batch = _random_batch(trainer.forecaster.grid, device)
    return lambda: trainer.step([batch], 1)


def _forecaster(name: str, config: Config) -> Forecaster:
    """A forecaster of the shallow-water channels; a peer takes the place of its network."""
    model: ModelConfig = config.model
    grid_config = config.data.grid
    assert grid_config is not None
    grid = Grid.of(grid_config.kind, grid_config.nlat, grid_config.nlon)
    channels = tuple(variable(v) for v in config.data.variables)
    ones, step = torch.ones(len(channels)), TimeStep.parse(config.data.time_step)
    static = torch.stack([positional_field(n, grid).float() for n in model.static])
    forecaster = Forecaster(
        model, grid, channels, step, Normalizer(0 * ones, ones, ones, step), static
    )
    if name in _PEERS:
        forecaster.network = cast(Any, _peer)(
            name, grid, len(channels) + len(static), len(channels)
        )
        forecaster.filter = None
    return forecaster


def _peer(name: str, grid: Grid, in_channels: int, out_channels: int) -> nn.Module:
    from torch_harmonics.examples.models import (
        LocalSphericalNeuralOperator,
        SphericalFourierNeuralOperator,
    )

    kind = SphericalFourierNeuralOperator if name == "SFNO" else LocalSphericalNeuralOperator
    network: nn.Module = kind(
        img_size=grid.shape,
        grid=grid.kind,
        grid_internal=grid.kind,
        scale_factor=1,
        in_chans=in_channels,
        out_chans=out_channels,
        embed_dim=_CHANNELS,
        num_layers=_LAYERS,
    )
    return network


def _random_batch(grid: Grid, device: torch.device) -> Batch:
    fields = torch.randn(_BATCH, 2, 3, *grid.shape, device=device)
    start = np.full(_BATCH, np.datetime64("2000-01-01", "ns"))
    return Batch(fields, start, np.zeros((_BATCH, 2), dtype=np.int64))


def _row(name: str, peer: str, times: dict[str, Timing]) -> Row:
    ours, theirs = times[name], times[peer]
    return Row(
        f"training step, {name}",
        f"{_BATCH}×3×64×128",
        1e3 * ours.minimum,
        1e3 * theirs.minimum,
        f"torch-harmonics {peer}",
        theirs.minimum / ours.minimum,
        "ms",
        ours_median=1e3 * ours.median,
        peer_median=1e3 * theirs.median,
    )


def _peak(name: str, device: torch.device) -> float:
    """Peak memory of a step in a fresh process, MiB."""
    command = [sys.executable, "-m", "benchmarks.training", "--peak", name]
    command += ["--device", str(device)]
    out = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(out.stdout.split()[-1]) / 2**20


def _memory_row(name: str, peer: str, peaks: dict[str, float]) -> Row:
    return Row(
        f"peak memory of a step, {name}",
        f"{_BATCH}×3×64×128",
        peaks[name],
        peaks[peer],
        f"torch-harmonics {peer}",
        peaks[peer] / peaks[name],
        "MiB",
    )


def _loader(step: Callable[[], object]) -> Row:
    """Share of the time in compute while workers read every batch from disk."""
    from data_prep.generate import generate_shallow_water

    counts = {"train": 4, "validation": 0, "test": 0}
    data = load_config(PRESET, [f"data.trajectories.{k}={n}" for k, n in counts.items()]).data
    assert isinstance(data, ShallowWaterData)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(forecast_store, "_IN_MEMORY_BYTES", 0),
    ):
        windows = Windows(Store(generate_shallow_water(data, Path(folder) / "store")), "train", 1)
        busy, count, started = 0.0, 0, None
        for _ in batches(windows, _BATCH, 0, 0, 24, workers=1):
            started = started or time.perf_counter()  # the first batch starts the worker
            begin = time.perf_counter()
            step()
            busy += time.perf_counter() - begin
            count += 1
        assert started is not None
        share = busy / (time.perf_counter() - started)
    name = "loader, share of the time in compute"
    return Row(name, f"{count} batches", share, None, "", None, "")


if __name__ == "__main__":
    main()
