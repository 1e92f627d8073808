"""Time per training step of the networks of the ablation and of torch-harmonics' models; loader.

    python -m benchmarks.speed.training [--quick] [--json FILE] [--device cuda] [--only NAME]

All models compute the same step, interleaved in one process: forward, loss, backward, clipping and
Muon on a batch of 4 windows of random fields at 64×128. Reported are minima and medians. The peers
are torch-harmonics' example models SFNO and LSNO with 32 channels, 4 layers and default settings,
in place of our network, and without the truncation of the tendency. `--only loader` measures the
loader only, on a store larger than its memory limit: `benchmarks/speed/loader.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.accuracy.study.experiments import WEAK
from benchmarks.accuracy.study.rows import LOCAL, row
from benchmarks.speed.measure import (
    Row,
    Timing,
    interleaved,
    peak_memory,
    peak_of_process,
    report,
    selected,
)
from configs.schema import Config
from configs.time.step import TimeStep
from configs.variables import variable
from forecast.model.build import BuildNetwork
from forecast.model.forcing import is_positional, positional_field
from forecast.model.forecaster import Forecaster
from forecast.model.normalizer import Normalizer
from forecast.training.samples.batches import Batch
from forecast.training.trainer import Trainer
from sphere_ops.grid import Grid
from sphere_ops.memory import keep_freed_memory

BATCH = 4
NAMES = (
    *(f"{lmax} {local}" for lmax in (16, 32, 64) for local in LOCAL),
    *(f"{lmax} {local}, second order" for lmax in (16, 64) for local in ("differential", "both")),
    *(f"16 both, second order, {size}" for size in ("2×32", "3×24", "4×16")),
    "64 differential, 4×16",
)
"""Rows that are timed; see `benchmarks.accuracy.study.rows`."""
_PEERS = {"SFNO": "sfno, aliased", "LSNO": "lsno, aliased"}
_LOADER = "loader"


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
    device = torch.device(arguments.device)
    if arguments.peak:
        print(peak_memory(_step(arguments.peak, device), device))
        return
    with_loader = [_LOADER] if device.type == "cpu" else []
    every = [*NAMES, *with_loader]
    chosen = selected(parser, arguments.only, every)
    names = [name for name in chosen if name != _LOADER]
    keep_freed_memory()
    runs = 3 if arguments.quick else arguments.runs
    if arguments.quick:
        names = names[-4:]
    rows = _rows(names, runs, device, memory=not arguments.no_memory) if names else []
    if _LOADER in chosen:
        from benchmarks.speed.loader import loader_rows

        rows += loader_rows("64 both")
    title = f"one training step on {device}, float32, {torch.get_num_threads()} threads"
    report(rows, title, arguments.json, keep=bool(arguments.only))


def _rows(names: list[str], runs: int, device: torch.device, *, memory: bool) -> list[Row]:
    """Return time, and memory if requested, of some rows and of the peers."""
    steps = {name: _step(name, device) for name in (*names, *_PEERS)}
    times = interleaved(steps, runs, device)
    rows = [_row(name, peer, times) for name in names for peer in _PEERS]
    if memory:
        peaks = {name: _peak(name, device) for name in (*names, *_PEERS)}
        rows += [_memory_row(name, peer, peaks) for name in names for peer in _PEERS]
    return rows


def step_of(name: str, device: torch.device) -> Callable[[Batch], object]:
    """Return one training step of a row, or of a peer."""
    of = row(_PEERS.get(name, name))
    return training_step(of.build, of.config(WEAK), device)


def training_step(
    build: BuildNetwork, config: Config, device: torch.device
) -> Callable[[Batch], object]:
    """Return one training step of a forecaster of shallow-water channels."""
    trainer = Trainer(_forecaster(build, config).to(device), config.training)
    return lambda batch: trainer.step([batch], 1)


def _step(name: str, device: torch.device) -> Callable[[], object]:
    """Return a training step of a forecaster on random fields."""
    step, batch = step_of(name, device), random_batch(row("64 both").config(WEAK), device)
    return lambda: step(batch)


def _forecaster(build: BuildNetwork, config: Config) -> Forecaster:
    """Return a forecaster without a store."""
    grid, model = _grid(config), config.model
    channels = tuple(variable(v) for v in config.data.variables)
    ones, step = torch.ones(len(channels)), TimeStep.parse(config.data.time_step)
    static = torch.stack([
        positional_field(n, grid).float() if is_positional(n) else torch.randn(grid.shape)
        for n in model.static
    ])  # fmt: skip
    scaling = Normalizer(0 * ones, ones, ones, step)
    return Forecaster(model, grid, channels, step, scaling, static, build=build)


def random_batch(config: Config, device: torch.device) -> Batch:
    """Return random fields of the channels and the grid of a configuration."""
    shape = len(config.data.variables), *_grid(config).shape
    fields = torch.randn(BATCH, 2, *shape, device=device)
    start = np.full(BATCH, np.datetime64("2000-01-01", "ns"))
    return Batch(fields, start, np.zeros((BATCH, 2), dtype=np.int64))


def _grid(config: Config) -> Grid:
    grid = config.data.grid
    assert grid is not None
    return Grid.of(grid.kind, grid.nlat, grid.nlon)


def _row(name: str, peer: str, times: dict[str, Timing]) -> Row:
    ours, theirs = times[name], times[peer]
    return Row(
        f"training step, {name}",
        f"{BATCH}×3×64×128",
        1e3 * ours.minimum,
        1e3 * theirs.minimum,
        f"torch-harmonics {peer}",
        theirs.minimum / ours.minimum,
        "ms",
        ours_median=1e3 * ours.median,
        peer_median=1e3 * theirs.median,
    )


def _peak(name: str, device: torch.device) -> float:
    """Return the peak memory of a step in a new process, MiB."""
    command = ("-m", "benchmarks.speed.training", "--peak", name, "--device", str(device))
    return peak_of_process(*command)


def _memory_row(name: str, peer: str, peaks: dict[str, float]) -> Row:
    return Row(
        f"peak memory of a step, {name}",
        f"{BATCH}×3×64×128",
        peaks[name],
        peaks[peer],
        f"torch-harmonics {peer}",
        peaks[peer] / peaks[name],
        "MiB",
    )


if __name__ == "__main__":
    main()
