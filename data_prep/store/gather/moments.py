"""Statistics of the training states of one block: moments, extremes, and sums over time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHORTEST_WITH_TOTAL = 8
"""Number of states from which the sums over time of a block are kept. Those of shorter blocks would
take much of the space of their fields, and are computed from these again."""
_VALUES = 1 << 17
"""Number of values of one state that are processed together, so that they stay in the cache."""


@dataclass(frozen=True)
class Moments:
    """Weighted mean and squared deviations of each channel; parts merge by Chan's formula.

    Attributes:
        weight: Sum of the weights of all values, (c,).
        mean: Weighted mean, (c,); 0 without values.
        square: Weighted sum of squared deviations from the mean, (c,).
    """

    weight: Array
    mean: Array
    square: Array

    @classmethod
    def empty(cls, channels: int) -> Moments:
        """Return the moments of no values."""
        return cls(*np.zeros((3, channels)))

    @classmethod
    def of_sums(cls, weight: Array, first: Array, second: Array, reference: Array) -> Moments:
        """Return the moments of values whose departures from a reference have these sums.

        Args:
            weight: Sum of the weights, (c,).
            first: Weighted sum of the departures, (c,).
            second: Weighted sum of the squared departures, (c,).
            reference: Value near the mean, (c,).
        """
        shift = np.divide(first, weight, out=np.zeros_like(first), where=weight > 0)
        square = np.maximum(second - shift * first, 0.0)
        return cls(weight, np.where(weight > 0, reference + shift, 0.0), square)

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both parts together."""
        weight = self.weight + other.weight
        share = np.divide(other.weight, weight, out=np.zeros_like(weight), where=weight > 0)
        shift = other.mean - self.mean
        square = self.square + other.square + shift**2 * self.weight * share
        return Moments(weight, self.mean + shift * share, square)

    @property
    def stacked(self) -> Array:
        """Weight, mean and squared deviations as one array, (3, c)."""
        return np.stack([self.weight, self.mean, self.square])

    @property
    def mean_or_nan(self) -> Array:
        """Mean, (c,); NaN without values."""
        return np.where(self.weight > 0, self.mean, np.nan)

    @property
    def std(self) -> Array:
        """Standard deviation, (c,); NaN without values."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(self.square / self.weight)


@dataclass(frozen=True)
class BlockStatistics:
    """Statistics of the training states of a block, weighted by area, at points with values.

    Attributes:
        count: Number of training states.
        state: Moments of the fields.
        step: Moments of the differences between a state and the next one.
        minimum: Smallest value, (c,); infinite without values.
        maximum: Largest value, (c,); minus infinity without values.
        total: Sum over the states at each point, (c, nlat, nlon), missing values as 0; None if it
            is to be computed from the fields (see `SHORTEST_WITH_TOTAL`).
        there: Number of values at each point, (c, nlat, nlon); None if none is missing, and without
            a total.
    """

    count: int
    state: Moments
    step: Moments
    minimum: Array
    maximum: Array
    total: Array | None = None
    there: NDArray[np.int32] | None = None

    @classmethod
    def empty(cls, channels: int) -> BlockStatistics:
        """Return the statistics of a block without training states."""
        nothing = Moments.empty(channels)
        infinite = np.full(channels, np.inf)
        return cls(0, nothing, nothing, infinite, -infinite)

    def merged(self, other: BlockStatistics, step_into: Moments | None = None) -> BlockStatistics:
        """Return the statistics of both blocks, without sums.

        Args:
            other: Statistics of a later block.
            step_into: Moments of the step into the later block, if there is one.
        """
        step = self.step if step_into is None else self.step.merged(step_into)
        return BlockStatistics(
            self.count + other.count,
            self.state.merged(other.state),
            step.merged(other.step),
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
        )

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return all values as arrays by name, for a file."""
        arrays: dict[str, NDArray[np.generic]] = {"count": np.asarray(self.count)}
        arrays |= {"state": self.state.stacked, "step": self.step.stacked}
        for name in ("minimum", "maximum", "total", "there"):
            if (values := getattr(self, name)) is not None:
                arrays[name] = values
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> BlockStatistics:
        """Return the statistics of `to_arrays`."""
        state, step = (Moments(*arrays[name]) for name in ("state", "step"))
        maps = {name: arrays[name] for name in ("total", "there") if name in arrays}
        return cls(int(arrays["count"]), state, step, arrays["minimum"], arrays["maximum"], **maps)  # type: ignore[arg-type]


def block_statistics(
    states: NDArray[np.floating],
    chosen: NDArray[np.bool_],
    follows: NDArray[np.bool_],
    area: Array,
) -> BlockStatistics:
    """Return the statistics of the chosen states of a block.

    Args:
        states: Fields, (n, c, nlat, nlon), NaN where missing.
        chosen: True for the states of the training split, (n,).
        follows: True for states that are one time step after the state before them, (n,). The
            difference of two chosen states counts there.
        area: Area weight of a point of each row, (nlat,).
    """
    n, channels, nlat, nlon = states.shape
    if not chosen.any():
        return BlockStatistics.empty(channels)
    together = max(1, _VALUES // (nlat * nlon))
    with_total = n >= SHORTEST_WITH_TOTAL
    parts = [
        _channel_statistics(states[:, c : c + together], chosen, follows, area, with_total)
        for c in range(0, channels, together)
    ]
    return _joined(parts, (channels, nlat, nlon))


def _channel_statistics(
    states: NDArray[np.floating],
    chosen: NDArray[np.bool_],
    follows: NDArray[np.bool_],
    area: Array,
    with_total: bool,
) -> BlockStatistics:
    """Return the statistics of some channels of a block; see `block_statistics`."""
    n, channels, nlat, nlon = states.shape
    shape = (channels, nlat, nlon)
    sums = np.zeros((2, 3, channels))  # fields and steps: weights, departures, squared departures
    low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
    total = np.zeros(shape) if with_total else None
    missing_count: NDArray[np.int32] | None = None
    reference = np.nan_to_num(_area_mean(states[int(chosen.argmax())], area))
    full = np.full(channels, area.sum() * nlon)
    last = _Departures(np.empty(shape), np.empty((channels, nlat)), None)
    now = _Departures(np.empty(shape), np.empty((channels, nlat)), None)
    step = np.empty(shape)
    for t in np.flatnonzero(chosen):
        last, now = now, last
        now.fill(states[t], reference)
        weight = full if now.missing is None else full - now.missing.sum(-1) @ area
        squares = np.einsum("chw,chw->ch", now.values, now.values)
        sums[0] += weight, now.row_sums @ area, squares @ area
        flat = states[t].reshape(channels, -1)
        np.fmin(low, np.fmin.reduce(flat, axis=1), out=low)
        np.fmax(high, np.fmax.reduce(flat, axis=1), out=high)
        if t and chosen[t - 1] and follows[t]:
            sums[1] += now.step_sums(last, step, area, full)
        if total is not None:
            total += now.values
            if now.missing is not None:
                if missing_count is None:
                    missing_count = np.zeros(shape, dtype=np.int32)
                missing_count += now.missing
    count = int(chosen.sum())
    there = None if missing_count is None else count - missing_count
    if total is not None:
        total += reference[:, None, None] * (count if there is None else there)
    state = Moments.of_sums(sums[0, 0], sums[0, 1], sums[0, 2], reference)
    steps = Moments.of_sums(sums[1, 0], sums[1, 1], sums[1, 2], np.zeros(channels))
    return BlockStatistics(count, state, steps, low, high, total, there)


class _Departures:
    """Departures of one state from a reference, 0 where values are missing.

    Attributes:
        values: Departures, (c, nlat, nlon).
        row_sums: Their sums along the rows, (c, nlat).
        missing: True at missing values; None if there are none.
    """

    def __init__(self, values: Array, row_sums: Array, missing: NDArray[np.bool_] | None) -> None:
        self.values, self.row_sums, self.missing = values, row_sums, missing

    def fill(self, state: NDArray[np.floating], reference: Array) -> None:
        """Take the departures of another state."""
        np.copyto(self.values, state)  # conversion and subtraction in one call take twice as long
        self.values -= reference[:, None, None]
        np.einsum("chw->ch", self.values, out=self.row_sums)
        self.missing = None
        if np.isnan(self.row_sums).any():
            self.missing = np.isnan(state)
            np.copyto(self.values, 0.0, where=self.missing)
            np.einsum("chw->ch", self.values, out=self.row_sums)

    def step_sums(
        self, last: _Departures, step: Array, area: Array, full: Array
    ) -> tuple[Array, Array, Array]:
        """Return weight, sum and squared sum of the differences from the last state, (c,) each."""
        np.subtract(self.values, last.values, out=step)
        weight, rows = full, self.row_sums - last.row_sums
        gone = [d.missing for d in (self, last) if d.missing is not None]
        if gone:
            missing = np.logical_or.reduce(gone)
            np.copyto(step, 0.0, where=missing)
            weight, rows = full - missing.sum(-1) @ area, step.sum(-1)
        return weight, rows @ area, np.einsum("chw,chw->ch", step, step) @ area


def _area_mean(state: NDArray[np.floating], area: Array) -> Array:
    """Return the mean of each channel over the points with values, (c,); NaN without any."""
    there = ~np.isnan(state)
    rows = np.where(there, state, 0).sum(-1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return (rows @ area) / (there.sum(-1) @ area)


def _joined(parts: list[BlockStatistics], shape: tuple[int, ...]) -> BlockStatistics:
    """Join the statistics of groups of channels."""

    def moments(of: Iterable[Moments]) -> Moments:
        return Moments(*np.concatenate([each.stacked for each in of], axis=1))

    total = there = None
    if parts[0].total is not None:
        total = np.concatenate([part.total for part in parts if part.total is not None])
    if any(part.there is not None for part in parts):
        there = np.full(shape, parts[0].count, dtype=np.int32)
        first = 0
        for part in parts:
            stop = first + len(part.minimum)
            if part.there is not None:
                there[first:stop] = part.there
            first = stop
    return BlockStatistics(
        parts[0].count,
        moments(part.state for part in parts),
        moments(part.step for part in parts),
        np.concatenate([part.minimum for part in parts]),
        np.concatenate([part.maximum for part in parts]),
        total,
        there,
    )
