"""Time and memory of a rollout into a file, against the bare steps of the model.

    python -m benchmarks.speed.rollout [--quick] [--json FILE] [--only NAME]

An untrained model of the default architecture, with random weights of its last layer, steps 3 and
32 channels at 64×128. The bare steps and the rollouts into zarr and netCDF alternate in one
process. "Step of N" is the time of a rollout of N steps over N: all fixed costs and the completion
of the file are in it. "Further step" is the difference of that rollout to one of N/5 steps over
4N/5, the cost of a step in a long rollout. Processor times count all threads. Ratios are those of
medians, bare / rollout. Peak memory is that of a new process, with its imports, after few and after
many steps, and with few and many members: a small model, so that the steps take little time.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.measure import Row, report, selected, versions

_GRID = 64, 128
_CHANNELS = (3, 32)
_SUFFIXES = ("zarr", "nc")
_STEPS, _QUICK_STEPS = 300, 5
_PART = 5  # the shorter rollout has this part of the steps
_FEW, _MANY, _QUICK_MANY = 100, 10_000, 200
_FEW_MEMBERS, _MANY_MEMBERS, _QUICK_MEMBERS = 8, 64, 16
_MEMBER_STEPS = 40  # ten blocks of lead times
_MIB = 2**20
_PACKAGES = ("numpy", "xarray", "zarr", "netCDF4", "torch", "safetensors")


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer steps and runs")
    parser.add_argument("--json", type=Path, help="save the rows here")
    parser.add_argument(
        "--only", default="", help="cases whose name contains this; other rows of the file are kept"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, help="folder for the files; default: a temporary one"
    )
    parser.add_argument(
        "--measure",
        nargs=4,
        metavar=("STORE", "FILE", "STEPS", "MEMBERS"),
        help=argparse.SUPPRESS,
    )
    arguments = parser.parse_args()
    if arguments.measure:
        store, file, n_steps, members = arguments.measure
        print(_peak_here(Path(store), Path(file), int(n_steps), int(members)))
        return
    cases: dict[str, Callable[[Path], list[Row]]] = {}
    quick = arguments.quick
    n_steps, runs = (_QUICK_STEPS, 1) if quick else (_STEPS, arguments.runs)
    for channels in _CHANNELS:
        cases[f"time, {channels} channels"] = partial(
            _timed, channels=channels, n_steps=n_steps, runs=runs
        )
    for suffix in _SUFFIXES:
        cases[f"memory by steps, {suffix}"] = partial(_memory_by_steps, suffix=suffix, quick=quick)
    cases["memory by members"] = partial(_memory_by_members, quick=quick)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name in selected(parser, arguments.only, cases):
            rows += cases[name](Path(folder))
    title, about = "rollout into a file", versions(*_PACKAGES)
    report(rows, title, arguments.json, about=about, keep=bool(arguments.only))


def _timed(folder: Path, channels: int, n_steps: int, runs: int) -> list[Row]:
    """Return times of a step, bare and in rollouts, processor times, and the sizes of files."""
    from data_prep.store.reader import Store
    from forecast.inference.initial_states import InitialStates
    from forecast.inference.rollout import rollout
    from sphere_ops.memory import keep_freed_memory

    keep_freed_memory()  # as the command does
    store = _store(folder, channels)
    forecaster = _forecaster(store, small=False)
    states = InitialStates(Store(store), forecaster, init_times=["2001-01-01"])
    initial = states.read([0])
    sizes: dict[str, float] = {}

    def bare(steps: int) -> None:
        for _ in rollout(forecaster, initial, steps):
            pass

    def written(suffix: str, steps: int) -> None:
        _rollout(forecaster, store, folder / f"f.{suffix}", steps)

    functions: dict[str, Callable[[int], None]] = {"bare": bare}
    functions |= {suffix: partial(written, suffix) for suffix in _SUFFIXES}
    spent: dict[tuple[str, int], list[_Spent]] = {}
    for name, function in functions.items():
        function(_QUICK_STEPS)  # loads libraries and touches memory
        _remove(folder / f"f.{name}")
    for _ in range(runs):
        for name, function in functions.items():
            for steps in (n_steps, n_steps // _PART, 1):
                spent.setdefault((name, steps), []).append(_spent(partial(function, steps)))
                if steps == n_steps and name != "bare":
                    sizes[name] = _size(folder / f"f.{name}") / _MIB
                _remove(folder / f"f.{name}")
    total = {name: [x / n_steps for x in spent[name, n_steps]] for name in functions}
    few = n_steps // _PART
    marginal = {
        name: [
            (x - y) / (n_steps - few)
            for x, y in zip(spent[name, n_steps], spent[name, few], strict=True)
        ]
        for name in functions
    }
    shape, raw = _shape(channels), (n_steps + 1) * channels * math.prod(_GRID) * 4 / _MIB
    rows: list[Row] = []
    for suffix in _SUFFIXES:
        rows += _compared(f"step of {n_steps}, {suffix}", shape, total, suffix)
        rows += _compared(f"further step, {suffix}", shape, marginal, suffix)
        once = [x.wall for x in spent[suffix, 1]]
        rows += [
            Row(f"rollout of one step, {suffix}", shape, min(once), None, "", None, "s", None,
                statistics.median(once)),
            Row(f"size of a file, {suffix}", shape, sizes[suffix], raw, "float32",
                raw / sizes[suffix], "MiB"),
        ]  # fmt: skip
    return rows


@dataclass(frozen=True)
class _Spent:
    """Time that something takes, of the clock and of the processor, seconds."""

    wall: float
    processor: float

    def __sub__(self, other: _Spent) -> _Spent:
        return _Spent(self.wall - other.wall, self.processor - other.processor)

    def __truediv__(self, count: int) -> _Spent:
        return _Spent(self.wall / count, self.processor / count)


def _spent(function: Callable[[], None]) -> _Spent:
    start, processor_start = time.perf_counter(), time.process_time()
    function()
    return _Spent(time.perf_counter() - start, time.process_time() - processor_start)


def _compared(
    name: str, shape: str, steps: Mapping[str, Sequence[_Spent]], suffix: str
) -> Iterator[Row]:
    """Yield the rows of a step of a rollout against the bare step, of clock and processor."""
    for kind, spent in (("", lambda x: x.wall), (", processor", lambda x: x.processor)):
        ours, peer = (sorted(map(spent, steps[n])) for n in (suffix, "bare"))
        middle = statistics.median(ours), statistics.median(peer)
        yield Row(name + kind, shape, ours[0], peer[0], "bare step", middle[1] / middle[0], "s",
            None, *middle)  # fmt: skip


def _memory_by_steps(folder: Path, suffix: str, quick: bool) -> list[Row]:
    """Return peak memory after many steps against that after few."""
    channels = _CHANNELS[0]
    store, many = _store(folder, channels), _QUICK_MANY if quick else _MANY
    file = folder / f"memory.{suffix}"
    few_peak, many_peak = (_peak(store, file, n, 1) / _MIB for n in (_FEW, many))
    name = f"peak memory, {suffix}, {many} steps"
    return [
        Row(name, _shape(channels), many_peak, few_peak, f"{_FEW} steps", few_peak / many_peak,
            "MiB")
    ]  # fmt: skip


def _memory_by_members(folder: Path, quick: bool) -> list[Row]:
    """Return peak memory of many members against that of few, in batches of the same size."""
    store, many = _store(folder, _CHANNELS[-1]), _QUICK_MEMBERS if quick else _MANY_MEMBERS
    file = folder / "memory.zarr"
    few_peak, many_peak = (
        _peak(store, file, _MEMBER_STEPS, n) / _MIB for n in (_FEW_MEMBERS, many)
    )
    name = f"peak memory, zarr, {many} members"
    return [
        Row(name, _shape(_CHANNELS[-1]), many_peak, few_peak, f"{_FEW_MEMBERS} members",
            few_peak / many_peak, "MiB")
    ]  # fmt: skip


def _peak(store: Path, file: Path, n_steps: int, members: int) -> float:
    """Return the peak memory of a new process that runs a rollout, bytes."""
    words = [str(store), str(file), str(n_steps), str(members)]
    command = [sys.executable, "-m", "benchmarks.speed.rollout", "--measure", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    _remove(file)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _peak_here(store: Path, file: Path, n_steps: int, members: int) -> float:
    """Run a rollout in this process and return its peak memory, bytes."""
    from sphere_ops.memory import keep_freed_memory, peak_memory

    keep_freed_memory()
    ensemble: dict[str, Any] = {}
    if members > 1:
        ensemble = {"members": members, "perturbations": ["field:amplitude=0.1"]}
    _rollout(_forecaster(store, small=True), store, file, n_steps, **ensemble)
    return peak_memory()


def _rollout(forecaster: Any, store: Path, file: Path, n_steps: int, **options: Any) -> None:
    from forecast.inference.forecast import run_rollout

    reports = run_rollout(
        forecaster, store, file, init_times=["2001-01-01"], n_steps=n_steps, **options
    )
    assert not reports, reports[0]


def _forecaster(store: Path, *, small: bool) -> Any:
    """Return a model with random weights, also of the layer that an untrained model has at zero."""
    from configs.model import ModelConfig
    from data_prep.store.reader import Store
    from forecast.model.forecaster import Forecaster

    torch.manual_seed(0)
    branches = {"spectral": {"lmax": 42}, "differential": {"order": 2}}
    size = {"channels": 4, "blocks": 1} if small else {}
    config = ModelConfig.model_validate({"branches": branches, **size})
    forecaster = Forecaster.from_store(config, Store(store)).eval()
    with torch.no_grad():
        forecaster.network.decoder.weight.normal_(std=1e-3)
    return forecaster


def _store(folder: Path, channels: int) -> Path:
    """Write a store of smooth random fields, once."""
    from configs.variables import variable
    from data_prep.store.spec import StoreSpec
    from data_prep.store.writer import StoreWriter
    from sphere_ops import GaussianField
    from sphere_ops.grid import Grid

    path = folder / f"{channels}.zarr"
    if path.exists():
        return path
    grid = Grid.legendre_gauss(*_GRID)
    names = [f"{base}{level}" for level in _LEVELS for base in ("t", "u", "v", "q")][:channels]
    field, n_times = GaussianField(grid, 0.1), 8
    seeds = [(0, time, 0, channel) for time in range(n_times) for channel in range(channels)]
    fields = field(seeds).reshape(n_times, channels, *_GRID).float().numpy()
    spec = StoreSpec(
        grid=grid,
        channels=tuple(variable(name) for name in names),
        time=np.datetime64("2001-01-01", "ns") + np.timedelta64(6, "h") * np.arange(n_times),
        time_step="6h",
        split=["train"] * n_times,
        title="Random fields",
        source="benchmarks/speed/rollout.py",
        configuration="",
    )
    with StoreWriter(path, spec) as writer:
        for times in writer.blocks():
            writer.write_times(times, fields[times])
        return writer.finalise()


_LEVELS = (50, 100, 200, 300, 500, 700, 850, 1000)


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in (path, *path.rglob("*")) if p.is_file())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _shape(channels: int) -> str:
    return f"{channels}×{_GRID[0]}×{_GRID[1]}"


if __name__ == "__main__":
    main()
