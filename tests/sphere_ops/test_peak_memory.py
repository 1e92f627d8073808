"""Peak memory of a process."""

import resource
from types import SimpleNamespace

import pytest

from sphere_ops import memory


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_peak_memory_is_in_bytes_on_every_system(
    platform: str, unit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Try both systems: Linux counts the resident set in KiB, macOS in bytes."""
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=3_000))
    monkeypatch.setattr(memory.torch.cuda, "is_available", lambda: False)
    assert memory.peak_memory() == 3_000 * unit
