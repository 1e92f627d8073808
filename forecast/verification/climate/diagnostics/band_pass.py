"""Storm tracks by a band-pass filter of 2 to 6 days."""

from __future__ import annotations

import numpy as np

from forecast.verification.climate.accumulators import GroupMeans, Groups
from forecast.verification.climate.diagnostic import (
    Diagnostic,
    Distance,
    Result,
    Statistic,
    log_ratio,
)
from forecast.verification.climate.setting import Array, Block, Setting

_SHORTEST, _LONGEST = 2.0, 6.0  # periods, days
_HALF_WIDTH = 10.0  # days
_FINE = 6 / 24  # days; states at shorter intervals are averaged over this time
_NAME = "variance_2_6d"


class BandPass(Diagnostic):
    """Variance of periods of 2 to 6 days, by a Lanczos filter (Duchon 1979) of 20 days.

    States closer than 6 hours are first averaged over 6 hours, or the largest whole number of
    intervals below. Each output needs the states of 10 days before and after it, which are kept
    meanwhile. The first and last 10 days of a run have no output.
    """

    statistics = (
        Statistic(
            _NAME,
            "Variance of periods of 2 to 6 days, units of the variable squared",
            ("channel", "latitude", "longitude"),
            units="",
            logarithmic=True,
        ),
    )
    distances = (Distance(_NAME, "rms log-ratio of the variance of periods of 2 to 6 days"),)

    def __init__(self, setting: Setting, n_groups: int) -> None:
        """Start with no states."""
        super().__init__(setting, n_groups)
        assert setting.days is not None
        self._averaged = _averaged(setting.days)
        self._weights = band_pass_weights(setting.days * self._averaged)
        self._means = GroupMeans(n_groups, setting.valid.shape)
        self._partial: Array = np.empty((0, *setting.valid.shape))
        self._before = self._partial

    @classmethod
    def obstacle(cls, setting: Setting) -> str:
        """Return the reason why the diagnostic is left out."""
        if setting.days is None or setting.days > _SHORTEST / 2:
            return f"states {setting.interval} apart do not resolve periods of 2 days"
        if setting.longest * setting.days <= 2 * _HALF_WIDTH + setting.days:
            return "no run is longer than 20 days, the length of the filter"
        return ""

    def update(self, block: Block) -> None:
        """Take the states of a block."""
        if block.first:
            self._partial, self._before = self._partial[:0], self._before[:0]
        states = np.concatenate([self._partial, block.fields])
        whole = len(states) // self._averaged * self._averaged
        self._partial = states[whole:].copy()
        averaged = states[:whole].reshape(-1, self._averaged, *states.shape[1:]).mean(1)
        states = np.concatenate([self._before, averaged])
        n_weights = len(self._weights)
        self._before = states[max(0, len(states) - n_weights + 1) :].copy()
        n_outputs = len(states) - n_weights + 1
        if n_outputs < 1:
            return
        filtered = self._filter(np.nan_to_num(states), self._weights, n_outputs)
        gaps = np.isnan(states) & self.setting.valid
        count = np.full((1, 1, 1), n_outputs)
        if gaps.any():
            missing = self._filter(gaps.astype(np.float64), np.ones(n_weights), n_outputs) > 0.5
            filtered[missing] = 0.0
            count = n_outputs - missing.sum(0)
        self._means.add(block.group, np.einsum("kchw,kchw->chw", filtered, filtered), count)

    @staticmethod
    def _filter(states: Array, weights: Array, n_outputs: int) -> Array:
        """Return weighted sums of consecutive states, as one matrix product."""
        matrix = np.zeros((n_outputs, len(states)))
        for i in range(n_outputs):
            matrix[i, i : i + len(weights)] = weights
        return (matrix @ states.reshape(len(states), -1)).reshape(n_outputs, *states.shape[1:])

    def result(self, groups: Groups) -> Result:
        """Return the statistics over some groups."""
        return {_NAME: np.where(self.setting.valid, self._means.mean(groups), np.nan)}

    def distance(self, a: Result, b: Result) -> Result:
        """Return the distances of two results."""
        return {_NAME: self.area_rms(log_ratio(a[_NAME], b[_NAME]))}


def band_pass_weights(days: float) -> Array:
    """Return the symmetric weights of the filter for an interval in days; their sum is 0.

    They are the difference of two low-pass filters with the Lanczos window (Duchon 1979, equations
    9 and 10).
    """
    n = int(_HALF_WIDTH / days)
    k = np.arange(-n, n + 1)
    window = np.sinc(k / n)

    def low_pass(period: float) -> Array:
        frequency = days / period  # cycles per interval
        weights = 2 * frequency * np.sinc(2 * frequency * k) * window
        return np.asarray(weights / weights.sum())

    # Periods below twice the interval do not exist: the filter is then a high-pass filter.
    if _SHORTEST / days <= 2:
        return (k == 0) - low_pass(_LONGEST)
    return low_pass(_SHORTEST) - low_pass(_LONGEST)


def _averaged(days: float) -> int:
    """Return the number of states that are averaged before the filter."""
    return max(1, int(_FINE / days + 1e-9))
