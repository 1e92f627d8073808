"""Scores and comparisons of scores, as pictures read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.layout import CHANNEL, LEAD_TIME
from configs.time.step import TimeStep
from forecast.inference.coordinates import TIME_STEP
from forecast.inference.reading.lead_times import lead_label, lead_position, steps_of
from forecast.inference.reading.open_file import open_output
from forecast.plotting.selection import choose, lead_axis
from forecast.verification.regions import GLOBAL
from forecast.verification.score_table import OF_EACH, RMSE, SPREAD_SKILL, known_scores
from forecast.verification.scores_file import REGION

Array = NDArray[np.floating[Any]]

FORECAST = "forecast"
MOST_CHANNELS = 6
_PARTS = (OF_EACH, "_lower", "_upper", "_difference", "_significant")


class Meaning(NamedTuple):
    """Properties of a score that its picture needs.

    Attributes:
        name: Name in the file.
        long_name: Description.
        dimensionless: True if the unit is 1, False if it is that of the variable.
        perfect: Value for a perfect forecast; None if it is that of the truth.
        best: "lowest" or "highest" if that value is the better one of two; None if neither is.
    """

    name: str
    long_name: str
    dimensionless: bool
    perfect: float | None
    best: str | None


def open_scores(path: Path) -> xr.Dataset:
    """Open a scores file; see `open_output` for the errors."""
    return open_output(path, "scores", "forecast evaluate")


class ScoresFile:
    """Scores file of `forecast evaluate`, in memory without the values of each forecast.

    Attributes:
        path: Path of the file.
        data: Scores.
        channels: Names of the variables.
        regions: Names of the regions.
        time_step: Interval of one model step.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a file.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is no scores file.
        """
        path = Path(path)
        with open_scores(path) as data:
            of_each = [str(name) for name in data.data_vars if str(name).endswith(OF_EACH)]
            self._set(data.drop_vars(of_each), path)
            self.data.load()

    @classmethod
    def of_dataset(cls, data: xr.Dataset, path: Path) -> ScoresFile:
        """Return the file of scores in memory.

        Args:
            data: Scores.
            path: Path that errors name.
        """
        file = cls.__new__(cls)
        file._set(data, path)
        return file

    def _set(self, data: xr.Dataset, path: Path) -> None:
        """Set the attributes."""
        self.path, self.data = path, data
        dims = {REGION, CHANNEL, LEAD_TIME} <= set(self.data.dims)
        if TIME_STEP not in self.data.attrs or not dims:
            raise ValueError(f"{self.path} is not a scores file; make one with `forecast evaluate`")
        self.channels = [str(c) for c in self.data[CHANNEL].values]
        self.regions = [str(r) for r in self.data[REGION].values]
        self.time_step = TimeStep.parse(self.data.attrs[TIME_STEP])

    @property
    def is_comparison(self) -> bool:
        """True if the file compares two forecasts."""
        return f"{RMSE}_difference" in self.data

    @property
    def score_names(self) -> list[str]:
        """Names of the scores over (forecast, region, channel, lead_time)."""
        dims = {FORECAST, REGION, CHANNEL, LEAD_TIME}
        names = [str(n) for n, v in self.data.data_vars.items() if set(v.dims) == dims]
        return [name for name in names if not name.endswith(_PARTS)]

    def meaning(self, name: str) -> Meaning:
        """Return the properties of a score."""
        known = known_scores().get(name)
        if known is not None:
            best = None if name == SPREAD_SKILL.name else known.best
            return Meaning(name, known.long_name, known.dimensionless, known.perfect, best)
        attributes = self.data[name].attrs if name in self.data else {}
        dimensionless = attributes.get("units") == "1"
        return Meaning(name, str(attributes.get("long_name", name)), dimensionless, None, None)

    def region(self, name: str | None) -> str:
        """Return the name of a region, after a check that it is in the file.

        Args:
            name: Name; None for the globe, or the first one.

        Raises:
            ValueError: If the file does not have it.
        """
        if name is None:
            return GLOBAL if GLOBAL in self.regions else self.regions[0]
        return choose("region", self.regions, [name], self.path)[0]

    def chosen_channels(self, names: Sequence[str] | None) -> list[str]:
        """Return the names of variables, or the first six of the file.

        Raises:
            ValueError: If one is not in the file.
        """
        chosen = choose("variable", self.channels, names, self.path)
        return chosen or self.channels[:MOST_CHANNELS]

    def long_name(self, channel: str) -> str:
        """Return the description of a variable."""
        if "channel_long_name" not in self.data.coords:
            return channel
        return str(self.data.channel_long_name.sel({CHANNEL: channel}).item())

    def units(self, channel: str) -> str:
        """Return the units of a variable."""
        if "channel_units" not in self.data.coords:
            return "1"
        return str(self.data.channel_units.sel({CHANNEL: channel}).item())

    @property
    def steps(self) -> NDArray[np.int64]:
        """Model step of each lead time, (k,)."""
        return steps_of(self.data[LEAD_TIME], self.time_step)

    @property
    def scored(self) -> NDArray[np.int64]:
        """Positions of the lead times at which forecasts were scored."""
        if "n_forecasts" not in self.data:
            return np.arange(len(self.steps))
        return np.flatnonzero(self.data.n_forecasts.values > 0)

    def lead(self, positions: NDArray[np.int64]) -> tuple[Array, str]:
        """Return lead times as numbers, and their unit."""
        return lead_axis(self.time_step, self.steps[positions])

    def lead_label(self, position: int) -> str:
        """Return a lead time in words."""
        return lead_label(self.time_step, int(self.steps[position]))

    def lead_positions(self, leads: Sequence[str] | None, most: int = 4) -> list[int]:
        """Return the positions of lead times.

        Args:
            leads: Lead times, as "12h" or "3mo"; if None, some from the second one on.
            most: Largest number of lead times if none are given.

        Raises:
            ValueError: If the file does not have one.
        """
        if leads:
            of = self.steps, self.time_step, self.path
            return [lead_position(lead, *of) for lead in leads]
        known = self.scored[self.steps[self.scored] > 0]
        known = known if len(known) else self.scored
        return [int(p) for p in known[_spread(len(known), most)]]


def _spread(n: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` of n positions, from the first to the last."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))
