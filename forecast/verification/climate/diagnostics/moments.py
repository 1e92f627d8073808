"""Mean over time, its zonal mean, and variance in time."""

from __future__ import annotations

import numpy as np

from forecast.verification.climate.accumulators import GroupMoments, Groups
from forecast.verification.climate.diagnostic import (
    OF_CHANNEL,
    Diagnostic,
    Distance,
    Result,
    Statistic,
    log_ratio,
)
from forecast.verification.climate.setting import Block, Setting

_MAP = ("channel", "latitude", "longitude")


class Moments(Diagnostic):
    """Mean over time with its standard error, zonal mean, and variance."""

    statistics = (
        Statistic("time_mean", "Mean over time", _MAP, cell_methods="time: mean"),
        Statistic(
            "time_mean_error",
            "Standard error of the mean over time, from the spread of the means of groups of times",
            _MAP,
            sampled=False,
        ),
        Statistic(
            "zonal_mean",
            "Mean over time and longitude",
            _MAP[:2],
            cell_methods="time: longitude: mean",
        ),
        Statistic(
            "variance",
            "Variance in time, units of the variable squared",
            _MAP,
            units="",
            logarithmic=True,
            cell_methods="time: variance",
        ),
    )
    distances = (
        Distance("mean", "rms bias of the mean over time", OF_CHANNEL),
        Distance("zonal_mean", "rms bias of the zonal mean", OF_CHANNEL),
        Distance("variance", "rms log-ratio of the variance in time"),
    )

    def __init__(self, setting: Setting, n_groups: int) -> None:
        """Start with no states."""
        super().__init__(setting, n_groups)
        self._moments = GroupMoments(n_groups, setting.valid.shape)

    def update(self, block: Block) -> None:
        """Take the states of a block."""
        self._moments.add(block.group, block.filled, block.count, block.missing)

    def result(self, groups: Groups) -> Result:
        """Return the statistics over some groups."""
        maps = {
            "time_mean": self._moments.mean(groups),
            "time_mean_error": self._moments.error_of_mean(groups),
            "variance": self._moments.variance(groups),
        }
        maps = {name: np.where(self.setting.valid, x, np.nan) for name, x in maps.items()}
        return {**maps, "zonal_mean": zonal_mean(maps["time_mean"])}

    def distance(self, a: Result, b: Result) -> Result:
        """Return the distances of two results."""
        return {
            "mean": self.area_rms(a["time_mean"] - b["time_mean"]),
            "zonal_mean": self.area_rms((a["zonal_mean"] - b["zonal_mean"])[..., None]),
            "variance": self.area_rms(log_ratio(a["variance"], b["variance"])),
        }


def zonal_mean(x: np.ndarray) -> np.ndarray:
    """Return the mean of finite values over longitude, (..., nlat) of (..., nlat, nlon)."""
    n = np.isfinite(x).sum(-1)
    return np.asarray(np.nansum(x, axis=-1) / np.where(n > 0, n, np.nan))
