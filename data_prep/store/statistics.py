"""Statistics of the training split of a store, computed in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import zarr
from numpy.typing import NDArray

from configs import layout
from data_prep.store.arrays import array, consecutive, put
from sphere_ops.grid import Grid

_SLAB_BYTES = 2**25  # size of the states that one call reads


class Moments:
    """Running area-weighted mean and standard deviation of each channel.

    Blocks are merged by Chan's formula, which stays accurate if the mean is far from 0. Points
    that are missing (NaN) at a time do not count at that time.
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        """Start without any fields.

        Args:
            weights: Weight of each point, (channel, nlat, nlon); 0 where there is no value.
        """
        self._weights, self._outside = weights, weights == 0
        self._total = weights.sum(axis=(-2, -1))
        n = len(weights)
        self._count, self._mean, self._square = np.zeros(n), np.zeros(n), np.zeros(n)

    def add(self, fields: NDArray[np.floating]) -> None:
        """Add the fields of one time, (channel, nlat, nlon)."""
        values = fields.astype(np.float64)
        np.copyto(values, 0.0, where=self._outside)
        weights, total, share = self._weights, self._total, np.ones(len(values))
        missing = np.isnan(values)
        if missing.any():
            weights = np.where(missing, 0.0, weights)
            np.copyto(values, 0.0, where=missing)
            total = weights.sum(axis=(-2, -1))
            share = total / self._total
            total = np.where(total > 0, total, 1.0)
        mean = np.einsum("chw,chw->c", values, weights) / total
        values -= mean[:, None, None]  # from here on deviations
        square = np.einsum("chw,chw,chw->c", values, values, weights) / total
        n, self._count = self._count, self._count + share
        count = np.where(self._count > 0, self._count, 1.0)
        shift = mean - self._mean
        self._mean = self._mean + shift * share / count
        self._square = self._square + square * share + shift**2 * (n * share / count)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over area and time, (channel,); NaN if nothing was added."""
        return np.where(self._count > 0, self._mean, np.nan)

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation over area and time, (channel,); NaN if nothing was added."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(self._square / self._count)


class PointMean:
    """Running mean over time at each point, over the times at which it has a value."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Start without any fields of this shape."""
        self._total, self._count = np.zeros(shape), np.zeros(shape, dtype=np.int32)

    def add(self, fields: NDArray[np.floating]) -> None:
        """Add the fields of one time."""
        there = ~np.isnan(fields)
        np.add(self._total, fields, out=self._total, where=there)
        self._count += there

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean; NaN at points that never had a value."""
        with np.errstate(invalid="ignore"):
            return self._total / self._count


def point_weights(group: zarr.Group, grid: Grid) -> NDArray[np.float64]:
    """Return the weight of each point, (channel, nlat, nlon): its area, or 0 outside the mask."""
    area = np.broadcast_to(grid.area_weights.numpy(), grid.shape)
    n = array(group, layout.FIELDS).shape[-3]
    if layout.MASK in group:
        return area * np.asarray(array(group, layout.MASK)[...])
    return np.broadcast_to(area, (n, *grid.shape))


def train_series(group: zarr.Group) -> Iterator[tuple[int, ...]]:
    """Iterate over the training split in the order of time.

    Yields:
        Index of a state in the fields: (trajectory, time) or (time,).
    """
    fields = array(group, layout.FIELDS)
    train = np.flatnonzero(np.asarray(array(group, layout.SPLIT)[...]) == "train").tolist()
    if fields.ndim == 4:
        yield from ((time,) for time in train)
    else:
        yield from ((trajectory, time) for trajectory in train for time in range(fields.shape[1]))


def train_states(group: zarr.Group) -> Iterator[tuple[tuple[int, ...], NDArray[np.floating]]]:
    """Iterate over the states of `train_series`; many states are read in one call for speed.

    Yields:
        Index of a state, and its fields (channel, nlat, nlon).
    """
    fields = array(group, layout.FIELDS)
    lead, state = fields.shape[:-3], fields.shape[-3:]
    longest = max(1, _SLAB_BYTES // (4 * math.prod(state)))  # states of a slab
    times = lead[1] if len(lead) == 2 else 1
    train = np.flatnonzero(np.asarray(array(group, layout.SPLIT)[...]) == "train")
    for run in _runs(train, max(1, longest // times)):
        for start in range(0, times, longest):
            first = (int(run[0]), start)[: len(lead)]
            ends = (int(run[-1]) + 1, start + longest)
            slab = np.asarray(fields[tuple(map(slice, first, ends))])
            for place in np.ndindex(*slab.shape[:-3]):
                yield tuple(a + b for a, b in zip(first, place, strict=True)), slab[place]


def _runs(numbers: NDArray[np.integer], longest: int) -> Iterator[NDArray[np.integer]]:
    """Split ascending numbers into runs of consecutive numbers, each of at most `longest`."""
    for run in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1):
        yield from (run[i : i + longest] for i in range(0, len(run), longest))


def write_statistics(group: zarr.Group, grid: Grid) -> None:
    """Write the mean state, and the mean and standard deviations of each channel.

    The standard deviations are those of the fields and of their one-step differences, of which none
    crosses a gap. Statistics
    are weighted by area, inside the mask, and over the training split only. A store without a
    training split gets no statistics.

    Args:
        group: Store whose fields are complete.
        grid: Grid of the store.
    """
    weights = point_weights(group, grid)
    state, step = Moments(weights), Moments(weights)
    at_points = PointMean(weights.shape)
    linked = consecutive(group)
    last_index: tuple[int, ...] = ()
    last: NDArray[np.float64] | None = None
    for index, fields in train_states(group):
        values = fields.astype(np.float64)  # (c, h, w)
        state.add(values)
        at_points.add(values)
        follows = last is not None and index == (*last_index[:-1], last_index[-1] + 1)
        if last is not None and follows and linked[last_index[-1]]:
            step.add(values - last)
        last_index, last = index, values
    if last is None:
        return
    over = "training split, weighted by area"
    about = {
        layout.MEAN: ("Mean", state.mean),
        layout.STD: ("Standard deviation", state.std),
        layout.STD_STEP: ("Standard deviation of the difference between two times", step.std),
    }
    for name, (long_name, values) in about.items():
        put(group, name, (layout.CHANNEL,), values, long_name=f"{long_name} over the {over}")
    dims = (layout.CHANNEL, layout.LATITUDE, layout.LONGITUDE)
    put(group, layout.TIME_MEAN, dims, at_points.mean.astype(np.float32),
        long_name="Mean over the times of the training split")  # fmt: skip
