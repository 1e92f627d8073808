"""Mean by calendar month of the training split of a series, and the moments of the anomalies."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from configs import layout
from data_prep.store.arrays import CHECKSUM, put, times
from data_prep.store.blocks import Block, Blocks
from data_prep.store.climatology import month_number
from data_prep.store.gather.merge import Sums
from data_prep.store.gather.moments import BlockStatistics, Moments

_SLAB_BYTES = 2**25
"""Size of the states that are read together."""


def write_monthly_climatology(group: zarr.Group) -> None:
    """Write the mean by calendar month, and the standard deviations of the anomaly and its step.

    The fields are read once, month by month. Memory holds one month's mean. The training split
    needs every calendar month of at least two years, since anomalies from a single year are zero;
    otherwise nothing is written.

    Args:
        group: Store of one time series whose fields are complete.
    """
    blocks, time = Blocks(group), times(group)
    train = np.flatnonzero(blocks.train[0])
    month = month_number(time)
    years = [len(np.unique(time[train[month[train] == m]].astype("M8[Y]"))) for m in range(12)]
    if min(years) < 2:
        return
    state = blocks.fields.shape[1:]
    climatology = group.create_array(
        layout.CLIMATOLOGY,
        shape=(12, *state),
        chunks=(1, *state),
        dtype="float32",
        compressors=(ZstdCodec(), CHECKSUM),
        fill_value=float("nan"),
        dimension_names=(layout.MONTH, layout.CHANNEL, layout.LATITUDE, layout.LONGITUDE),
        attributes={"long_name": "Mean by calendar month over the training split"},
        overwrite=True,
    )
    put(group, layout.MONTH, (layout.MONTH,), np.arange(1, 13), long_name="Calendar month")
    anomaly = step = Moments.empty(state[0])
    for m in range(12):
        found, sums = _of_month(blocks, train[month[train] == m])
        mean = sums.mean
        climatology[m] = mean
        anomaly = anomaly.merged(_about(found.state, sums, mean, blocks.area))
        step = step.merged(found.step)
    for first, second in pairwise(train.tolist()):
        if second == first + 1 and blocks.follows[second] and month[first] != month[second]:
            step = step.merged(_step_between_months(blocks, climatology, month, second))
    over = "over the training split, weighted by area"
    put(group, layout.CLIMATOLOGY_STD, (layout.CHANNEL,), anomaly.std,
        long_name=f"Standard deviation of the anomaly {over}")  # fmt: skip
    put(group, layout.CLIMATOLOGY_STD_STEP, (layout.CHANNEL,), step.std,
        long_name=f"Standard deviation of the anomaly's one-step difference {over}")  # fmt: skip


def _of_month(blocks: Blocks, train: NDArray[np.intp]) -> tuple[BlockStatistics, Sums]:
    """Return the statistics of some states, and their sums at each point."""
    state = blocks.fields.shape[1:]
    found, sums = BlockStatistics.empty(state[0]), Sums.empty(state)
    longest = max(1, _SLAB_BYTES // (4 * int(np.prod(state))))
    last_index, last = -1, np.empty((0, *state), dtype=np.float32)
    for run in _runs(train, longest):
        states = blocks.read(Block(0, int(run[0]), int(run[-1]) + 1))
        follows = blocks.follows[run[0] : run[-1] + 1]
        part = blocks.moments(states, follows)
        joins = last_index >= 0 and run[0] == last_index + 1 and follows[0]
        into = blocks.moments(np.concatenate([last, states[:1]])).step if joins else None
        found = found.merged(part, into)
        sums.add(part, partial(iter, states))
        last_index, last = int(run[-1]), states[-1:].copy()
    return found, sums


def _about(
    found: Moments, sums: Sums, mean: NDArray[np.float32], area: NDArray[np.float64]
) -> Moments:
    """Return the moments of the departures from a mean at each point.

    With μ the mean of a channel and c that of a point,
    Σ (x − c)² = Σ (x − μ)² − 2 Σ (c − μ)(x − μ) + Σ (c − μ)².

    Args:
        found: Moments of the fields.
        sums: Their sums over time.
        mean: Mean of each point, (c, nlat, nlon).
        area: Area weight of a point of each row, (nlat,).
    """
    first, second = np.zeros((2, len(mean)))
    for c, of_point in enumerate(mean):
        there, centre = sums.there[c], found.mean[c]
        shift = np.where(there > 0, of_point - centre, 0.0)
        departure = sums.total[c] - there * centre
        first[c] = (departure - there * shift).sum(-1) @ area
        second[c] = (shift * (there * shift - 2 * departure)).sum(-1) @ area
    return Moments.of_sums(found.weight, first, found.square + second, np.zeros(len(mean)))


def _step_between_months(
    blocks: Blocks, climatology: zarr.Array, month: NDArray[np.int64], second: int
) -> Moments:
    """Return the moments of the anomaly's difference between two times of different months."""
    pair = blocks.read(Block(0, second - 1, second + 1))
    before, after = month[second - 1], month[second]
    change = np.asarray(climatology[after]) - np.asarray(climatology[before], dtype=np.float64)
    return blocks.moments(np.stack([pair[0] + change, pair[1]])).step


def _runs(numbers: NDArray[np.intp], longest: int) -> Iterator[NDArray[np.intp]]:
    """Split ascending numbers into runs of consecutive numbers, each of at most `longest`."""
    for run in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1):
        yield from (run[i : i + longest] for i in range(0, len(run), longest))
