"""Scores of many states against one truth, with few passes over each.

`metrics` has the definition of each score. Most of them follow from area-weighted means over the
same two fields: the error e, and the anomaly b of the truth. The anomaly of the forecast is e + b.
With both fields times the root of the area weights, each of these means is one dot product.
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
class TrueState:
    """Truth at one time, with the means that scores need.

    Attributes:
        time: Time, (1,).
        field: Field (c, p), row by row.
        anomaly: Departure from the reference times √w, (c, p).
        variance: Mean square of the anomaly, (c,).
        size: Mean square of the departure from the reference of norms, (c,).
        activity: Variance of the anomaly over the sphere, (c,).
    """

    time: NDArray[np.datetime64]
    field: Array
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
        self._outside = None if valid.all() else ~valid.reshape(self._root.shape)
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
        per_state = self._root.nbytes + self._root.size * 4
        keep: Callable[[Any], Any] = lru_cache(max(2, int(kept // per_state)))
        self._true = keep(self._true_state)

    def true(self, forecast_index: int, position: int) -> TrueState:
        """Return the truth of a forecast at a lead time, from a cache of recent ones.

        Raises:
            ValueError: If a value is missing inside the mask of the store.
        """
        return self._true(*self._truth.key(forecast_index, position))

    def model(self, field: Array, true: TrueState) -> Values:
        """Return the scores of a forecast state (c, nlat, nlon)."""
        error = self._weighted(field.reshape(self._root.shape), true.field)
        return self._values(error, true, lambda: field)

    def persistence(self, initial: TrueState, true: TrueState) -> Values:
        """Return the scores of a forecast that keeps the anomaly of the initial state.

        Where the reference is constant or absent, this is a forecast that keeps the state.
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
        root = self._root
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
        valid = self._truth.valid
        return np.where(valid, true.field.reshape(valid.shape), np.nan).astype(np.float64)

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
        reference, of_norms = references.of_anomalies(time), references.of_norms(time)
        anomaly = self._weighted(field, 0.0 if reference is None else self._flat(reference)).copy()
        variance, mean = np.vecdot(anomaly, anomaly), np.vecdot(anomaly, self._root)
        missing = ~np.isfinite(variance)
        if missing.any():
            raise ValueError(
                f"{truth.store.path} has no complete {truth.file.channel_names[missing.argmax()]} "
                f"at {truth.store.describe(trajectory, place)}: values are missing inside the "
                "mask, so the store is damaged; make it again"
            )
        size = np.full(len(field), np.nan)
        if of_norms is not None:
            departure = self._weighted(field, self._flat(of_norms))
            size = np.vecdot(departure, departure)
        return TrueState(time, field, anomaly, variance, size, _spread(variance, mean))

    def _flat(self, reference: Array) -> Array:
        """Reshape a reference (1, c, ...) to (c, p), or to (c, 1) if it is constant in space."""
        return reference.reshape(len(self._root), -1)

    def _weighted(self, x: Array, y: Array | float) -> Array:
        """Return (x − y)·√w in float64, 0 at points to leave out, in a buffer that is reused."""
        difference = np.subtract(x, y, out=self._error, dtype=np.float64)
        difference *= self._root
        if self._outside is not None:
            np.copyto(difference, 0.0, where=self._outside)
        return difference


def _spread(square: Array, mean: Array) -> Array:
    """Return the variance from mean square and mean; at least 0 in spite of rounding."""
    return np.maximum(square - mean**2, 0.0)
