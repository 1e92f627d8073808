"""Error of the ensemble mean, spread of the members, and the ratio of both."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from forecast.verification.ensembles.points import Array, checked, mean_over_points


def mean_squared_error(members: ArrayLike, truth: ArrayLike, area_weights: ArrayLike) -> Array:
    """Area mean of the squared error of the ensemble mean, (...), in the unit squared."""
    x, y = checked(members, truth)
    error = x.mean(0, dtype=np.float64) - y
    return mean_over_points(error**2, y, area_weights)


def variance(members: ArrayLike, truth: ArrayLike, area_weights: ArrayLike) -> Array:
    """Area mean of the unbiased variance of the members, (...), in the unit squared.

    The root of its mean over the forecasts is the spread. The truth only says which points count.

    Raises:
        ValueError: If there are fewer than two members.
    """
    x, y = checked(members, truth, 2, "the spread")
    return mean_over_points(variance_at_points(x), y, area_weights)


def variance_at_points(members: ArrayLike) -> Array:
    """Unbiased variance of the members (m, ...) at each point, (...)."""
    return np.asarray(members).var(0, ddof=1, dtype=np.float64)


def spread_skill_ratio(variance: ArrayLike, squared_error: ArrayLike, n_members: int) -> Array:
    """√((m + 1)/m) times the spread over the root mean square error of the ensemble mean.

    Of members drawn from the same distribution as the truth, the squared error of the ensemble mean
    is (m + 1)/m times the variance, so that the ratio is 1 for any number m of members (Fortin et
    al. 2014, J. Hydrometeorol. 15). Below 1 the ensemble is overconfident.

    Args:
        variance: Mean of `variance` over the forecasts.
        squared_error: Mean of `mean_squared_error` over the forecasts.
        n_members: Number of members.

    Returns:
        Ratio; NaN where the error is 0.
    """
    v, e = np.asarray(variance, dtype=np.float64), np.asarray(squared_error, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(e > 0, np.sqrt((n_members + 1) / n_members * v / e), np.nan)
