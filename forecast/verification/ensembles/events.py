"""Probabilities of events: Brier score and reliability.

An event is a value above a threshold. Its forecast probability is the share of the members above.
Thresholds are (t, ...): one number each, or fields such as quantiles of a climatology, which
broadcast against the truth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecast.verification.ensembles.points import (
    Array,
    checked,
    mean_over_points,
    space,
    weights_of,
)


class Reliability(NamedTuple):
    """Sums for a reliability diagram, each (..., t, bins); means over forecasts keep their meaning.

    Attributes:
        area: Share of the area with a forecast probability in each bin; their sum is 1.
        probability: Area mean of the forecast probability where it is in the bin, else 0.
        observed: Share of the area with a forecast probability in the bin and an event.
    """

    area: Array
    probability: Array
    observed: Array

    @property
    def mean_probability(self) -> Array:
        """Mean forecast probability in each bin; NaN in a bin without forecasts."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.probability / self.area

    @property
    def observed_frequency(self) -> Array:
        """Frequency of the event where it was forecast with the probability of each bin."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.observed / self.area


def brier_score(
    members: ArrayLike,
    truth: ArrayLike,
    thresholds: ArrayLike,
    area_weights: ArrayLike,
    *,
    fair: bool = True,
) -> Array:
    """Area mean of the Brier score of each threshold.

    (i/m − o)² − i (m − i) / (m² (m − 1)), with i members above the threshold and o = 1 where the
    truth is. The second term makes the score fair: in the mean it is that of an infinite ensemble
    (Ferro 2014). Without it this is the score of the probability i/m.

    Args:
        members: Members, (m, ..., nlat, nlon) or (m, ..., p).
        truth: Truth.
        thresholds: Thresholds (t, ...); see the module.
        area_weights: Area weights, (nlat, 1) or (p,).
        fair: False for the score of the probability i/m.

    Returns:
        Score (..., t); 0 is perfect.

    Raises:
        ValueError: If the shapes differ, or the fair score has fewer than two members.
    """
    y = np.asarray(truth)
    scores = [
        mean_over_points(score, np.where(np.isfinite(threshold), y, np.nan), area_weights)
        for threshold, score in zip(
            np.asarray(thresholds),
            brier_at_points(members, truth, thresholds, fair=fair),
            strict=True,
        )
    ]
    return np.stack(scores, axis=-1)


def brier_at_points(
    members: ArrayLike, truth: ArrayLike, thresholds: ArrayLike, *, fair: bool = True
) -> Array:
    """Brier score at each point, (t, ...); see `brier_score`."""
    x, y = checked(members, truth, 2 if fair else 1, "the fair Brier score")
    m, scores = len(x), []
    for threshold in np.asarray(thresholds):
        above, event, known = _events(x, y, threshold)
        score = (above / m - event) ** 2
        if fair:
            score -= above * (m - above) / (m * m * (m - 1.0))
        scores.append(np.where(known, score, np.nan))
    return np.stack(scores)


def reliability(
    members: ArrayLike,
    truth: ArrayLike,
    thresholds: ArrayLike,
    area_weights: ArrayLike,
    *,
    n_bins: int = 10,
) -> Reliability:
    """Share of the area, forecast probability and observed frequency by bins of probability.

    Args:
        members: Members, (m, ..., nlat, nlon) or (m, ..., p).
        truth: Truth.
        thresholds: Thresholds (t, ...); see the module.
        area_weights: Area weights, (nlat, 1) or (p,).
        n_bins: Number of bins of equal width; a probability on an edge is in the upper bin, 1 in
            the last one.

    Returns:
        Sums of each threshold and bin; NaN if a member is missing where the truth is not.

    Raises:
        ValueError: If the shapes differ.
    """
    x, y = checked(members, truth)
    m, dims = len(x), space(np.asarray(area_weights))
    n_points = int(np.prod([y.shape[d] for d in dims]))
    shape = y.shape[: y.ndim - len(dims)]
    sums = []
    for threshold in np.asarray(thresholds):
        above, event, known = _events(x, y, threshold)
        weights = weights_of(np.where(known, 0.0, np.nan), area_weights).reshape(-1, n_points)
        missing = (np.isnan(above).reshape(-1, n_points) & (weights > 0)).any(1)
        count = np.nan_to_num(above).astype(np.int64).reshape(-1, n_points)
        place = np.minimum(count * n_bins // m, n_bins - 1)  # exact, unlike i/m times n_bins
        place += n_bins * np.arange(len(weights))[:, None]
        total = np.where(missing, np.nan, weights.sum(1))[:, None]
        for value in (1.0, count / m, event.reshape(-1, n_points)):
            each = np.bincount(
                place.ravel(), (weights * value).ravel(), n_bins * len(weights)
            ).reshape(-1, n_bins)
            with np.errstate(invalid="ignore", divide="ignore"):
                sums.append((each / total).reshape(*shape, n_bins))
    return Reliability(*(np.stack(sums[i::3], axis=-2) for i in range(3)))


def _events(x: Array, y: Array, threshold: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return the number of members above a threshold, the event, and the points that count.

    The number is NaN where a member is missing. Points without a threshold do not count.
    """
    above = np.where(np.isnan(x).any(0), np.nan, (x > threshold).sum(0))
    known = np.isfinite(y) & np.isfinite(threshold)
    return above, (y > threshold).astype(np.float64), known
