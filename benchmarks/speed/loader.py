"""Loader under a memory limit: share of the time spent in compute, and memory used.

    python -m benchmarks.speed.loader NAME

A process limited to `LIMIT` bytes beyond its imports (`RLIMIT_DATA`, which also applies to its
worker) trains on a store of one and a half times that size: one step on every batch, while the
worker reads the next ones. NAME is a row of `benchmarks.speed.training`. Prints one line of JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from benchmarks.speed.measure import Row
from benchmarks.speed.training import BATCH, step_of
from configs.variables import variable
from data_prep.store.reader import Store
from data_prep.store.spec import StoreSpec
from data_prep.store.writer import StoreWriter
from forecast.training.samples.batches import Windows, batches
from sphere_ops.grid import Grid
from sphere_ops.memory import peak_memory

LIMIT = 2**30
_STORE_BYTES = 3 * LIMIT // 2
_BATCHES = 40
_CHANNELS = ("geopotential", "vorticity", "divergence")
_GRID = (64, 128)


def loader_rows(name: str) -> list[Row]:
    """Measure in a new process.

    Args:
        name: Row of the training benchmark whose step is computed.
    """
    command = [sys.executable, "-m", "benchmarks.speed.loader", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    shape = f"{_BATCHES} batches"
    return [
        Row("loader, share of the time in compute", shape, found["share"], None, "", None, ""),
        Row(
            "loader, memory of all processes",
            shape,
            found["taken"] / 2**20,
            LIMIT / 2**20,
            f"the limit; the store has {_STORE_BYTES / 2**20:.0f}",
            LIMIT / found["taken"],
            "MiB",
        ),
    ]


def main() -> None:
    """Measure and print; with a path as argument, make the store there."""
    name = sys.argv[1]
    if "/" in name:
        _make_store(Path(name))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.zarr"
        # In another process, so that this one starts without freed memory.
        subprocess.run([sys.executable, "-m", "benchmarks.speed.loader", str(path)], check=True)
        print(json.dumps(_measure(name, path)))


def _measure(name: str, path: Path) -> dict[str, float]:
    taken = psutil.Process().memory_info().data
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (taken + LIMIT, hard))
    before = psutil.Process().memory_info().rss
    step = step_of(name, torch.device("cpu"))
    store = Store(path)
    assert not store.in_memory
    busy = asked = 0.0
    held_by_workers, started = 0, None
    for batch in batches(Windows(store, "train", 1), BATCH, 0, 0, _BATCHES, workers=1):
        started = started or time.perf_counter()  # the first batch starts the worker
        begin = time.perf_counter()
        step(batch)
        end = time.perf_counter()
        held_by_workers = max(held_by_workers, _workers_memory())
        busy, asked = busy + end - begin, asked + time.perf_counter() - end
    assert started is not None
    return {
        "share": busy / (time.perf_counter() - started - asked),
        "taken": peak_memory() - before + held_by_workers,
    }


def _workers_memory() -> int:
    """Return the private memory of the workers, bytes."""
    return sum(p.memory_full_info().uss for p in psutil.Process().children())


def _make_store(path: Path) -> None:
    """Write a store of noise, which does not compress."""
    grid = Grid.legendre_gauss(*_GRID)
    n = _STORE_BYTES // (4 * len(_CHANNELS) * grid.nlat * grid.nlon)
    spec = StoreSpec(
        grid=grid,
        channels=tuple(variable(v) for v in _CHANNELS),
        time=np.datetime64("2000-01-01", "h") + np.arange(n),
        time_step="1h",
        split=["train"] * n,
        title="Noise",
        source="benchmarks.speed.loader",
        configuration="",
    )
    draw = np.random.default_rng(0).standard_normal
    with StoreWriter(path, spec) as writer:
        for times in writer.blocks():
            shape = (times.stop - times.start, len(_CHANNELS), *grid.shape)
            writer.write_times(times, draw(shape, dtype=np.float32))
        writer.finalise()


if __name__ == "__main__":
    main()
