"""Mean by day of the year and hour of the day of the training split of a series.

The definition is that of WeatherBench 2 (Rasp et al. 2024, arXiv 2308.15560, `compute_climatology`
with the method "explicit"): the mean over all years and over the days of a window, with weights
that fall linearly from 1 at the day itself to 0 at both ends of the window. The window goes round
the end of the year. A year without a last day 366 counts its day 365 there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from configs import layout
from configs.time.calendar import SECOND
from configs.time.step import TimeStep
from data_prep.store.arrays import CHECKSUM, put, time_step, times
from data_prep.store.blocks import Block, Blocks
from data_prep.store.gather.merge import Sums

_HELD_BYTES = 2**28
"""Size of the sums of days that are kept in memory, beyond those that are in use."""
_SHARD_BYTES = 2**25
_LEAP_YEAR = np.array(12 * 2)
"""January 1972 in months since January 1970."""


def write_daily_climatology(group: zarr.Group, window: int) -> None:
    """Write the mean by day of the year and hour of the day.

    Memory holds some states and `_HELD_BYTES`; the fields are read once if that holds the days of a
    window, else at most three times.

    Args:
        group: Store of one time series whose fields are complete, with a training split.
        window: Days of the window, an odd number.
    """
    blocks, time, step = Blocks(group), times(group), time_step(group)
    train = np.flatnonzero(blocks.train[0])
    if not len(train):
        return
    day, since = step.calendar.day_of_year(time), step.calendar.time_of_day(time)
    n_days = int(step.calendar.month_start(_LEAP_YEAR + 12) - step.calendar.month_start(_LEAP_YEAR))
    hours = np.unique(since[train])
    state = blocks.fields.shape[1:]
    together = min(n_days, max(1, _SHARD_BYTES // (4 * int(np.prod(state)))))
    climatology = group.create_array(
        layout.DAILY_CLIMATOLOGY,
        shape=(n_days, len(hours), *state),
        chunks=(1, 1, *state),
        shards=(together, 1, *state),
        dtype="float32",
        compressors=(ZstdCodec(), CHECKSUM),
        fill_value=float("nan"),
        chunk_key_encoding={"name": "default", "separator": "."},
        dimension_names=(layout.DAY_OF_YEAR, layout.HOUR, layout.CHANNEL, layout.LATITUDE,
                         layout.LONGITUDE),
        attributes={"long_name": "Mean by day of the year and hour of the day over the training "
                    "split", "window": window},
        overwrite=True,
    )  # fmt: skip
    put(group, layout.DAY_OF_YEAR, (layout.DAY_OF_YEAR,), np.arange(1, n_days + 1),
        long_name="Day of the year")  # fmt: skip
    put(group, layout.HOUR, (layout.HOUR,), hours / (3600 * SECOND), units="h",
        long_name="Hour of the day")  # fmt: skip
    half = max(1, window // 2)
    for h, hour in enumerate(hours):
        at_hour = train[since[train] == hour]
        days = _Days(blocks, at_hour, day[at_hour], _is_last(time[at_hour], step, n_days), n_days)
        smoothed = _smoothed(days, half)
        for d in range(0, n_days, together):
            part = list(islice(smoothed, together))
            climatology[d : d + len(part), h] = np.stack(part)


def _is_last(time: NDArray[np.datetime64], step: TimeStep, n_days: int) -> NDArray[np.bool_]:
    """Return True for times on the last day of a year that is a day shorter than the longest."""
    first = 12 * time.astype("M8[Y]").astype(np.int64)
    length = step.calendar.month_start(first + 12) - step.calendar.month_start(first)
    return (length < n_days) & (step.calendar.day_of_year(time) == length - 1)


class _Days:
    """Sums over the years of each day at one hour, of which some are kept in memory."""

    def __init__(
        self,
        blocks: Blocks,
        indices: NDArray[np.intp],
        day: NDArray[np.int64],
        counts_twice: NDArray[np.bool_],
        n_days: int,
    ) -> None:
        self._blocks, self._indices, self._day = blocks, indices, day
        self._twice, self.n_days = counts_twice, n_days
        self.shape = blocks.fields.shape[1:]
        self._most = _HELD_BYTES // (12 * int(np.prod(self.shape)))
        self._held: OrderedDict[int, Sums] = OrderedDict()

    def __getitem__(self, day: int) -> Sums:
        """Return the sums of a day, counted round the end of the year."""
        day %= self.n_days
        if day in self._held:
            self._held.move_to_end(day)
            return self._held[day]
        chosen = self._day == day
        if day == self.n_days - 1:
            chosen |= self._twice
        sums = Sums.empty(self.shape)
        for i in self._indices[chosen].tolist():
            sums.add_states(self._blocks.read(Block(0, i, i + 1)))
        self._held[day] = sums
        while len(self._held) > max(1, self._most):
            self._held.popitem(last=False)
        return sums


def _smoothed(days: _Days, half: int) -> Iterator[NDArray[np.float32]]:
    """Yield the weighted mean of each day, with weights half − |k| for the days k away.

    The weighted sum T of day d becomes that of the next day by T + A − B, with A the sum of the
    days d + 1 to d + half, and B that of d − half + 1 to d.
    """
    weighted, after, before = (Sums.empty(days.shape) for _ in range(3))
    for k in range(-half + 1, half + 1):
        weighted.add_sums(days[k], half - abs(k))
        (after if k > 0 else before).add_sums(days[k])
    for d in range(days.n_days):
        yield weighted.mean
        weighted.add_sums(after)
        weighted.add_sums(before, -1)
        after.add_sums(days[d + 1 + half])
        after.add_sums(days[d + 1], -1)
        before.add_sums(days[d + 1])
        before.add_sums(days[d + 1 - half], -1)
