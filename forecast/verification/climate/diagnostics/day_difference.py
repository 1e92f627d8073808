"""Storm tracks by the 24-hour difference filter."""

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


class DayDifference(Diagnostic):
    """Half of the mean squared 24-hour difference: a high-pass filtered variance.

    The filter multiplies the variance at frequency f by 1 − cos(2πf · 24 h) (Wallace, Lim and
    Blackmon 1988): 2 at a period of 2 days, 1 at 4 days, 0.02 at 30 days.
    """

    statistics = (
        Statistic(
            "variance_24h",
            "Half of the mean squared 24-hour difference, units of the variable squared",
            ("channel", "latitude", "longitude"),
            units="",
            logarithmic=True,
        ),
    )
    distances = (Distance("variance_24h", "rms log-ratio of the variance of 24-hour differences"),)

    def __init__(self, setting: Setting, n_groups: int) -> None:
        """Start with no states."""
        super().__init__(setting, n_groups)
        self._lag = _lag(setting)
        self._means = GroupMeans(n_groups, setting.valid.shape)
        self._before: Array = np.empty((0, *setting.valid.shape))

    @classmethod
    def obstacle(cls, setting: Setting) -> str:
        """Return the reason why the diagnostic is left out."""
        lag = _lag(setting)
        if lag == 0:
            return f"24 hours are not a whole number of intervals of {setting.interval}"
        if setting.longest <= lag:
            return "no run is longer than 24 hours"
        return ""

    def update(self, block: Block) -> None:
        """Take the states of a block."""
        before = self._before[:0] if block.first else self._before
        states = np.concatenate([before, block.fields])
        self._before = states[-self._lag :].copy()
        if len(states) <= self._lag:
            return
        difference = states[self._lag :] - states[: -self._lag]
        missing = np.isnan(difference) & self.setting.valid
        count = len(difference) - (missing.sum(0) if missing.any() else np.zeros((1, 1, 1)))
        difference = np.nan_to_num(difference)
        squares = np.einsum("kchw,kchw->chw", difference, difference)
        self._means.add(block.group, squares / 2, count)

    def result(self, groups: Groups) -> Result:
        """Return the statistics over some groups."""
        return {"variance_24h": np.where(self.setting.valid, self._means.mean(groups), np.nan)}

    def distance(self, a: Result, b: Result) -> Result:
        """Return the distances of two results."""
        name = "variance_24h"
        return {name: self.area_rms(log_ratio(a[name], b[name]))}


def _lag(setting: Setting) -> int:
    """Return the number of intervals in 24 hours; 0 if it is not whole."""
    seconds = setting.interval.seconds
    return 86400 // seconds if seconds and 86400 % seconds == 0 else 0
