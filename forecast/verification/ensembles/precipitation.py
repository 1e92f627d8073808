"""SEEPS, a score of precipitation in the categories dry, light and heavy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecast.verification.ensembles.points import Array, mean_over_points

DRY_THRESHOLD = 0.25e-3
"""Precipitation below which a day is dry, m: WeatherBench 2's 0.25 mm in 24 h."""

MIN_DRY, MAX_DRY = 0.1, 0.85
"""Range of dry fractions in which SEEPS is defined, as in WeatherBench 2."""


@dataclass(frozen=True)
class PrecipitationClimatology:
    """Climatology of precipitation that SEEPS needs.

    Attributes:
        dry_fraction: Probability p1 of a dry day at each point, of the whole year, (nlat, nlon).
        wet_threshold: Limit between light and heavy precipitation, which a third of the wet days
            exceeds, (..., nlat, nlon), in the unit of the precipitation. A leading dim may be the
            time of the year.
        dry_threshold: Limit between dry and light, in the same unit.
    """

    dry_fraction: Array
    wet_threshold: Array
    dry_threshold: float = DRY_THRESHOLD

    @classmethod
    def of(
        cls, samples: ArrayLike, dry_threshold: float = DRY_THRESHOLD
    ) -> PrecipitationClimatology:
        """Compute the climatology of samples (n, nlat, nlon); missing values are left out."""
        x = np.asarray(samples, dtype=np.float64)
        known = np.isfinite(x)
        with np.errstate(invalid="ignore", divide="ignore"):
            dry = (x < dry_threshold).sum(0) / known.sum(0)
        return cls(dry, _quantile(np.where(x >= dry_threshold, x, np.nan), 2 / 3), dry_threshold)


def seeps(
    forecast: ArrayLike,
    truth: ArrayLike,
    climatology: PrecipitationClimatology,
    area_weights: ArrayLike,
) -> Array:
    """Area mean of the stable equitable error in probability space.

    Rodwell et al. 2010, Q. J. R. Meteorol. Soc. 136, eq. 15, with the conventions of WeatherBench
    2: light and heavy precipitation have climatological frequencies of 2:1, and points with a dry
    fraction outside (0.1, 0.85) are left out. A value equal to a threshold is in the category
    above it.

    Args:
        forecast: Precipitation (..., nlat, nlon), or (..., p), of the period of the climatology.
        truth: Truth.
        climatology: Climatology at the valid times; its fields broadcast against the truth.
        area_weights: Area weights, (nlat, 1) or (p,).

    Returns:
        Score (...): 0 is perfect, and 1 is expected of a forecast without skill.
    """
    values, known = seeps_at_points(forecast, truth, climatology)
    return mean_over_points(values, np.where(known, 0.0, np.nan), area_weights)


def seeps_at_points(
    forecast: ArrayLike, truth: ArrayLike, climatology: PrecipitationClimatology
) -> tuple[Array, NDArray[np.bool_]]:
    """Penalty at each point (...), NaN where the forecast is, and mask of the points that count."""
    f, y = np.asarray(forecast, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    p, usable = climatology.dry_fraction, np.isfinite(climatology.wet_threshold)
    usable = usable & (p > MIN_DRY) & (p < MAX_DRY)
    p = np.where(usable, p, 0.5)
    zero = np.zeros_like(p)
    penalty = 0.5 * np.stack(  # [category of the forecast, category of the truth]
        [
            np.stack([zero, 1 / (1 - p), 4 / (1 - p)]),
            np.stack([1 / p, zero, 3 / (1 - p)]),
            np.stack([1 / p + 3 / (2 + p), 3 / (2 + p), zero]),
        ]
    )
    of_forecast, of_truth = _category(f, climatology), _category(y, climatology)
    values = np.zeros(np.broadcast_shapes(f.shape, y.shape, p.shape))
    for i in range(3):
        for j in range(3):
            values = np.where((of_forecast == i) & (of_truth == j), penalty[i, j], values)
    return np.where(np.isnan(f), np.nan, values), usable & np.isfinite(y)


def _category(x: Array, climatology: PrecipitationClimatology) -> NDArray[np.int8]:
    """Return 0 for dry, 1 for light and 2 for heavy precipitation."""
    dry = climatology.dry_threshold
    return (x >= dry).astype(np.int8) + ((x >= dry) & (x >= climatology.wet_threshold))


def _quantile(x: Array, q: float) -> Array:
    """Return a quantile over the first dim without missing values; NaN where all are missing."""
    found = np.full(x.shape[1:], np.nan)
    some = np.isfinite(x).any(0)
    found[some] = np.nanquantile(x[:, some], q, axis=0)
    return found
