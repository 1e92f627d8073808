"""Peak memory of a process."""

import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sphere_ops import memory


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_peak_memory_is_in_bytes_on_every_system(
    platform: str, unit: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Try both systems: Linux counts the resident set in KiB, macOS in bytes."""
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "absent")
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=3_000))
    monkeypatch.setattr(memory.torch.cuda, "is_available", lambda: False)
    assert memory.peak_memory() == 3_000 * unit


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such record")
def test_peak_memory_leaves_out_that_of_the_process_that_started_this_one() -> None:
    large = np.ones(2**28)  # 2 GiB
    code = "from sphere_ops.memory import peak_memory; print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < large.nbytes
