"""Processes of a mesh on this machine, with one thread each, for benchmarks."""

from __future__ import annotations

import os
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.speed.measure import Row, Timing
from sphere_ops.memory import keep_freed_memory
from sphere_ops.parallel.launch import started
from sphere_ops.parallel.mesh import Mesh

Job = Callable[..., list[Row]]


def rows_of(ranks: int, job: Job, *args: object) -> list[Row]:
    """Run a job on several processes that share the rows, and return the result of rank 0.

    Args:
        ranks: Number of processes, connected by gloo.
        job: Function of a module, called in each process with its mesh and `args`.
        args: Arguments of the job.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    found = mp.get_context("spawn").SimpleQueue()
    mp.spawn(_rank, args=(ranks, store.port, found, job, args), nprocs=ranks)
    rows: list[Row] = found.get()
    return rows


def _rank(rank: int, ranks: int, port: int, found: Any, job: Job, args: tuple[Any, ...]) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the starting process has the store
    }
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    keep_freed_memory()
    with started(1, ranks) as mesh:
        rows = job(mesh, *args)
        if mesh.is_first:
            found.put(rows)


def in_turn(mesh: Mesh, steps: Mapping[str, Callable[[], object]], runs: int) -> dict[str, Timing]:
    """Time steps in turn, after a warm-up of each; times are those of the slowest rank."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(runs + 2):
        for name, step in steps.items():
            dist.barrier()
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    everyone: list[Any] = [None] * mesh.latitude.ranks
    dist.all_gather_object(everyone, times)
    slowest = {
        name: [max(of) for of in zip(*(t[name] for t in everyone), strict=True)][2:]
        for name in steps
    }
    return {name: Timing(min(t), statistics.median(t)) for name, t in slowest.items()}
