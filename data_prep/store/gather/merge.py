"""Merging of the statistics of blocks, in the order of trajectories and times."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data_prep.store.gather.moments import Array, BlockStatistics, Moments
from data_prep.store.gather.power import StatePower

_POWER = "power_"


@dataclass(frozen=True)
class Part:
    """Statistics of a block, and facts about its file.

    Attributes:
        statistics: Statistics of its training states.
        power_times: Indices of the times of its sampled states, (n,).
        power: Power of those states; None without any.
        digest: SHA-256 of the file of its fields; "" if there is none.
        size: Size of that file, bytes.
    """

    statistics: BlockStatistics
    power_times: NDArray[np.intp] | None = None
    power: StatePower | None = None
    digest: str = ""
    size: int = 0

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return all values as arrays by name, for a file."""
        arrays = self.statistics.to_arrays()
        arrays |= {"digest": np.asarray(self.digest), "size": np.asarray(self.size)}
        if self.power is not None and self.power_times is not None:
            arrays[f"{_POWER}times"] = self.power_times
            arrays |= {_POWER + name: values for name, values in self.power.to_arrays().items()}
        return arrays

    def without_maps(self) -> Part:
        """Return the part without the sums of its points and without power."""
        statistics = replace(self.statistics, total=None, there=None)
        return Part(statistics, digest=self.digest, size=self.size)

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Part:
        """Return the part of `to_arrays`."""
        of_power = {name.removeprefix(_POWER): values.astype(np.float64)
                    for name, values in arrays.items() if name.startswith(_POWER)}  # fmt: skip
        times = of_power.pop("times", None)
        return cls(
            BlockStatistics.from_arrays(arrays),
            None if times is None else times.astype(np.intp),
            StatePower(**of_power) if of_power else None,
            str(arrays["digest"]),
            int(arrays["size"]),
        )


class Sums:
    """Sums over time at each point, of states in the order of time.

    Attributes:
        total: Sum, (c, nlat, nlon), missing values as 0.
        there: Number of values, (c, nlat, nlon).
    """

    def __init__(self, total: Array, there: NDArray[np.int32]) -> None:
        self.total, self.there = total, there

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Sums:
        """Return the sums of no states."""
        return cls(np.zeros(shape), np.zeros(shape, dtype=np.int32))

    def add(
        self, part: BlockStatistics, states: Callable[[], Iterable[NDArray[np.float32]]]
    ) -> None:
        """Add the training states of a block.

        Args:
            part: Statistics of the block.
            states: Function that reads the training states, (c, nlat, nlon) each, for a block
                without sums.
        """
        if part.total is not None:
            self.total += part.total
            self.there += part.count if part.there is None else part.there
        else:
            self.add_states(states())

    def add_sums(self, other: Sums, factor: int = 1) -> None:
        """Add a multiple of other sums."""
        self.total += other.total if factor == 1 else factor * other.total
        self.there += other.there if factor == 1 else factor * other.there

    def add_states(self, states: Iterable[NDArray[np.float32]]) -> None:
        """Add states (c, nlat, nlon), NaN where missing."""
        for state in states:
            there = ~np.isnan(state)
            np.add(self.total, state, out=self.total, where=there)
            self.there += there

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean over time, (c, nlat, nlon); NaN at points without values."""
        mean = np.full(self.total.shape, np.nan, dtype=np.float32)
        np.divide(self.total, self.there, out=mean, where=self.there > 0, casting="same_kind")
        return mean


def merge(parts: Iterable[tuple[BlockStatistics, Moments]]) -> BlockStatistics:
    """Merge the statistics of blocks in the given order, without sums.

    Args:
        parts: Statistics of each block, and the moments of the step into it.
    """
    merged: BlockStatistics | None = None
    for part, step_into in parts:
        before = merged or BlockStatistics.empty(len(part.minimum))
        merged = before.merged(part, step_into)
    assert merged is not None
    return merged
