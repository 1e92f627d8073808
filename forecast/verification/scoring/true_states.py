"""True states with the means that scores need, from a cache of recent ones.

Points are left out by a weight of zero. With constant masks all states have the same weights. With
a moving mask, the weights of a state are those of the points that it has; states that are compared
get the weights of the points that all of them have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.verification.scoring.fast_forms import spread
from forecast.verification.truth import Truth

Array = NDArray[np.floating[Any]]


class RegionSums:
    """Weighted sums of fields over regions.

    Attributes:
        weights: Area weight of each point times its part of the region, (r, p).
    """

    def __init__(self, weights: Array) -> None:
        """Keep the weights, (r, p)."""
        self.weights = np.ascontiguousarray(weights, dtype=np.float64)
        self._columns = np.ascontiguousarray(self.weights.T)

    def __call__(self, x: Array) -> Array:
        """Sum fields (c, p) in float64 over each region, (c, r)."""
        if len(self.weights) == 1:  # a dot product is faster than a matrix of one column
            found: Array = np.vecdot(x, self.weights[0])
            return found[:, None]
        return x @ self._columns

    def mean(self, x: Array, counted: NDArray[np.bool_]) -> Array:
        """Average a field (p,) over the points of each region that count, (r,); NaN for none."""
        total, weight = self(np.stack([np.where(counted, x, 0.0), counted.astype(np.float64)]))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: Array = total / weight
        return mean


@dataclass(frozen=True)
class TrueState:
    """Truth at one time, with its means over the points that count.

    Attributes:
        time: Time, (1,).
        field: Field (c, p), row by row.
        outside: Points that do not count, (c, p); None if all do.
        anomaly: Departure from the reference, (c, p); 0 at points that do not count.
        weight: Sum of the weights of the points that count, (c, r).
        count: Number of points that count, (c, r).
        mean: Mean of the anomaly, (c, r).
        absolute: Mean of its absolute value.
        variance: Mean of its square.
        size: Mean square of the departure from the reference of norms; NaN without one.
    """

    time: NDArray[np.datetime64]
    field: Array
    outside: NDArray[np.bool_] | None
    anomaly: Array
    weight: Array
    count: NDArray[np.int64]
    mean: Array
    absolute: Array
    variance: Array
    size: Array

    def channel(self, channel: int) -> Array:
        """Return the field of a channel in float64, NaN at points that do not count, (p,)."""
        field = self.field[channel].astype(np.float64)
        if self.outside is not None:
            field[self.outside[channel]] = np.nan
        return field

    @property
    def spread(self) -> Array:
        """Variance over the region of the anomaly, (c, r)."""
        return spread(self.variance, self.mean)


class TrueStates:
    """True states over the points that model, store and reference have in common."""

    def __init__(self, truth: Truth, sums: RegionSums) -> None:
        """Prepare the points that count.

        Raises:
            ValueError: If a channel has no such point.
        """
        self._truth, self._sums = truth, sums
        valid = truth.valid.reshape(len(truth.valid), -1)
        self._outside = None if valid.all() else ~valid
        self._moving = truth.moving[:, None] if truth.moving.any() else None
        self._weight, self._count = self._totals(self._outside, len(valid))
        keep: Callable[[Any], Any] = lru_cache(truth.n_kept)
        self._state = keep(self._read)

    def __call__(self, trajectory: int, place: int) -> TrueState:
        """Return the truth at a time of the store; see `Truth.key` for the arguments.

        Raises:
            ValueError: If a value is missing inside the mask of the store.
        """
        found: TrueState = self._state(trajectory, place)
        return found

    def common(self, *states: TrueState, field: Array | None = None) -> tuple[TrueState, ...]:
        """Return states over the points that all of them have.

        Args:
            *states: True states; with constant masks they are returned as they are.
            field: Forecast state (c, p) that may also lack points of channels with a moving mask,
                as an initial state.
        """
        if self._moving is None:
            return states
        outside = np.zeros(states[0].field.shape, dtype=bool)
        if field is not None:
            outside |= np.isnan(field) & self._moving
        for state in states:
            if state.outside is not None:
                outside |= state.outside
        return tuple(self._over_fewer(outside, state) for state in states)

    def reference(self, kind: str, time: NDArray[np.datetime64]) -> Array | None:
        """Return a reference at a time, (c, p) or (c, 1) if it is constant; None if there is none.

        Args:
            kind: `anomaly` or `norm`.
            time: Time, (1,).
        """
        references = self._truth.references
        of = {"anomaly": references.of_anomalies, "norm": references.of_norms}[kind]
        found = of(time)
        return None if found is None else found[0].reshape(len(self._weight), -1)

    def _read(self, trajectory: int, place: int) -> TrueState:
        truth = self._truth
        field = truth.state(trajectory, place).reshape(len(self._weight), -1)
        time = truth.store.time[place : place + 1]
        reference, outside = self.reference("anomaly", time), self._outside
        anomaly = field.astype(np.float64)
        if reference is not None:
            anomaly -= reference
        weight, count = self._weight, self._count
        if self._moving is not None:
            lacking = np.isnan(anomaly) & self._moving
            outside = lacking if outside is None else lacking | outside
            weight, count = self._totals(outside, len(field))
        if outside is not None:
            np.copyto(anomaly, 0.0, where=outside)
        state = self._with_means(time, field, outside, anomaly, weight, count)
        missing = ((count > 0) & ~np.isfinite(state.variance)).any(1)
        if missing.any():
            raise ValueError(
                f"{truth.store.path} has no complete {truth.file.channel_names[missing.argmax()]} "
                f"at {truth.store.describe(trajectory, place)}: values are missing inside the "
                "mask, so the store is damaged; make it again"
            )
        return state

    def _totals(
        self, outside: NDArray[np.bool_] | None, n_channels: int
    ) -> tuple[Array, NDArray[np.int64]]:
        """Return the sum of the weights and the number of points that count, each (c, r)."""
        weights = self._sums.weights
        if outside is None:
            count = np.broadcast_to((weights > 0).sum(1), (n_channels, len(weights)))
            return np.broadcast_to(weights.sum(1), count.shape), count
        inside = (~outside).astype(np.float64)
        return self._sums(inside), (inside @ (weights > 0).T).round().astype(np.int64)

    def _with_means(
        self,
        time: NDArray[np.datetime64],
        field: Array,
        outside: NDArray[np.bool_] | None,
        anomaly: Array,
        weight: Array,
        count: NDArray[np.int64],
    ) -> TrueState:
        """Return a true state with the means over its points; see `TrueState`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, absolute, variance = (
                self._sums(x) / weight for x in (anomaly, np.abs(anomaly), anomaly * anomaly)
            )
            size = np.full(mean.shape, np.nan)
            of_norms = self.reference("norm", time)
            if of_norms is not None:
                departure = field - of_norms.astype(np.float64)
                if outside is not None:
                    np.copyto(departure, 0.0, where=outside)
                size = self._sums(departure * departure) / weight
        return TrueState(
            time, field, outside, anomaly, weight, count, mean, absolute, variance, size
        )

    def _over_fewer(self, outside: NDArray[np.bool_], true: TrueState) -> TrueState:
        """Return a true state without the points given as (c, p), which include those it lacks."""
        if true.outside is not None and np.array_equal(outside, true.outside):
            return true
        anomaly = np.where(outside, 0.0, true.anomaly)
        weight, count = self._totals(outside, len(outside))
        return self._with_means(true.time, true.field, outside, anomaly, weight, count)
