"""Scores from a few area-weighted means over the error and the anomaly of the truth.

`metrics` has the definition of each score. Most of them follow from means over the same two fields:
the error e, and the anomaly b of the truth. The anomaly of the forecast is e + b, so that its mean
square, for example, is that of e and of b and twice the mean of their product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

_NOTHING = 1e-13  # of the mean squares that cancel: smaller results are their rounding errors


@dataclass(frozen=True)
class Means:
    """Area-weighted means over the points that count, each (component, ..., channel, region).

    A channel has one component, a vector several.

    Attributes:
        error: Mean of the error.
        absolute_error: Mean of its absolute value.
        squared_error: Mean of its square.
        product: Mean of the product of the error and the anomaly of the truth.
        true_mean: Mean of the anomaly of the truth.
        true_variance: Mean of its square.
        true_size: Mean square of the departure of the truth from the reference of norms.
    """

    error: Array
    absolute_error: Array
    squared_error: Array
    product: Array
    true_mean: Array
    true_variance: Array
    true_size: Array

    @property
    def variance(self) -> Array:
        """Mean square of the anomaly of the forecast."""
        total = self.squared_error + self.true_variance
        found = total + 2 * self.product
        return np.where(found < _NOTHING * total, 0.0, found)

    @property
    def spread(self) -> Array:
        """Variance over the region of the anomaly of the forecast."""
        return spread(self.variance, self.error + self.true_mean)


def spread(square: Array, mean: Array) -> Array:
    """Return the variance from mean square and mean; at least 0 in spite of rounding."""
    return np.maximum(square - mean**2, 0.0)


def _correlation(means: Means) -> Array:
    norm = np.sqrt(means.variance.sum(0) * means.true_variance.sum(0))
    both = (means.product + means.true_variance).sum(0)
    return np.where(norm == 0, np.nan, both / norm)


def _of_scalars(values: Array) -> Array:
    """Return the values of channels; NaN for vectors, of which the score is not defined."""
    return values[0] if len(values) == 1 else np.full(values.shape[1:], np.nan)


FROM_MEANS: dict[str, Callable[[Means], Array]] = {
    "rmse": lambda means: means.squared_error.sum(0),
    "mae": lambda means: _of_scalars(means.absolute_error),
    "bias": lambda means: _of_scalars(means.error),
    "acc": _correlation,
    "relative_l2": lambda means: np.sqrt(means.squared_error.sum(0) / means.true_size.sum(0)),
    "activity": lambda means: means.spread.sum(0),
}
"""Fast forms of scores. A score without one is computed by its `per_field`, for channels alone."""
