"""Power by degree of the spherical harmonics."""

from __future__ import annotations

import numpy as np

from forecast.verification import metrics
from forecast.verification.climate.accumulators import GroupMeans, Groups
from forecast.verification.climate.diagnostic import (
    Coordinate,
    Diagnostic,
    Distance,
    Result,
    Statistic,
    log_ratio,
    rms,
)
from forecast.verification.climate.setting import Block, Setting

_FLOOR = 1e-10  # of the largest power: what is below is rounding errors of float32


class DegreeSpectra(Diagnostic):
    """Mean power of each degree, of departures from the reference that are 0 where missing."""

    statistics = (
        Statistic(
            "power",
            "Mean power per degree of departures from the mean state of the training split (of "
            "the fields if the store has none), units of the variable squared",
            ("channel", "degree"),
            units="",
            logarithmic=True,
        ),
    )
    distances = (Distance("power", "rms log-ratio of the power by degree"),)

    def __init__(self, setting: Setting, n_groups: int) -> None:
        """Start with no states."""
        super().__init__(setting, n_groups)
        self._lmax = setting.grid.exact_lmax
        self._means = GroupMeans(n_groups, (len(setting.channels), self._lmax))

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Return the coordinate of the degrees."""
        meaning = {"long_name": "Degree of the spherical harmonics", "units": "1"}
        return {"degree": (("degree",), np.arange(self._lmax), meaning)}

    def update(self, block: Block) -> None:
        """Take the states of a block."""
        power = metrics.spectrum(block.departure, self.setting.grid)
        self._means.add(block.group, power.sum(0), len(block))

    def result(self, groups: Groups) -> Result:
        """Return the statistics over some groups."""
        known = self.setting.known[:, None]
        return {"power": np.where(known, self._means.mean(groups), np.nan)}

    def distance(self, a: Result, b: Result) -> Result:
        """Return the distances of two results."""
        return {"power": rms(log_ratio(a["power"], b["power"], _FLOOR))}
