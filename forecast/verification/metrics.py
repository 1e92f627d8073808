"""Definitions of the verification scores: pure functions of (forecast, truth, area weights).

Fields are (..., nlat, nlon) and give one value each. Area weights are (nlat, 1) and need no
normalisation. Points where the truth is missing (NaN) are left out. A forecast that is missing
where the truth is not makes the score missing. `score_table` says how scores are averaged over the
forecasts; `scoring.scorer` computes the same values with fewer passes over the fields.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import RealSHT, power_spectrum

Array = NDArray[np.floating[Any]]


def spatial_mean(x: ArrayLike, valid: ArrayLike, area_weights: ArrayLike) -> Array:
    """Area-weighted mean over the valid points.

    Args:
        x: Field (..., nlat, nlon).
        valid: Mask, True at points to include, broadcast against x.
        area_weights: Weights of the rows, (nlat, 1).

    Returns:
        Mean (...), in the unit of x; NaN if there is no valid point.
    """
    x = np.asarray(x, dtype=np.float64)
    weights = np.where(np.broadcast_to(valid, x.shape), np.asarray(area_weights), 0.0)
    total = weights.sum((-2, -1))
    weighted = np.where(weights > 0, x * weights, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return weighted.sum((-2, -1)) / total


def squared_error(forecast: ArrayLike, truth: ArrayLike, area_weights: ArrayLike) -> Array:
    """Mean squared error of each field, (...), in the unit squared."""
    return _mean_of(_difference(forecast, truth) ** 2, truth, area_weights)


def absolute_error(forecast: ArrayLike, truth: ArrayLike, area_weights: ArrayLike) -> Array:
    """Mean absolute error of each field, (...)."""
    return _mean_of(np.abs(_difference(forecast, truth)), truth, area_weights)


def mean_error(forecast: ArrayLike, truth: ArrayLike, area_weights: ArrayLike) -> Array:
    """Mean of forecast minus truth of each field, (...)."""
    return _mean_of(_difference(forecast, truth), truth, area_weights)


def anomaly_correlation(
    forecast: ArrayLike, truth: ArrayLike, climatology: ArrayLike, area_weights: ArrayLike
) -> Array:
    """Correlation of the anomalies of each field, (...), without removal of their means.

    This is the definition of WeatherBench. The result is NaN if one of the anomalies is zero.
    """
    f, t = _difference(forecast, climatology), _difference(truth, climatology)
    both = _mean_of(f * t, truth, area_weights)
    norm = np.sqrt(_mean_of(f * f, truth, area_weights) * _mean_of(t * t, truth, area_weights))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norm > 0, both / norm, np.nan)


def relative_error(
    forecast: ArrayLike, truth: ArrayLike, reference: ArrayLike, area_weights: ArrayLike
) -> Array:
    """‖forecast − truth‖ / ‖truth − reference‖ of each field, (...).

    The reference is a forecast without knowledge of the state, and 1 means no better than it.
    A reference of 0 gives the relative L2 norm.
    """
    size = squared_error(reference, truth, area_weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(squared_error(forecast, truth, area_weights) / size)


def anomaly_variance(
    forecast: ArrayLike, truth: ArrayLike, climatology: ArrayLike, area_weights: ArrayLike
) -> Array:
    """Variance over the sphere of the anomaly of each forecast field, (...), in the unit squared.

    The root of its mean over the forecasts is their activity. A forecast that is less active than
    the truth is too smooth; one that is more active is noisy.
    """
    anomaly = _difference(forecast, climatology)
    mean = _mean_of(anomaly, truth, area_weights)
    return _mean_of((anomaly - mean[..., None, None]) ** 2, truth, area_weights)


def skill(score: ArrayLike, baseline: ArrayLike) -> Array:
    """1 − score/baseline of two errors: 1 for a perfect score, 0 for that of the baseline."""
    score, baseline = np.asarray(score, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(baseline > 0, 1 - score / baseline, np.nan)


def spectrum(field: ArrayLike, grid: Grid) -> Array:
    """Power per spherical-harmonic degree; its sum is the area mean of the squared field.

    Args:
        field: Field (..., nlat, nlon) without missing values.
        grid: Grid of the field. Its quadrature is exact for the degrees below `exact_lmax`.

    Returns:
        Power (..., grid.exact_lmax), in the unit squared.
    """
    x = torch.from_numpy(np.array(field, dtype=np.float64))
    return power_spectrum(_analysis(grid)(x)).numpy()


@lru_cache(maxsize=4)
def _analysis(grid: Grid) -> RealSHT:
    """Transform of the last grids, which owns its tables."""
    return RealSHT(grid)


def _difference(x: ArrayLike, y: ArrayLike) -> Array:
    return np.asarray(x, dtype=np.float64) - np.asarray(y, dtype=np.float64)


def _mean_of(x: Array, truth: ArrayLike, area_weights: ArrayLike) -> Array:
    return spatial_mean(x, np.isfinite(truth), area_weights)
