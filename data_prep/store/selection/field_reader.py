"""Reading of the fields of a store, from memory if they fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from configs import layout
from data_prep.store.damage import damage_named
from sphere_ops.memory import available_memory

_IN_MEMORY_BYTES = 2 * 1024**3
_IN_MEMORY_SHARE = 0.25
"""Fields up to this size, and up to this share of the available memory, are kept in memory. Larger
fields are read state by state, by worker processes."""
_READ_BYTES = 32 * 2**20
"""Size of the states that are read at once when a part of the fields is read into memory."""


@dataclass(eq=False)
class FieldReader:
    """Reader of some channels, times and rows of the fields of a store.

    Attributes:
        path: Path of the store.
        shape: Shape of all fields, ([trajectory,] time, channel, nlat, nlon).
        channels: Places of the channels in the file, (c,).
        times: Places of the times in the file, in any order, (n,).
        rows: Rows to read.
    """

    path: Path
    shape: tuple[int, ...]
    channels: tuple[int, ...]
    times: NDArray[np.int64]
    rows: slice

    def part(self, channels: list[int], times: NDArray[np.int64]) -> FieldReader:
        """Return a reader of some of the channels and times of this one, given by their places."""
        chosen = tuple(self.channels[i] for i in channels)
        return replace(self, channels=chosen, times=self.times[times])

    def states(self, *where: int | slice) -> NDArray[np.float32]:
        """Return states, (time, channel, row, nlon).

        Args:
            where: Index of the trajectory, if there are any; then a slice of the times.

        Raises:
            ValueError: if a file of the fields is damaged.
        """
        return self._in_memory_fields[where] if self.in_memory else self.read(*where)

    @property
    def n_bytes(self) -> int:
        """Size of the fields, of the chosen channels, times and rows."""
        return 4 * math.prod(self._own_shape)

    @cached_property
    def in_memory(self) -> bool:
        """True if the fields are small enough to be kept in memory."""
        return self.n_bytes <= min(_IN_MEMORY_BYTES, _IN_MEMORY_SHARE * available_memory())

    @property
    def _own_shape(self) -> tuple[int, ...]:
        *lead, nlon = *self.shape[:-4], self.shape[-1]
        n_rows = self.rows.stop - self.rows.start
        return (*lead, len(self.times), len(self.channels), n_rows, nlon)

    @property
    def _takes_all_channels(self) -> bool:
        return self.channels == tuple(range(self.shape[-3]))

    @cached_property
    def _array(self) -> zarr.Array[Any]:
        """Fields on disk."""
        with damage_named(self.path, ()):
            return zarr.open_array(self.path / layout.FIELDS, mode="r")

    @cached_property
    def _in_memory_fields(self) -> NDArray[np.float32]:
        """All chosen fields, ([trajectory,] time, channel, row, nlon)."""
        if self._takes_all_channels and np.array_equal(self.times, np.arange(self.shape[-4])):
            with damage_named(self.path, ()):
                return np.asarray(self._array[..., self.rows, :])
        fields = np.empty(self._own_shape, dtype=np.float32)
        longest = max(1, _READ_BYTES // (4 * math.prod(self.shape[-3:])))
        for trajectory in np.ndindex(*self.shape[:-4]):
            for start in range(0, len(self.times), longest):
                where = (*trajectory, slice(start, start + longest))
                fields[where] = self.read(*where)
        return fields

    def read(self, *where: int | slice) -> NDArray[np.float32]:
        """Read states from the files, also if the fields are kept in memory; see `states`."""
        *trajectory, times = where
        assert isinstance(times, slice)
        places = self.times[times]
        with damage_named(self.path, (*trajectory, places.tolist())):
            parts = [
                self._array[(*trajectory, run, slice(None), self.rows)] for run in _runs(places)
            ]
        states = np.asarray(parts[0] if len(parts) == 1 else np.concatenate(parts))
        return states if self._takes_all_channels else states[:, list(self.channels)]

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, without the fields: a worker process opens them itself."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_array", "_in_memory_fields")}


def _runs(places: NDArray[np.int64]) -> Iterator[slice]:
    """Split places in a file into slices of ascending, evenly spaced ones."""
    for series in np.split(places, np.flatnonzero(np.diff(places) <= 0) + 1):
        for run in np.split(series, np.flatnonzero(np.diff(series, n=2)) + 2):
            stride = int(run[1] - run[0]) if len(run) > 1 else 1
            yield slice(int(run[0]), int(run[-1]) + 1, stride)
