import os
from pathlib import Path

import pytest

from data_prep.store.outputs import (
    check_output,
    locked,
    remove_scratch,
    scratch_beside,
    written_beside,
)


def test_an_output_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with written_beside(path) as scratch:
        scratch.write_text("whole")
        assert scratch.parent == path.parent and not path.exists()
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


def test_a_folder_can_be_an_output(tmp_path: Path) -> None:
    with written_beside(tmp_path / "out") as scratch:
        scratch.mkdir()
        (scratch / "part").write_text("whole")
    assert (tmp_path / "out" / "part").read_text() == "whole"


def test_an_error_leaves_neither_output_nor_scratch(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), written_beside(tmp_path / "out.txt") as scratch:
        scratch.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_output_of_another_process_is_replaced_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with pytest.raises(FileExistsError, match="exists; remove it"), written_beside(path) as scratch:
        scratch.write_text("mine")
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    with written_beside(path, replace=True) as scratch:
        scratch.write_text("mine")
    assert path.read_text() == "mine" and list(tmp_path.iterdir()) == [path]


def test_a_broken_link_counts_as_an_output(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(FileExistsError, match="exists; remove it"):
        check_output(tmp_path / "link")


def test_scratch_of_killed_processes_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.nc.partial-1").write_text("half")
    (tmp_path / ".b.partial-2").mkdir()
    (tmp_path / "kept.nc").write_text("whole")
    remove_scratch(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.nc"]


def test_scratch_starts_empty(tmp_path: Path) -> None:
    left = tmp_path / f".out.partial-{os.getpid()}"
    left.mkdir()
    with scratch_beside(tmp_path / "out") as scratch:
        assert scratch == left and not scratch.exists()


def test_a_folder_has_one_lock_at_a_time(tmp_path: Path) -> None:
    refused = pytest.raises(FileExistsError, match="another process is writing to")
    with locked(tmp_path / "run"), refused, locked(tmp_path / "run"):
        pass
    with locked(tmp_path / "run"):
        pass
