"""Scores of many states against one truth, with few passes over each.

`metrics` has the definition of each score. Most of them follow from area-weighted means over the
same two fields: the error e, and the anomaly b of the truth. The anomaly of the forecast is e + b.
With both fields times the root of the area weights, each of these means is one dot product.

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

from forecast.verification.score_table import SCORES, Reference, Score
from forecast.verification.truth import Truth
from sphere_ops.memory import available_memory

_KEPT_BYTES = 512 * 2**20
_KEPT_SHARE = 0.25

Array = NDArray[np.floating[Any]]
Values = dict[str, Array]
"""Values of `Score.per_field` by the name of the score, each (c,)."""


@dataclass(frozen=True)
class Points:
    """Points of each channel that count, and their weights.

    Attributes:
        root: √w, the root of the area weights, whose sum is 1, (c, p); 0 where nothing counts.
        outside: Points that do not count, (c, p); None if all do.
        count: Number of points that count, (c,).
    """

    root: Array
    outside: NDArray[np.bool_] | None
    count: NDArray[np.int64]

    def without(self, outside: NDArray[np.bool_]) -> Points:
        """Leave out points given as (c, p); the weights of a channel without any point are NaN."""
        if self.outside is not None:
            outside = outside | self.outside
        root = np.where(outside, 0.0, self.root)
        with np.errstate(invalid="ignore", divide="ignore"):
            root /= np.sqrt(np.vecdot(root, root))[:, None]
        return Points(root, outside, (~outside).sum(1))


@dataclass(frozen=True)
class TrueState:
    """Truth at one time, with the means that scores need.

    Attributes:
        time: Time, (1,).
        field: Field (c, p), row by row.
        points: Points that count.
        anomaly: Departure from the reference times √w, (c, p).
        variance: Mean square of the anomaly, (c,).
        size: Mean square of the departure from the reference of norms, (c,).
        activity: Variance of the anomaly over the sphere, (c,).
    """

    time: NDArray[np.datetime64]
    field: Array
    points: Points
    anomaly: Array
    variance: Array
    size: Array
    activity: Array


@dataclass(frozen=True)
class Means:
    """Area-weighted means over the points that count, each (c,).

    Attributes:
        error: Mean of the error.
        squared_error: Mean of its square.
        absolute_error: Mean of its absolute value.
        anomaly: Mean of the forecast's anomaly.
        variance: Mean of its square.
        product: Mean of the product of the anomalies of forecast and truth.
        true: Truth, with its own means.
    """

    error: Array
    squared_error: Array
    absolute_error: Array
    anomaly: Array
    variance: Array
    product: Array
    true: TrueState


def _correlation(means: Means) -> Array:
    norm = np.sqrt(means.variance * means.true.variance)
    return np.where(norm > 0, means.product / norm, np.nan)


FROM_MEANS: dict[str, Callable[[Means], Array]] = {
    "rmse": lambda means: means.squared_error,
    "mae": lambda means: means.absolute_error,
    "bias": lambda means: means.error,
    "acc": _correlation,
    "relative_l2": lambda means: np.sqrt(means.squared_error / means.true.size),
    "activity": lambda means: _spread(means.variance, means.anomaly),
}
"""Fast forms of scores. A score without one is computed by its `per_field`."""


class Scorer:
    """Scorer of states, over the points that model, store and reference have in common."""

    def __init__(self, truth: Truth) -> None:
        """Prepare the weights.

        Raises:
            ValueError: If a channel has no such point.
        """
        self._truth, valid = truth, truth.valid
        weights = np.where(valid, truth.file.grid.area_weights.numpy(), 0.0).reshape(len(valid), -1)
        self._root = np.sqrt(weights / weights.sum(1, keepdims=True))  # (c, p)
        outside = None if valid.all() else ~valid.reshape(self._root.shape)
        self._points = Points(self._root, outside, valid.sum((-2, -1)))
        self._moving = truth.moving[:, None] if truth.moving.any() else None
        references = truth.references
        no_norm = references.climatology is None and references.mean is None
        absent = {"anomaly": references.kind is None, "norm": no_norm}
        self._missing = {
            name
            for name, score in SCORES.items()
            if score.reference_required and absent.get(score.reference or "")
        }
        self._error, self._work = np.empty_like(self._root), np.empty_like(self._root)
        kept = min(_KEPT_BYTES, _KEPT_SHARE * available_memory())
        per_state = self._root.nbytes * (1 if self._moving is None else 2) + self._root.size * 4
        keep: Callable[[Any], Any] = lru_cache(max(2, int(kept // per_state)))
        self._true = keep(self._true_state)

    def true(self, forecast_index: int, position: int) -> TrueState:
        """Return the truth of a forecast at a lead time, from a cache of recent ones.

        Raises:
            ValueError: If a value is missing inside the mask of the store.
        """
        return self._true(*self._truth.key(forecast_index, position))

    def common(self, *states: TrueState, field: Array | None = None) -> tuple[TrueState, ...]:
        """Return states over the points that all of them have.

        Args:
            *states: True states; with constant masks they are returned as they are.
            field: Forecast state (c, nlat, nlon) that may also lack points of channels with a
                moving mask, as an initial state.
        """
        if self._moving is None:
            return states
        outside = np.zeros(self._root.shape, dtype=bool)
        if field is not None:
            outside |= np.isnan(field.reshape(outside.shape)) & self._moving
        for state in states:
            outside |= state.points.outside
        return tuple(self._over_fewer(outside, state) for state in states)

    def model(self, field: Array, true: TrueState) -> Values:
        """Return the scores of a forecast state (c, nlat, nlon)."""
        error = self._weighted(field.reshape(self._root.shape), true.field, true.points)
        return self._values(error, true, lambda: field)

    def persistence(self, initial: TrueState, true: TrueState) -> Values:
        """Return the scores of a forecast that keeps the anomaly of the initial state.

        Where the reference is constant or absent, this is a forecast that keeps the state. Both
        states have the same points.
        """

        def state() -> Array:
            anomaly = self._field(initial) - self._reference("anomaly", initial)
            return anomaly + self._reference("anomaly", true)

        error = np.subtract(initial.anomaly, true.anomaly, out=self._error)
        return self._values(error, true, state)

    def climatology(self, true: TrueState) -> Values:
        """Return the scores of the reference of anomalies as a forecast."""

        def state() -> Array:
            return np.broadcast_to(self._reference("anomaly", true), self._truth.valid.shape)

        return self._values(np.negative(true.anomaly, out=self._error), true, state)

    def _values(self, error: Array, true: TrueState, state: Callable[[], Array]) -> Values:
        """Return the scores of a state.

        Args:
            error: Weighted error (c, p); overwritten.
            true: Truth.
            state: Function that returns the state, for scores without a fast form.
        """
        root = true.points.root
        squared, mean = np.vecdot(error, error), np.vecdot(error, root)
        absolute = np.vecdot(np.abs(error, out=self._work), root)
        anomaly = np.add(error, true.anomaly, out=error)
        means = Means(
            mean,
            squared,
            absolute,
            np.vecdot(anomaly, root),
            np.vecdot(anomaly, anomaly),
            np.vecdot(anomaly, true.anomaly),
            true,
        )
        values = {}
        for name, score in SCORES.items():
            with np.errstate(invalid="ignore", divide="ignore"):
                if name in self._missing:
                    values[name] = np.full(len(root), np.nan)
                elif name in FROM_MEANS:
                    values[name] = FROM_MEANS[name](means)
                else:
                    values[name] = self._by_definition(score, state(), true)
        return values

    def _by_definition(self, score: Score, state: Array, true: TrueState) -> Array:
        """Return the values (c,) of `Score.per_field` for a state (c, nlat, nlon)."""
        references = () if score.reference is None else (self._reference(score.reference, true),)
        area_weights = self._truth.file.grid.area_weights.numpy()
        return score.per_field(state, self._field(true), *references, area_weights)

    def _field(self, true: TrueState) -> Array:
        """Return the truth (c, nlat, nlon), NaN at points that do not count."""
        outside = np.False_ if true.points.outside is None else true.points.outside
        field = np.where(outside, np.nan, true.field).astype(np.float64)
        return field.reshape(self._truth.valid.shape)

    def _reference(self, kind: Reference, true: TrueState) -> Array:
        """Return a reference at the time of a true state, (c, ...); zero if there is none."""
        references = self._truth.references
        of = {"anomaly": references.of_anomalies, "norm": references.of_norms}[kind]
        found = of(true.time)
        return np.zeros((len(self._root), 1, 1)) if found is None else found[0]

    def _true_state(self, trajectory: int, place: int) -> TrueState:
        """Read the truth at a time of the store; see `Truth.key` for the arguments."""
        truth, references = self._truth, self._truth.references
        field = truth.state(trajectory, place).reshape(self._root.shape)
        time = truth.store.time[place : place + 1]
        found, points = references.of_anomalies(time), self._points
        reference = np.zeros((len(field), 1)) if found is None else self._flat(found)
        if self._moving is not None:
            points = points.without(np.isnan(field - reference) & self._moving)
        anomaly = self._weighted(field, reference, points).copy()
        true = self._with_means(time, field, points, anomaly)
        missing = (points.count > 0) & ~np.isfinite(true.variance)
        if missing.any():
            raise ValueError(
                f"{truth.store.path} has no complete {truth.file.channel_names[missing.argmax()]} "
                f"at {truth.store.describe(trajectory, place)}: values are missing inside the "
                "mask, so the store is damaged; make it again"
            )
        return true

    def _with_means(
        self, time: NDArray[np.datetime64], field: Array, points: Points, anomaly: Array
    ) -> TrueState:
        """Return a true state with the means over its points; see `TrueState`."""
        variance, mean = np.vecdot(anomaly, anomaly), np.vecdot(anomaly, points.root)
        size, of_norms = np.full(len(field), np.nan), self._truth.references.of_norms(time)
        if of_norms is not None:
            departure = self._weighted(field, self._flat(of_norms), points)
            size = np.vecdot(departure, departure)
        activity = _spread(variance, mean)
        return TrueState(time, field, points, anomaly, variance, size, activity)

    def _over_fewer(self, outside: NDArray[np.bool_], true: TrueState) -> TrueState:
        """Return a true state without the points given as (c, p), which include those it lacks."""
        if true.points.outside is not None and np.array_equal(outside, true.points.outside):
            return true
        points = true.points.without(outside)
        with np.errstate(invalid="ignore", divide="ignore"):
            growth = points.root / true.points.root  # NaN outside
        anomaly = np.where(outside, 0.0, true.anomaly * growth)
        return self._with_means(true.time, true.field, points, anomaly)

    def _flat(self, reference: Array) -> Array:
        """Reshape a reference (1, c, ...) to (c, p), or to (c, 1) if it is constant in space."""
        return reference.reshape(len(self._root), -1)

    def _weighted(self, x: Array, y: Array, points: Points) -> Array:
        """Return (x − y)·√w in float64, 0 at points to leave out, in a buffer that is reused."""
        difference = np.subtract(x, y, out=self._error, dtype=np.float64)
        difference *= points.root
        if points.outside is not None:
            np.copyto(difference, 0.0, where=points.outside)
        return difference


def _spread(square: Array, mean: Array) -> Array:
    """Return the variance from mean square and mean; at least 0 in spite of rounding."""
    return np.maximum(square - mean**2, 0.0)
