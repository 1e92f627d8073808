"""Scores of many states against one truth, with few passes over each.

`metrics` defines the scores, one function each; here they are sums over the same two fields: the
error e and the true anomaly b, both times the root of the area weights w. So ∑ e² is the mean
squared error, and a = e + b is the anomaly of the forecast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.verification.truth import Truth
from sphere_ops.memory import available_memory

_KEPT_BYTES = 512 * 2**20
_KEPT_SHARE = 0.25

Array = NDArray[np.floating[Any]]
Scores = dict[str, Array]
"""What is averaged over the forecasts, each (c,); `rmse` and `activity` are squared."""


@dataclass(frozen=True)
class TrueState:
    """The truth at one time, as scores need it.

    Attributes:
        field: (c, p), the points of a row after the other.
        anomaly: departure from the reference times √w, (c, p).
        variance: mean square of the anomaly, (c,).
        size: mean square of the departure from the reference of `relative_l2`, (c,).
        activity: variance of the anomaly over the sphere, (c,).
    """

    field: Array
    anomaly: Array
    variance: Array
    size: Array
    activity: Array


class Scorer:
    """Scores of states over the points that count."""

    def __init__(self, truth: Truth) -> None:
        """Prepare the weights.

        Raises:
            ValueError: if no point of a channel counts.
        """
        self._truth, valid = truth, truth.valid
        weights = np.where(valid, truth.file.grid.area_weights.numpy(), 0.0).reshape(len(valid), -1)
        self._root = np.sqrt(weights / weights.sum(1, keepdims=True))  # (c, p)
        self._outside = None if valid.all() else ~valid.reshape(self._root.shape)
        self._has_reference = truth.references.kind is not None
        self._error, self._work = np.empty_like(self._root), np.empty_like(self._root)
        kept = min(_KEPT_BYTES, _KEPT_SHARE * available_memory())
        per_state = self._root.nbytes + self._root.size * 4
        keep: Callable[[Any], Any] = lru_cache(max(2, int(kept // per_state)))
        self._true = keep(self._true_state)

    def true(self, forecast_index: int, position: int) -> TrueState:
        """The truth of a forecast at a lead time; the last ones are kept.

        Raises:
            ValueError: if it is missing where the store's mask has values.
        """
        return self._true(*self._truth.key(forecast_index, position))

    def model(self, field: Array, true: TrueState) -> Scores:
        """Scores of a forecast state (c, nlat, nlon)."""
        return self._scores(self._weighted(field.reshape(self._root.shape), true.field), true)

    def persistence(self, initial: TrueState, true: TrueState) -> Scores:
        """Scores of the anomaly of the initial state held, or of the state itself.

        With a reference that does not change in time both are the same.
        """
        return self._scores(np.subtract(initial.anomaly, true.anomaly, out=self._error), true)

    def climatology(self, true: TrueState) -> Scores:
        """Scores of the reference as a forecast."""
        return self._scores(np.negative(true.anomaly, out=self._error), true)

    def _scores(self, error: Array, true: TrueState) -> Scores:
        """Scores from the weighted error (c, p), which is overwritten."""
        root = self._root
        squared, mean = np.vecdot(error, error), np.vecdot(error, root)
        absolute = np.vecdot(np.abs(error, out=self._work), root)
        anomaly = np.add(error, true.anomaly, out=error)
        variance, both = np.vecdot(anomaly, anomaly), np.vecdot(anomaly, true.anomaly)
        norm = np.sqrt(variance * true.variance)
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.where((norm > 0) & self._has_reference, both / norm, np.nan)
            relative = np.sqrt(squared / true.size)
        return {
            "rmse": squared,
            "mae": absolute,
            "bias": mean,
            "acc": correlation,
            "relative_l2": relative,
            "activity": _spread(variance, np.vecdot(anomaly, root)),
        }

    def _true_state(self, trajectory: int, place: int) -> TrueState:
        """Read the truth at a time of the store; see `Truth.key`."""
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
                f"at {truth.store.describe(trajectory, place)} where its mask says so; it is "
                "damaged: make it again"
            )
        size = np.full(len(field), np.nan)
        if of_norms is not None:
            departure = self._weighted(field, self._flat(of_norms))
            size = np.vecdot(departure, departure)
        return TrueState(field, anomaly, variance, size, _spread(variance, mean))

    def _flat(self, reference: Array) -> Array:
        """A reference (1, c, ...) as (c, p), or (c, 1) where it is one value per channel."""
        return reference.reshape(len(self._root), -1)

    def _weighted(self, x: Array, y: Array | float) -> Array:
        """(x − y)·√w in float64, 0 where points do not count, in a buffer."""
        difference = np.subtract(x, y, out=self._error, dtype=np.float64)
        difference *= self._root
        if self._outside is not None:
            np.copyto(difference, 0.0, where=self._outside)
        return difference


def _spread(square: Array, mean: Array) -> Array:
    """Variance from the mean square; rounding does not make it negative."""
    return np.maximum(square - mean**2, 0.0)
