"""Annual cycle: means by month, and amplitude and phase of their first harmonic."""

from __future__ import annotations

import numpy as np

from forecast.verification import metrics
from forecast.verification.climate.accumulators import GroupMeans, Groups
from forecast.verification.climate.diagnostic import (
    OF_CHANNEL,
    Coordinate,
    Diagnostic,
    Distance,
    Result,
    Statistic,
)
from forecast.verification.climate.setting import Array, Block, Setting

_MAP = ("channel", "latitude", "longitude")


class AnnualCycle(Diagnostic):
    """Means by month of the calendar, and the first harmonic of these twelve means."""

    statistics = (
        Statistic("monthly_mean", "Mean by month", ("channel", "month", *_MAP[1:])),
        Statistic("monthly_area_mean", "Area mean by month", ("channel", "month")),
        Statistic("cycle_amplitude", "Amplitude of the first harmonic of the monthly means", _MAP),
        Statistic(
            "cycle_phase",
            "Time of the maximum of the first harmonic, months since the start of the year",
            _MAP,
            units="1",
            sampled=False,
        ),
    )
    distances = (
        Distance("annual_cycle", "rms difference of the monthly means' annual cycle", OF_CHANNEL),
        Distance("annual_harmonic", "rms difference of the first harmonic, a vector", OF_CHANNEL),
    )

    def __init__(self, setting: Setting, n_groups: int) -> None:
        """Start with no states."""
        super().__init__(setting, n_groups)
        self._means = GroupMeans(12 * n_groups, setting.valid.shape)

    @classmethod
    def obstacle(cls, setting: Setting) -> str:
        """Return the reason why the diagnostic is left out."""
        return "" if setting.seasonal else "the states do not cover all months of the year"

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Return the coordinate of the months."""
        return {"month": (("month",), np.arange(1, 13), {"long_name": "Month", "units": "1"})}

    def update(self, block: Block) -> None:
        """Take the states of a block."""
        month = block.time.astype("M8[M]").astype(np.int64) % 12
        for m in np.unique(month):
            of_month = month == m
            count = np.full((1, 1, 1), of_month.sum())
            if block.missing is not None:
                count = count - block.missing[of_month].sum(0)
            self._means.add(12 * block.group + int(m), block.filled[of_month].sum(0), count)

    def result(self, groups: Groups) -> Result:
        """Return the statistics over some groups."""
        months = [self._means.mean(12 * np.asarray(groups) + m) for m in range(12)]
        monthly = np.where(self.setting.valid, np.stack(months), np.nan).swapaxes(0, 1)
        harmonic = first_harmonic(monthly)
        phase = np.angle(harmonic) % (2 * np.pi) * (6 / np.pi)
        area = self.setting.area
        return {
            "monthly_mean": monthly,
            "monthly_area_mean": metrics.spatial_mean(monthly, np.isfinite(monthly), area),
            "cycle_amplitude": np.abs(harmonic),
            "cycle_phase": phase,
        }

    def distance(self, a: Result, b: Result) -> Result:
        """Return the distances of two results."""
        difference = a["monthly_mean"] - b["monthly_mean"]
        cycle = difference - difference.mean(1, keepdims=True)
        harmonic = np.abs(first_harmonic(difference))
        return {
            "annual_cycle": np.sqrt((self.area_rms(cycle) ** 2).mean(1)),
            "annual_harmonic": self.area_rms(harmonic),
        }


def first_harmonic(monthly: Array) -> np.ndarray:
    """Return the complex first harmonic (c, ...) of monthly means (c, 12, ...).

    Its absolute value is the amplitude, its angle the phase of the maximum in the year.
    """
    angle = 2 * np.pi * (np.arange(12) + 0.5) / 12
    return np.einsum("m,cm...->c...", np.exp(1j * angle) / 6, monthly)
