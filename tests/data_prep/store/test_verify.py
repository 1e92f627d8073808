"""Verification of stores: faults that it finds, each by name."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from configs.variables import variable
from data_prep.store.spec import StoreSpec, Trajectories
from data_prep.store.verify import verify
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(4, 8)


def write(path: Path, *, trajectories: bool = False) -> Path:
    mask = np.ones((2, *GRID.shape), dtype=bool)
    mask[0, :2, :3] = False
    spec = StoreSpec(
        grid=GRID, channels=(variable("sst"), variable("msl")), time_step="1d", title="t",
        time=np.datetime64("2001-01-01") + np.arange(20), source="s", configuration="",
        split=["train", "test"] if trajectories else ["train"] * 15 + ["test"] * 5, block_times=8,
        mask=mask, trajectories=Trajectories(np.arange(2), ("a", "b")) if trajectories else None,
    )  # fmt: skip
    values = np.random.default_rng(0).normal(9, 2, spec.shape).astype("f4")
    with StoreWriter(path, spec) as writer:
        for block in writer.missing_blocks:
            lead = (block.trajectory,) if trajectories else ()
            writer.write_times(block.times, values[(*lead, block.times)], block.trajectory)
        return writer.finalise()


@pytest.mark.parametrize("trajectories", [False, True])
def test_a_sound_store_has_no_problem(tmp_path: Path, trajectories: bool) -> None:
    assert verify(write(tmp_path / "s.zarr", trajectories=trajectories)) == []


def shard(path: Path, number: int) -> Path:
    return path / "fields" / f"c.{number}.0.0.0"


def flip(path: Path) -> None:
    flip_file(shard(path, 1))


def flip_file(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)


def swap(path: Path) -> None:
    scratch = path / "scratch"
    shard(path, 0).rename(scratch)
    shard(path, 1).rename(shard(path, 0))
    scratch.rename(shard(path, 1))


def group(path: Path) -> zarr.Group:
    return zarr.open_group(path, mode="r+")


def wrong_mean(path: Path) -> None:
    group(path)["mean"][1] = 8.0


def wrong_mask(path: Path) -> None:
    group(path)["mask"][1, 3, 3] = 0


def wrong_split(path: Path) -> None:
    group(path)["split"][2] = "training"


def wrong_times(path: Path) -> None:
    group(path)["time"][3] = 0


FAULTS = {
    flip: r"c.1.0.0.0: cannot be read",
    swap: r"c.0.0.0.0: is not the file that was written",
    lambda path: shard(path, 2).unlink(): r"c.2.0.0.0 is missing or empty",
    lambda path: flip_file(path / "mean" / "c" / "0"): "mean: cannot be read",
    wrong_mean: "mean of msl: is 8; the fields have 9",
    wrong_mask: "msl at 2001-01-01: 1 points differ from its mask",
    wrong_split: "split: has training; expected train, validation, test",
    wrong_times: "time: 2001-01-03 is followed by 1970-01-01",
}


def test_each_fault_is_named(tmp_path: Path) -> None:
    sound = write(tmp_path / "sound.zarr")
    for i, (damage, expected) in enumerate(FAULTS.items()):
        path = tmp_path / f"{i}.zarr"
        shutil.copytree(sound, path)
        damage(path)
        found = [str(problem) for problem in verify(path)]
        assert found and expected in " ".join(found), (expected, found)
        assert all("\n" not in line for line in found)
