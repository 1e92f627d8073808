"""Start of the processes of a mesh for a test, and waiting for all of them."""

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore

ROOT = Path(__file__).parents[1]
_PRELOADED = [
    "torch._dynamo",
    "torch_harmonics.filter_basis",
    "torch_harmonics.legendre",
    "tests.sphere_ops.parallel.mesh_cases",
    "tests.forecast.mesh_runs",
]


def environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """Return the environment variables that torchrun sets."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the launcher has the store
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def start(ranks: int, function: Callable[..., None], *args: object) -> list[Any]:
    """Start `function(*args)` on every rank, in processes that are forked after the imports."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))  # for the server that forks
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes = [
        context.Process(target=_run, args=(environment(rank, ranks, store.port), function, args))
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
        process.store = store  # it lives as long as they do
    return processes


def finish(processes: list[Any], timeout: float, *, each: bool = True) -> list[int | None]:
    """Return the exit code of each process, and kill those that still run.

    Args:
        processes: Result of `start`.
        timeout: Limit of the wait for one process, seconds.
        each: True to wait for every process, False to wait for the first one.
    """
    for process in processes if each else processes[:1]:
        process.join(timeout)
    for process in processes:
        process.join(timeout if each else 5)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
        process.close()
    return codes


def run(ranks: int, function: Callable[..., None], *args: object, timeout: float = 120) -> None:
    """Run a function on every rank, and check that all exit codes are 0."""
    codes = finish(start(ranks, function, *args), timeout)
    assert codes == [0] * ranks, f"exit codes {codes}; what the ranks said is above"


def _run(variables: dict[str, str], function: Callable[..., None], args: tuple[Any, ...]) -> None:
    os.environ.update(variables)
    import torch

    torch.set_num_threads(1)
    try:
        function(*args)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
