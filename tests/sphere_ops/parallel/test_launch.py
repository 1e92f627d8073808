"""Start of a mesh, and its end after a failure: one clear error, and no process left."""

import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
import torch

from sphere_ops.parallel import heartbeat, launch
from sphere_ops.parallel.mesh import MeshError, current
from tests.ranks import finish, run, start

pytestmark = pytest.mark.parallel


def said(folder: Path, ranks: int) -> list[str]:
    return [
        (folder / str(rank)).read_text() if (folder / str(rank)).exists() else ""
        for rank in range(ranks)
    ]


def told(folder: Path, shape: tuple[int, int], kind: str) -> None:
    """Run a process of a mesh with a failure of this kind."""
    rank = int(os.environ["RANK"])
    must_match = {"the version of torch": f"2.{rank if kind == 'versions' else 0}"}
    try:
        with launch.started(*shape, timeout=4, must_match=must_match) as mesh:
            for step in range(3):
                mesh.note(f"step {step}")
                if step == 2 and rank == 1:
                    if kind == "dies":
                        os.kill(os.getpid(), signal.SIGKILL)
                    if kind == "hangs":
                        mesh.note("reading the batch of step 2")
                        time.sleep(60)
                current().any_rank(False)
    except (ValueError, MeshError) as error:
        message = launch.failure_message(str(error))
        if message is not None:
            (folder / str(rank)).write_text(message)
        os._exit(2)


def ends(folder: Path, ranks: int, shape: tuple[int, int], kind: str) -> list[int | None]:
    return finish(start(ranks, told, folder, shape, kind), timeout=20, each=False)


def test_a_mesh_that_is_not_that_of_the_processes_is_refused_once(tmp_path):
    assert ends(tmp_path, 3, (2, 2), "mesh") == [2, 2, 2]
    messages = said(tmp_path, 3)
    assert "data=2 × latitude=2 takes 4 processes, but there are 3" in messages[0]
    assert "torchrun --nproc-per-node 4" in messages[0]
    assert messages[1:] == ["", ""]


def test_different_versions_are_refused_once(tmp_path):
    assert ends(tmp_path, 2, (1, 2), "versions") == [2, 2]
    assert "differ in the version of torch: 2.0 on rank 0, 2.1 on rank 1" in said(tmp_path, 2)[0]
    assert said(tmp_path, 2)[1] == ""


def test_a_process_that_dies_is_named_with_its_last_activity(tmp_path):
    codes = ends(tmp_path, 3, (1, 3), "dies")
    assert codes == [2, -signal.SIGKILL, 2]
    messages = said(tmp_path, 3)
    assert "rank 1 (" in messages[0] and "was last at" in messages[0]
    assert "saved files are intact" in messages[0]
    assert messages[1:] == ["", ""]


def test_a_process_that_hangs_is_named_after_the_time_that_was_set(tmp_path):
    begin = time.monotonic()
    codes = ends(tmp_path, 2, (1, 2), "hangs")
    assert codes[0] == 2 and time.monotonic() - begin < 40
    assert "'reading the batch of step 2'" in said(tmp_path, 2)[0]


def left(folder: Path, error: type[Exception] | None) -> None:
    """Run a process whose heartbeat never rests, and record the threads that it leaves."""
    heartbeat._EVERY = 0.0
    with contextlib.suppress(ValueError), launch.started(1, 2, timeout=4):
        if error is not None:
            raise error
    names = [thread.name for thread in threading.enumerate()]
    (folder / os.environ["RANK"]).write_text(" ".join(names))


@pytest.mark.parametrize("error", [None, ValueError])
def test_the_heartbeat_ends_with_the_mesh(error, tmp_path):
    run(2, left, tmp_path, error)  # a thread inside the store would abort an exiting process
    assert said(tmp_path, 2) == ["MainThread", "MainThread"]


def test_a_port_in_use_is_named(monkeypatch):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = str(s.getsockname()[1])
        values = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        with (
            pytest.raises(ValueError, match=f"127.0.0.1:{port}.*is in use"),
            launch.started(timeout=5),
        ):
            pass


def test_without_a_launcher_a_process_is_a_mesh_by_itself():
    with launch.started() as mesh:
        assert mesh.is_first and mesh.any_rank(True) and not mesh.any_rank(False)
        x = torch.randn(3, 4)
        assert mesh.sum_rows(x) is x and mesh.gather_rows(x, 3) is x and mesh.broadcast(5) == 5
    with pytest.raises(ValueError, match="takes 6 processes, but there is 1"), launch.started(2, 3):
        pass
