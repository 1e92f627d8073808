"""Sea surface temperature that varies from year to year: observed patterns, red noise in time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
_DAYS_OF_MONTH = 30.44


@dataclass(frozen=True)
class SeaSurfaceModes:
    """Leading patterns of observed anomalies of the sea surface temperature.

    Attributes:
        patterns: Anomaly of one standard deviation, K, (mode, ...).
        decorrelation: Time in which the autocorrelation falls to 1/e, days, (mode,).
    """

    patterns: Array
    decorrelation: Array

    @classmethod
    def of(cls, anomalies: Array, weights: Array, count: int) -> SeaSurfaceModes:
        """Compute the modes of monthly anomalies: empirical orthogonal functions.

        Args:
            anomalies: Departures from the climatology, K, (month, ...).
            weights: Area weights, 0 where there is no open sea, (...).
            count: Number of modes.
        """
        months = len(anomalies)
        points = weights.ravel() > 0
        root = np.sqrt(weights.ravel()[points])
        field = anomalies.reshape(months, -1)[:, points].astype(np.float64)
        field = field - field.mean(0)
        series, sizes, shapes = np.linalg.svd(field * root, full_matrices=False)
        patterns = np.zeros((count, points.size))
        patterns[:, points] = shapes[:count] / root * (sizes[:count, None] / math.sqrt(months))
        largest = np.take_along_axis(patterns, abs(patterns).argmax(1)[:, None], 1)
        patterns *= np.sign(largest)  # a sign that does not depend on the library
        pc = series[:, :count]
        lag_one = (pc[1:] * pc[:-1]).sum(0) / (pc**2).sum(0)
        decorrelation = -_DAYS_OF_MONTH / np.log(np.clip(lag_one, 0.01, 0.99))
        return cls(patterns.reshape(count, *weights.shape), decorrelation)

    def amplitudes(self, days: int, seed: int) -> Array:
        """Return an amplitude of each mode on each day: red noise of variance 1, (days, mode).

        The first days do not depend on their number.
        """
        found = np.empty((days, len(self.patterns)))
        for mode, time in enumerate(self.decorrelation):
            noise = np.random.default_rng([seed, mode]).standard_normal(days)
            keep = math.exp(-1 / time)
            found[:1, mode] = noise[:1]
            for day in range(1, days):
                found[day, mode] = keep * found[day - 1, mode] + math.sqrt(1 - keep**2) * noise[day]
        return found
