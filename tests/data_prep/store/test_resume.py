"""Unfinished stores: continued after any kill, and refused if they are of something else."""

import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs.variables import variable
from data_prep.store.spec import StoreSpec
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

GRID = Grid.cell_centred(6, 8)
N = 76


def spec(**changes: object) -> StoreSpec:
    of = StoreSpec(
        grid=GRID, channels=(variable("sst"), variable("msl")), time_step="10d", title="t",
        time=np.datetime64("2001-01-01") + 10 * np.arange(N), source="s",
        configuration="window: 5\n",
        split=["train"] * N, block_times=8, sources=[{"name": "a.nc", "fingerprint": "1"}],
        plan="[]", climatology_window=25,
    )  # fmt: skip
    return replace(of, **changes)


def fields() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(N, 2, *GRID.shape)) + 9).astype("f4")


def write(path: Path) -> Path:
    """Write a store, or continue it; a process that is killed runs this."""
    values = fields()
    with StoreWriter(path, spec(), resume=True) as writer:
        for times in writer.blocks():
            writer.write_times(times, values[times])
        return writer.finalise()


def files(path: Path) -> dict[str, bytes]:
    """Return the contents of all files of a store, without the time at which it was made."""
    found = {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    found["zarr.json"] = re.sub(rb'"history": "[^"]*"', b"", found["zarr.json"])
    return found


@pytest.mark.slow
def test_a_store_after_twenty_kills_at_random_moments_is_the_same_to_the_bit(
    tmp_path: Path,
) -> None:
    path, folder = tmp_path / "s.zarr", Path(__file__).parent
    code = f"""
import sys
sys.path[:0] = [{str(folder.parents[2])!r}, {str(folder)!r}]
import test_resume, torch
from pathlib import Path
print("ready", flush=True)
test_resume.write(Path({str(path)!r}))
"""
    started = time.monotonic()
    write(tmp_path / "whole.zarr")
    longest = time.monotonic() - started
    draw, kills = random.Random(0), 0
    while not path.exists() or kills < 20:
        if path.exists():  # finished before enough kills: begin again
            path.rename(tmp_path / f"{len(list(tmp_path.glob('*.zarr')))}.zarr")
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(draw.uniform(0, longest if kills < 20 else 600))
            assert process.returncode == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        process.stdout.close()
    expected = files(tmp_path / "whole.zarr")
    for made in tmp_path.glob("*.zarr"):
        assert files(made) == expected, made
    assert not (tmp_path / ".s.zarr.partial").exists()


def unfinished(path: Path, n_blocks: int = 2) -> StoreWriter:
    with StoreWriter(path, spec(), resume=True) as writer:
        for times in list(writer.blocks())[:n_blocks]:
            writer.write_times(times, fields()[times])
    return writer


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"configuration": "window: 7\n"}, "another configuration"),
        ({"plan": "[1]"}, "another plan"),
        ({"sources": [{"name": "a.nc", "fingerprint": "2"}]},
         r"sources that have changed since \(a.nc\)"),
        ({"time": spec().time[:-1], "split": ["train"] * (N - 1)}, "other times"),
    ],
)  # fmt: skip
def test_an_unfinished_store_of_something_else_is_refused_and_kept(
    changes: dict[str, object], what: str, tmp_path: Path
) -> None:
    unfinished(tmp_path / "s.zarr")
    with pytest.raises(ValueError, match=f"holds an unfinished store of {what}; remove") as error:
        StoreWriter(tmp_path / "s.zarr", spec(**changes), resume=True)
    assert "\n" not in str(error.value)
    with StoreWriter(tmp_path / "s.zarr", spec(), resume=True) as writer:
        assert writer.done == {0, 8}


def test_torn_files_are_written_again(tmp_path: Path) -> None:
    writer = unfinished(tmp_path / "s.zarr", n_blocks=4)
    shard = writer.work / "store" / "fields" / "c.1.0.0.0"
    shard.write_bytes(shard.read_bytes()[:-100])
    marker = writer.work / "done" / "0.16.npz"
    marker.write_bytes(marker.read_bytes()[:200])
    with StoreWriter(tmp_path / "s.zarr", spec(), resume=True) as writer:
        assert writer.done == {0, 24}


def test_temporary_files_of_a_killed_process_are_not_part_of_the_store(tmp_path: Path) -> None:
    write(tmp_path / "whole.zarr")
    store = unfinished(tmp_path / "s.zarr").work / "store"
    for left in ("fields/c.0.partial", "latitude/zarr.1f.partial", "mean/c/0.2e.partial"):
        (store / left).parent.mkdir(parents=True, exist_ok=True)
        (store / left).write_bytes(b"half of a")
    write(tmp_path / "s.zarr")
    assert files(tmp_path / "s.zarr") == files(tmp_path / "whole.zarr")


def test_a_started_store_without_blocks_gives_way_to_another_configuration(tmp_path: Path) -> None:
    unfinished(tmp_path / "s.zarr", n_blocks=0)
    with StoreWriter(tmp_path / "s.zarr", spec(configuration="x: 1\n"), resume=True) as writer:
        assert writer.group.attrs["configuration"] == "x: 1\n"
