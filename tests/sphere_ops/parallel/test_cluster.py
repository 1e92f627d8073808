"""Work on the workers of a dask cluster that runs in this process."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sphere_ops.parallel import cluster
from sphere_ops.parallel.cluster import on_workers

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler with two workers, each a thread."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=":0",
        local_directory=tmp_path_factory.mktemp("dask"),
    ) as started:  # fmt: skip
        yield started.scheduler_address


def inverses(run: Sequence[int]) -> list[float]:
    return [1 / x for x in run]


@pytest.mark.parametrize("n", [1, 3, 17])
def test_results_come_in_the_order_of_the_items_in_even_runs(address: str, n: int) -> None:
    found = list(on_workers(address, inverses, range(1, n + 1), runs_per_worker=3))
    assert [x for run in found for x in run] == inverses(range(1, n + 1))
    assert len(found) == min(n, 6)
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_nothing_to_do_gives_nothing(address: str) -> None:
    assert list(on_workers(address, inverses, [])) == []


def test_the_error_of_a_worker_is_raised_here(address: str) -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        list(on_workers(address, inverses, [1, 2, 3, 0]))


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_TIMEOUT", 1)
    with pytest.raises(ValueError, match="no dask scheduler answers at 'tcp://127.0.0.1:9'") as e:
        list(on_workers("tcp://127.0.0.1:9", inverses, [1]))
    assert "\n" not in str(e.value)


@pytest.mark.slow
def test_workers_that_die_are_one_line(tmp_path: Path) -> None:
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=":0", local_directory=tmp_path
        ) as started,
        pytest.raises(ConnectionError, match="workers of the dask cluster at tcp.* died"),
    ):
        list(on_workers(started.scheduler_address, die, [1]))


@pytest.mark.slow
def test_a_scheduler_that_ends_is_one_line(tmp_path: Path) -> None:
    script = "from dask.__main__ import main; main()"
    words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    words += ["--scheduler-file", str(tmp_path / "scheduler.json")]
    process = subprocess.Popen([sys.executable, "-c", script, *words], stderr=subprocess.DEVNULL)
    try:
        while not (tmp_path / "scheduler.json").is_file():
            assert process.poll() is None
            time.sleep(0.1)
        address = json.loads((tmp_path / "scheduler.json").read_text())["address"]
        threading.Timer(3, process.terminate).start()  # no worker does the work before
        with pytest.raises(ConnectionError, match=f"scheduler at {address} no longer answers"):
            list(on_workers(address, inverses, [1]))
    finally:
        process.kill()
        process.wait()


def die(run: Sequence[int]) -> None:
    os._exit(1)
