"""Blocks of a store: the times of one shard, which are written at once, and their statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from configs import layout
from data_prep.store.arrays import array, consecutive, strings
from data_prep.store.gather.merge import Part
from data_prep.store.gather.moments import BlockStatistics, Moments, block_statistics
from data_prep.store.gather.power import StatePower, sampled
from sphere_ops.grid import Grid


@dataclass(frozen=True, order=True)
class Block:
    """Times of one shard.

    Attributes:
        trajectory: Index of the trajectory; 0 in a store of one time series.
        start: Index of the first time.
        stop: Index after the last time.
    """

    trajectory: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Text that identifies the block in its store."""
        return f"{self.trajectory}.{self.start}"

    @property
    def times(self) -> slice:
        """Times of the block."""
        return slice(self.start, self.stop)


class Blocks:
    """Division of a store into blocks, and the statistics of a block.

    Attributes:
        fields: Fields of the store.
        grid: Grid of the store.
        has_trajectories: True for a store of trajectories, False for one time series.
        n_times: Number of times, of each trajectory where there are trajectories.
        block_times: Number of times of a complete block.
        n_whole: Number of complete blocks of one trajectory, or of the series.
        follows: True for times one step after the time before them, (n_times,).
        area: Area weight of a point of each row, (nlat,).
    """

    def __init__(self, group: zarr.Group) -> None:
        """Read times, splits and grid of a store; the fields need not be complete."""
        self._group = group
        self.fields = array(group, layout.FIELDS)
        self.has_trajectories = layout.TRAJECTORY in group
        axes = (np.asarray(array(group, n)[...]) for n in (layout.LATITUDE, layout.LONGITUDE))
        self.grid = Grid.from_coordinates(*axes)
        self.n_times = self.fields.shape[-4]
        self.block_times = (self.fields.shards or self.fields.chunks)[-4]
        self.follows = np.concatenate([[False], consecutive(group)])
        self.n_whole = self.n_times // self.block_times
        self.area = self.grid.area_weights.numpy()[:, 0]

    def __iter__(self) -> Iterator[Block]:
        """Iterate over all blocks in the order of trajectories and times."""
        trajectories = self.fields.shape[0] if self.has_trajectories else 1
        for trajectory in range(trajectories):
            for start in range(0, self.n_times, self.block_times):
                yield Block(trajectory, start, min(start + self.block_times, self.n_times))

    def before(self, block: Block) -> Block | None:
        """Return the block before another one in its trajectory."""
        start = block.start - self.block_times
        return Block(block.trajectory, start, block.start) if start >= 0 else None

    def after(self, block: Block) -> Block | None:
        """Return the block after another one in its trajectory."""
        stop = min(block.stop + self.block_times, self.n_times)
        return Block(block.trajectory, block.stop, stop) if stop > block.stop else None

    def file(self, block: Block) -> Path:
        """Return the path of the file of a block."""
        lead = (block.trajectory,) if self.has_trajectories else ()
        place = (*lead, block.start // self.block_times, 0, 0, 0)
        store: Any = self.fields.store
        return Path(store.root / self.fields.path / self.fields.metadata.encode_chunk_key(place))

    @cached_property
    def train(self) -> NDArray[np.bool_]:
        """True for the states of the training split, (trajectory, time)."""
        split = np.array(strings(self._group, layout.SPLIT)) == "train"
        if self.has_trajectories:
            return np.broadcast_to(split[:, None], (len(split), self.n_times))
        return split[None]

    @cached_property
    def sample(self) -> NDArray[np.bool_]:
        """True for the training states whose power is taken, (trajectory, time)."""
        train = np.flatnonzero(self.train)
        chosen = np.zeros(self.train.size, dtype=bool)
        if len(train):
            chosen[train[sampled(len(train), int(np.prod(self.fields.shape[-3:])))]] = True
        return chosen.reshape(self.train.shape)

    def read(self, block: Block, times: slice | None = None) -> NDArray[np.float32]:
        """Read the fields of a block, or of some of its times, (n, c, nlat, nlon)."""
        lead = (block.trajectory,) if self.has_trajectories else ()
        return np.asarray(self.fields[(*lead, times or block.times)])

    def read_some(self, indices: NDArray[np.intp]) -> NDArray[np.float32]:
        """Read states of a series by ascending indices, (n, c, nlat, nlon)."""
        first, last = int(indices[0]), int(indices[-1])
        if last - first < 2 * len(indices):  # one call is faster, even if it reads more
            return np.asarray(self.fields[first : last + 1])[indices - first]
        return np.stack([np.asarray(self.fields[int(i)]) for i in indices])

    def states(self, block: Block) -> Iterator[NDArray[np.float32]]:
        """Read the training states of a block one by one, (c, nlat, nlon)."""
        for time in np.flatnonzero(self.train[block.trajectory, block.times]) + block.start:
            yield self.read(block, slice(int(time), int(time) + 1))[0]

    def part(self, block: Block, states: NDArray[np.float32], *, with_power: bool = True) -> Part:
        """Return the statistics of a block that is in the store.

        Args:
            block: Block of the store.
            states: Its fields, (n, c, nlat, nlon).
            with_power: False to leave out the power of the sampled states.
        """
        train = self.train[block.trajectory, block.times]
        statistics = block_statistics(states, train, self.follows[block.times], self.area)
        digest, size = file_digest(self.file(block))
        times = np.flatnonzero(self.sample[block.trajectory, block.times])
        if not (with_power and len(times)):
            return Part(statistics, digest=digest, size=size)
        power = StatePower.of(states[times], self.grid)
        return Part(statistics, times + block.start, power, digest, size)

    def joins(self, block: Block) -> bool:
        """Return True if the difference from the state before a block counts as a step."""
        return bool(
            block.start
            and self.follows[block.start]
            and self.train[block.trajectory, block.start - 1 : block.start + 1].all()
        )

    def step_into(self, block: Block) -> Moments:
        """Return the moments of the difference between a block's first state and the one before."""
        return self.moments(self.read(block, slice(block.start - 1, block.start + 1))).step

    def moments(
        self, states: NDArray[np.floating], follows: NDArray[np.bool_] | None = None
    ) -> BlockStatistics:
        """Return the statistics of states (n, c, nlat, nlon), of which all count.

        Args:
            states: States in the order of time.
            follows: True for states one step after the one before, (n,); None for all.
        """
        every = np.ones(len(states), dtype=bool)
        return block_statistics(states, every, every if follows is None else follows, self.area)


def file_digest(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file and its size; "" and 0 if it does not exist.

    zarr writes no file for a block that is missing altogether.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    except FileNotFoundError:
        return "", 0
