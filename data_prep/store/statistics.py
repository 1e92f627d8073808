"""Statistics of the training split of a store, merged from those of its blocks."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from configs import layout
from data_prep.store.arrays import array, put
from data_prep.store.blocks import Block, Blocks
from data_prep.store.gather.merge import Part, Sums, merge
from data_prep.store.gather.moments import BlockStatistics, Moments
from data_prep.store.gather.power import StatePower

_STATE = (layout.CHANNEL, layout.LATITUDE, layout.LONGITUDE)
_BLOCK, _MOMENT, _TOTAL, _THERE = "block", "moment", "total", "there"


class Parts(Protocol):
    """Source of the statistics of the blocks of a store."""

    def part(self, block: Block) -> Part:
        """Return the statistics of a block."""

    def step_into(self, block: Block) -> Moments:
        """Return the moments of the step from the block before into a block."""


class PartsOfFields:
    """Statistics of blocks, computed from the fields of a store."""

    def __init__(self, blocks: Blocks) -> None:
        """Refer to the blocks of a store whose fields are complete."""
        self._blocks = blocks

    def part(self, block: Block) -> Part:
        """Read a block and return its statistics."""
        return self._blocks.part(block, self._blocks.read(block))

    def step_into(self, block: Block) -> Moments:
        """Read two states and return the moments of their difference."""
        return self._blocks.step_into(block)


class RecordedParts:
    """Statistics of blocks as the group `layout.BLOCKS` of a store records them, without sums."""

    def __init__(self, group: zarr.Group) -> None:
        """Read the record of a store."""
        held = group[layout.BLOCKS]
        assert isinstance(held, zarr.Group)
        self._held = {name: np.asarray(values[...]) for name, values in held.arrays()
                      if name not in (_TOTAL, _THERE)}  # fmt: skip
        self._index = {name: i for i, name in enumerate(self._held[_BLOCK].tolist())}
        self._group = held

    @property
    def names(self) -> frozenset[str]:
        """Names of the blocks."""
        return frozenset(self._index)

    def sums(self) -> Sums | None:
        """Return the sums over the complete blocks; None if the store does not hold them."""
        if _TOTAL not in self._group:
            return None
        total, there = (array(self._group, name)[...] for name in (_TOTAL, _THERE))
        return Sums(np.asarray(total), np.asarray(there))

    def part(self, block: Block) -> Part:
        """Return the statistics of a block."""
        i, held = self._index[block.name], self._held
        low, high = held["extremes"][i]
        statistics = BlockStatistics(
            int(held["count"][i]), Moments(*held["state"][i]), Moments(*held["step"][i]), low, high
        )
        return Part(statistics, digest=str(held["digest"][i]), size=int(held["size"][i]))

    def step_into(self, block: Block) -> Moments:
        """Return the moments of the step into a block."""
        return Moments(*self._held["step_into"][self._index[block.name]])


def write_statistics(group: zarr.Group) -> None:
    """Compute the statistics of a store from its fields and write them; see `write_merged`."""
    write_merged(group, PartsOfFields(Blocks(group)))


def write_merged(
    group: zarr.Group,
    parts: Parts,
    earlier: tuple[Sums, int] | None = None,
    *,
    with_power: bool = True,
) -> None:
    """Merge the statistics of all blocks and write them, with a record of each block.

    The statistics are the mean state, and for each channel the mean, the standard deviations of the
    fields and of their one-step differences, the extremes, and the largest power of each degree.
    They are weighted by area, at points with values, over the training split only. A store without
    a training split gets only the record.

    Args:
        group: Store whose fields are complete.
        parts: Statistics of its blocks.
        earlier: Sums over the first blocks, and their number, if they are known.
        with_power: False to leave out the largest power.
    """
    blocks = Blocks(group)
    sums, n_summed = earlier or (Sums.empty(blocks.fields.shape[-3:]), 0)
    power = SampledPower(blocks)
    rows: list[tuple[Part, Moments]] = []
    nothing = Moments.empty(blocks.fields.shape[-3])
    for i, block in enumerate(blocks):
        part = parts.part(block)
        rows.append(
            (part.without_maps(), parts.step_into(block) if blocks.joins(block) else nothing)
        )
        power.take(block, part)
        if i == blocks.n_whole:
            _put_sums(group, blocks, sums)
        if part.statistics.count and i >= n_summed:
            sums.add(part.statistics, partial(blocks.states, block))
    if blocks.n_whole == len(rows):
        _put_sums(group, blocks, sums)
    _put_record(group, [block.name for block in blocks], rows)
    if not blocks.train.any():
        return
    merged = merge((part.statistics, step) for part, step in rows)
    over = "training split, weighted by area"
    about = {
        layout.MEAN: ("Mean", merged.state.mean_or_nan),
        layout.STD: ("Standard deviation", merged.state.std),
        layout.STD_STEP: ("Standard deviation of the difference between two times",
                          merged.step.std),
        layout.MINIMUM: ("Minimum", merged.minimum),
        layout.MAXIMUM: ("Maximum", merged.maximum),
    }  # fmt: skip
    for name, (long_name, values) in about.items():
        put(group, name, (layout.CHANNEL,), values, long_name=f"{long_name} over the {over}")
    put(group, layout.TIME_MEAN, _STATE, sums.mean,
        long_name="Mean over the times of the training split")  # fmt: skip
    if with_power:
        # The model scales with these numbers in float32.
        mean, std = merged.state.mean.astype(np.float32), merged.state.std.astype(np.float32)
        power.put(group, mean, std)


class SampledPower:
    """Power of the sampled training states, from the statistics of the blocks."""

    def __init__(self, blocks: Blocks) -> None:
        """Begin without any state."""
        self._blocks, self._found = blocks, list[tuple[Block, Part]]()

    def take(self, block: Block, part: Part) -> None:
        """Take the sampled states of a block."""
        if part.power is not None:
            self._found.append((block, part))

    def put(self, group: zarr.Group, mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
        """Write the largest power of each degree of departures from the mean.

        The power of sampled states that no block has is computed from the fields.
        """
        missing = self._blocks.sample.copy()
        largest: list[NDArray[np.float64]] = []
        for block, part in self._found:
            assert part.power is not None and part.power_times is not None
            wanted = missing[block.trajectory, part.power_times]
            missing[block.trajectory, part.power_times] = False
            largest.extend(part.power.chosen(wanted).about(mean, std))
        for trajectory, time in np.argwhere(missing).tolist():
            state = self._blocks.states(Block(trajectory, time, time + 1))
            largest.extend(StatePower.of(next(state)[None], self._blocks.grid).about(mean, std))
        values = np.nan_to_num(np.max(largest, axis=0)).astype(np.float32)
        put_power(group, layout.LARGEST_POWER, "departure from the mean", values)


def put_power(group: zarr.Group, name: str, of: str, values: NDArray[np.float32]) -> None:
    """Write a largest power of each degree, (c, degree), in squared standard deviations."""
    put(group, name, (layout.CHANNEL, layout.DEGREE), values,
        long_name=f"Largest power over the training split of each degree of the {of}, and in the "
        "last place of all degrees beyond them")  # fmt: skip


def _put_sums(group: zarr.Group, blocks: Blocks, sums: Sums) -> None:
    """Record the sums over all complete blocks of a series, for times that are appended."""
    if not blocks.has_trajectories and blocks.train.any():
        held = group.require_group(layout.BLOCKS)
        put(held, _TOTAL, _STATE, sums.total, long_name="Sum over the training states")
        put(held, _THERE, _STATE, sums.there, long_name="Number of training states with values")


def _put_record(group: zarr.Group, names: list[str], rows: list[tuple[Part, Moments]]) -> None:
    """Record the statistics of each block, and the digests of the files of the fields."""
    held, dims = group.require_group(layout.BLOCKS), (_BLOCK, _MOMENT, layout.CHANNEL)
    parts = [part for part, _ in rows]
    statistics = [part.statistics for part in parts]
    put(held, _BLOCK, (_BLOCK,), np.array(names), long_name="Trajectory and first time")
    put(held, "digest", (_BLOCK,), np.array([p.digest for p in parts]),
        long_name="SHA-256 of the file of the fields")  # fmt: skip
    put(held, "size", (_BLOCK,), np.array([p.size for p in parts]), units="byte")
    put(held, "count", (_BLOCK,), np.array([s.count for s in statistics]),
        long_name="Number of training states")  # fmt: skip
    moments = {
        "state": [s.state for s in statistics],
        "step": [s.step for s in statistics],
        "step_into": [step for _, step in rows],
    }
    for name, values in moments.items():
        put(held, name, dims, np.stack([m.stacked for m in values]),
            long_name="Weight, mean and squared deviations")  # fmt: skip
    extremes = np.stack([(s.minimum, s.maximum) for s in statistics])
    put(held, "extremes", dims, extremes, long_name="Minimum and maximum")
