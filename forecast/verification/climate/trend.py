"""Linear trends of series, with error bars that allow for autocorrelation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

MOST_BINS = 1024
_FEWEST = 8  # points of a trend
_RESOLVED = 1 / 6  # years; larger bins do not resolve the annual cycle


class BinnedSeries:
    """Means of a series over bins of equal numbers of times, with a bounded number of bins.

    Whenever all bins are full, neighbours are merged.
    """

    def __init__(self, n_quantities: int) -> None:
        """Start with no times."""
        self._time = np.zeros(MOST_BINS)
        self._values = np.zeros((MOST_BINS, n_quantities))
        self._count = np.zeros((MOST_BINS, n_quantities))
        self._in_bin, self._bin, self._per_bin = 0, 0, 1

    def add(self, time: Array, values: Array) -> None:
        """Add times (k,) and values (k, q), NaN where missing."""
        for t, value in zip(time, values, strict=True):
            if self._bin == MOST_BINS:
                self._merge()
            known = np.isfinite(value)
            self._time[self._bin] += t / self._per_bin
            self._values[self._bin] += np.where(known, value, 0.0)
            self._count[self._bin] += known
            self._in_bin += 1
            if self._in_bin == self._per_bin:
                self._bin, self._in_bin = self._bin + 1, 0

    @property
    def bins(self) -> tuple[Array, Array]:
        """Mean time (n,) and values (n, q) of the full bins; NaN where a value is missing."""
        time, count = self._time[: self._bin], self._count[: self._bin]
        return time, self._values[: self._bin] / np.where(count > 0, count, np.nan)

    def _merge(self) -> None:
        """Merge each bin with its neighbour."""
        half = MOST_BINS // 2
        self._time = np.concatenate([self._time.reshape(half, 2).mean(1), np.zeros(half)])
        for name in ("_values", "_count"):
            pairs = getattr(self, name).reshape(half, 2, -1).sum(1)
            setattr(self, name, np.concatenate([pairs, np.zeros_like(pairs)]))
        self._bin, self._per_bin = half, 2 * self._per_bin


def fit_trend(time: Array, values: Array, *, seasonal: bool) -> tuple[float, float]:
    """Return the slope of a series, and its standard error.

    The line is fitted by least squares. The error takes n (1 − r) / (1 + r) for the number of
    independent residuals, r being their lag-1 autocorrelation (Santer et al. 2000), corrected for
    its bias by + (1 + 4r)/n (Kendall 1954).

    Args:
        time: Times, increasing (n,).
        values: Values (n,), NaN where missing.
        seasonal: True to fit an annual and a semiannual harmonic, too; times are in years.

    Returns:
        Slope and standard error, NaN if there are too few points.
    """
    known = np.isfinite(values)
    time, values = time[known], values[known]
    n = len(time)
    columns = [np.ones(n), time - time.mean() if n else time]
    if seasonal and n and np.median(np.diff(time)) <= _RESOLVED and np.ptp(time) >= 2:
        for harmonic in (1, 2):
            angle = 2 * np.pi * harmonic * time
            columns += [np.cos(angle), np.sin(angle)]
    if n < max(_FEWEST, 2 * len(columns)):
        return np.nan, np.nan
    design = np.stack(columns, 1)
    coefficients = np.linalg.lstsq(design, values, rcond=None)[0]
    residual = values - design @ coefficients
    square = residual @ residual
    slope = float(coefficients[1])
    if square <= (1e-12 * np.abs(values).max()) ** 2 * n:  # rounding errors of an exact line
        return slope, 0.0
    lag = float(residual[1:] @ residual[:-1] / square)
    lag = min(max(lag + (1 + 4 * lag) / n, 0.0), 0.999)
    independent = n * (1 - lag) / (1 + lag)
    if independent <= 2:
        return slope, np.nan
    others = np.delete(design, 1, axis=1)
    rest = design[:, 1] - others @ np.linalg.lstsq(others, design[:, 1], rcond=None)[0]
    return slope, float(np.sqrt(square / (independent - 2) / (rest @ rest)))
