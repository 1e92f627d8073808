"""Periods of valid time over which a forecast is averaged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.time.calendar import DAY, SECOND, Integers, Times
from configs.time.step import TimeStep

WHOLE = "all"
"""Period of a whole forecast."""

_LENGTHS = {"h": 3600 * SECOND, "d": DAY}
_MONTHS = {"mo": 1, "y": 12}


@dataclass(frozen=True, eq=False)
class Periods:
    """Periods of the valid times of forecasts.

    Periods are whole hours, days, calendar months or years of the calendar of the times. The first
    one begins with the hour, day, month or year of the initial time, so that 1mo are calendar
    months, and 10d are ten days from midnight of the first day. A time belongs to the period that
    begins with it. Periods are numbered from each forecast's own first one.

    Attributes:
        label: Length as it was given: "12h", "10d", "1mo", "1y", or "all" for whole forecasts.
        time_step: Interval of one model step.
        init_time: Start of each forecast, datetime64[ns] (n,).
        n_steps: Number of model steps.
    """

    label: str
    time_step: TimeStep
    init_time: Times
    n_steps: int

    def __post_init__(self) -> None:
        """Check the length.

        Raises:
            ValueError: if it is no whole number of hours, days, months or years, or shorter than
                the time step.
        """
        if self.label == WHOLE:
            return
        match = re.fullmatch(r"([1-9]\d*)\s*(h|d|mo|y)", self.label)
        if match is None:
            raise ValueError(
                f"period {self.label!r}; expected a whole number of hours, days, calendar months "
                "or years, such as 12h, 1d, 10d, 1mo or 1y, or all for the whole forecast"
            )
        first, second = self._number(self.init_time[:1], np.arange(2))[0]
        if second - first > 1:
            raise ValueError(
                f"a period of {self.label} is shorter than the time step of the model, "
                f"{self.time_step}; take a longer one"
            )

    def __len__(self) -> int:
        """Largest number of periods of a forecast."""
        return int(self._number(self.init_time, np.array([self.n_steps])).max()) + 1

    def of_steps(self, forecast_indices: Sequence[int]) -> Integers:
        """Return the period of each step of some forecasts, (b, n_steps + 1)."""
        return self._number(self.init_time[list(forecast_indices)], np.arange(self.n_steps + 1))

    def bounds(self) -> Times:
        """Return the beginning of each period and the time after it, (n, periods, 2).

        A whole forecast is bounded by its first and its last valid time.
        """
        if self.label == WHOLE:
            last = self.time_step.advance(self.init_time, self.n_steps)
            return np.stack((self.init_time, last), axis=-1)[:, None]
        calendar, count = self.time_step.calendar, np.arange(len(self) + 1) * self._count
        if self._unit in _MONTHS:
            month = self._first_month(self.init_time)[:, None] + count * _MONTHS[self._unit]
            edges = calendar.times(calendar.month_start(month) * DAY)
        else:
            length = _LENGTHS[self._unit]
            start = calendar.elapsed(self.init_time)[:, None] // length * length
            edges = calendar.times(start + count * length)
        return np.stack((edges[:, :-1], edges[:, 1:]), axis=-1)

    @property
    def _unit(self) -> str:
        return self.label.lstrip("0123456789 ")

    @property
    def _count(self) -> int:
        return int(self.label.removesuffix(self._unit))

    def _first_month(self, times: Times) -> NDArray[np.int64]:
        """Return the month with which the first period begins, counted from January 1970."""
        length = _MONTHS[self._unit]
        return times.astype("M8[M]").astype(np.int64) // length * length

    def _number(self, init_time: Times, steps: NDArray[np.int64]) -> Integers:
        """Return the number of the period of each step, (n, k)."""
        if self.label == WHOLE:
            return np.zeros((len(init_time), len(steps)), dtype=np.int64)
        valid = self.time_step.advance(init_time[:, None], steps)
        if self._unit in _MONTHS:
            month = valid.astype("M8[M]").astype(np.int64) - self._first_month(init_time)[:, None]
            return month // (_MONTHS[self._unit] * self._count)
        calendar, length = self.time_step.calendar, _LENGTHS[self._unit]
        start = calendar.elapsed(init_time)[:, None] // length * length
        return (calendar.elapsed(valid) - start) // (length * self._count)
