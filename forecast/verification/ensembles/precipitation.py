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

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Points with a dry fraction for which SEEPS is defined, and a wet threshold, (...)."""
        p = self.dry_fraction
        return np.isfinite(self.wet_threshold) & (p > MIN_DRY) & (p < MAX_DRY)

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
    of_categories, known = penalties(truth, climatology)
    return penalty_of(forecast, of_categories, climatology), known


def penalties(
    truth: ArrayLike, climatology: PrecipitationClimatology
) -> tuple[Array, NDArray[np.bool_]]:
    """Penalties of a dry, a light and a heavy forecast at each point, and points that count.

    Args:
        truth: Truth (...).
        climatology: Climatology at the valid times.

    Returns:
        Penalties (3, ...) by the category of the forecast, and a mask (...).
    """
    y = np.asarray(truth, dtype=np.float64)
    usable = climatology.usable
    p = np.where(usable, climatology.dry_fraction, 0.5)
    zero = np.zeros_like(p)
    table = 0.5 * np.stack(  # [category of the forecast, category of the truth]
        [
            np.stack([zero, 1 / (1 - p), 4 / (1 - p)]),
            np.stack([1 / p, zero, 3 / (1 - p)]),
            np.stack([1 / p + 3 / (2 + p), 3 / (2 + p), zero]),
        ]
    )
    of_truth = _category(y, climatology)
    return np.stack([np.choose(of_truth, list(row)) for row in table]), usable & np.isfinite(y)


def penalty_of(
    forecast: ArrayLike, of_categories: Array, climatology: PrecipitationClimatology
) -> Array:
    """Penalty of a forecast at each point, (...); NaN where the forecast is not finite.

    Args:
        forecast: Forecast (...).
        of_categories: Penalties of the three categories, (3, ...); see `penalties`.
        climatology: Climatology at the valid times.
    """
    f = np.asarray(forecast, dtype=np.float64)
    values = np.choose(_category(f, climatology), list(of_categories))
    return np.where(np.isfinite(f), values, np.nan)


def _category(x: Array, climatology: PrecipitationClimatology) -> NDArray[np.int8]:
    """Return 0 for dry, 1 for light and 2 for heavy precipitation."""
    dry = climatology.dry_threshold
    return (x >= dry).astype(np.int8) + ((x >= dry) & (x >= climatology.wet_threshold))


def _quantile(x: Array, q: float) -> Array:
    """Return a quantile over the first dim without missing values; NaN where all are missing."""
    ordered, count = np.sort(x, axis=0), np.isfinite(x).sum(0)  # missing values come last
    position = q * np.maximum(count - 1, 0)
    below = position.astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    low, high = (np.take_along_axis(ordered, i[None], 0)[0] for i in (below, above))
    found: Array = low + (position - below) * (high - low)
    return found
