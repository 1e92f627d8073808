"""Series of global numbers: their means, variability and trends. Base of two diagnostics."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from configs.time.calendar import DAY
from forecast.verification import metrics
from forecast.verification.climate.accumulators import GroupMoments, Groups
from forecast.verification.climate.diagnostic import (
    OF_CHANNEL,
    PER_TIME,
    Diagnostic,
    Distance,
    Result,
    Statistic,
    log_ratio,
)
from forecast.verification.climate.setting import Array, Block, Setting, Times
from forecast.verification.climate.trend import MOST_BINS, BinnedSeries, fit_trend

_ROUNDING = 1e-6
"""Relative size of rounding errors in area means of float32 fields."""


def series_statistics(prefix: str, of: str, dim: str) -> tuple[Statistic, ...]:
    """Return the statistics of series.

    Args:
        prefix: Begin of the names.
        of: Name of the series in descriptions.
        dim: Dim of the quantities.
    """
    return (
        Statistic(f"{prefix}_mean", f"Mean of {of}", (dim,)),
        Statistic(f"{prefix}_std", f"Standard deviation in time of {of}", (dim,)),
        Statistic(
            f"{prefix}_trend",
            f"Linear trend of {of}, mean over runs, units of the quantity per trend_unit",
            (dim,),
            units="",
            sampled=False,
        ),
        Statistic(
            f"{prefix}_trend_error",
            f"Standard error of the trend of {of}, with autocorrelation",
            (dim,),
            units="",
            sampled=False,
        ),
        Statistic(
            f"{prefix}_series",
            f"Series of {of} of the first run, means over bins of time",
            (dim, "time_bin"),
            sampled=False,
        ),
        Statistic(
            f"{prefix}_series_time",
            "Middle of each bin since the start of the run, in trend_unit",
            ("time_bin",),
            units="",
            sampled=False,
        ),
    )


def series_distances(prefix: str, of: str) -> tuple[Distance, ...]:
    """Return the distances of series; see `series_statistics`."""
    return (
        Distance(f"{prefix}_mean", f"difference of the mean over time of {of}", OF_CHANNEL),
        Distance(f"{prefix}_std", f"log-ratio of the standard deviation in time of {of}"),
        Distance(f"{prefix}_trend", f"difference of the trend of {of}", f"{OF_CHANNEL} {PER_TIME}"),
    )


class GlobalSeries(Diagnostic):
    """Series of global numbers.

    Attributes:
        prefix: Begin of the names of statistics and distances.
    """

    prefix = ""

    def __init__(self, setting: Setting, n_groups: int) -> None:
        """Start with no states."""
        super().__init__(setting, n_groups)
        self._n = len(self.quantities)
        self._moments = GroupMoments(n_groups, (self._n,))
        self._start = 0.0
        self._series: BinnedSeries | None = None
        self._first: BinnedSeries | None = None
        self._trends: list[Array] = []  # of the runs that ended, (2, q) each

    @abstractmethod
    def values(self, block: Block) -> Array:
        """Return the numbers of each state, (k, q), NaN where missing."""

    def update(self, block: Block) -> None:
        """Take the states of a block."""
        values = self.values(block)
        missing = np.isnan(values)
        self._moments.add(
            block.group, np.where(missing, 0.0, values), len(values) - missing.sum(0), missing
        )
        time = self._numbers(block.time)
        if block.first:
            if self._series is not None:
                self._trends.append(self._trend(self._series))
            self._series, self._start = BinnedSeries(self._n), time[0]
            self._first = self._first or self._series
        assert self._series is not None
        self._series.add(time - self._start, values)

    def result(self, groups: Groups) -> Result:
        """Return the statistics over some groups; trends need all of them."""
        trend, error, series, series_time = (
            np.full(self._n, np.nan),
            np.full(self._n, np.nan),
            np.full((self._n, MOST_BINS), np.nan),
            np.full(MOST_BINS, np.nan),
        )
        if len(groups) == self.n_groups and self._series is not None:
            trend, error = _mean_trend([*self._trends, self._trend(self._series)])
            assert self._first is not None
            time, values = self._first.bins
            series[:, : len(time)], series_time[: len(time)] = values.T, time
        found = {
            "mean": self._moments.mean(groups),
            "std": np.sqrt(self._moments.variance(groups)),
            "trend": trend,
            "trend_error": error,
            "series": series,
            "series_time": series_time,
        }
        return {f"{self.prefix}_{name}": value for name, value in found.items()}

    def distance(self, a: Result, b: Result) -> Result:
        """Return the distances of two results; quantities that both conserve are at no distance."""
        mean, std, trend = (f"{self.prefix}_{name}" for name in ("mean", "std", "trend"))
        found = {
            mean: np.abs(a[mean] - b[mean]),
            std: np.abs(log_ratio(a[std], b[std])),
            trend: np.abs(a[trend] - b[trend]),
        }
        conserved = self._conserved(a, b)
        return {name: np.where(conserved, 0.0, x) for name, x in found.items()}

    def expected(self, a: Result, b: Result) -> Result:
        """Return the standard error of the difference of two trends."""
        name = f"{self.prefix}_trend"
        error = np.hypot(a[f"{name}_error"], b[f"{name}_error"])
        return {name: np.where(self._conserved(a, b), 0.0, error)}

    def _conserved(self, a: Result, b: Result) -> np.ndarray:
        """Return where both results are constant and equal but for rounding errors, (q,)."""
        mean, std = (f"{self.prefix}_{name}" for name in ("mean", "std"))
        size = _ROUNDING * np.abs(b[mean])
        return np.maximum(np.abs(a[mean] - b[mean]), np.maximum(a[std], b[std])) <= size

    def _trend(self, series: BinnedSeries) -> Array:
        """Return the trend of each quantity and its error, (2, q)."""
        time, values = series.bins
        seasonal = self.setting.seasonal and self.setting.long_term
        fits = [fit_trend(time, v, seasonal=seasonal) for v in values.T]
        return np.array(fits, dtype=np.float64).reshape(-1, 2).T

    def _numbers(self, time: Times) -> Array:
        """Return times as numbers: years, or days."""
        calendar = self.setting.interval.calendar
        if not self.setting.long_term:
            return calendar.elapsed(time) / DAY
        return time.astype("M8[Y]").astype(np.int64) + calendar.year_fraction(time)


def _mean_trend(trends: list[Array]) -> tuple[Array, Array]:
    """Return the mean of trends (2, q) of several runs and its error, weighted by their errors."""
    slope, error = np.stack(trends, 1)  # (run, q) each
    known = np.isfinite(slope) & np.isfinite(error)
    least = np.where(known, error, np.inf).min(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A series without noise has no error, and then counts alone.
        weights = np.where(least > 0, 1 / error**2, (error == 0).astype(np.float64))
        weights = np.where(known, weights, 0.0)
        total = weights.sum(0)
        mean = np.where(known, slope * weights, 0.0).sum(0) / np.where(total > 0, total, np.nan)
        of_mean = np.where(least > 0, 1 / np.sqrt(total), 0.0)
    return mean, np.where(np.isfinite(mean), of_mean, np.nan)


class GlobalMeans(GlobalSeries):
    """Area mean of each channel."""

    prefix = "global"
    statistics = series_statistics("global", "the area mean", "channel")
    distances = series_distances("global", "the area mean")

    def values(self, block: Block) -> Array:
        """Return the area means over the points that have values, (k, c)."""
        if block.missing is None:
            weights = np.where(self.setting.valid, self.setting.area, 0.0)
            weights = weights / weights.sum((-2, -1), keepdims=True)
            return np.einsum("kchw,chw->kc", block.filled, weights)
        return metrics.spatial_mean(block.fields, ~np.isnan(block.fields), self.setting.area)
