"""Interval of one model step, in seconds or in calendar months."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from configs.time.calendar import DAY, GREGORIAN, SECOND, Calendar, Integers, Times

_SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class TimeStep:
    """Interval between valid times in a calendar.

    Attributes:
        count: Number of units, at least 1.
        unit: "s", "min", "h", "d" or "mo" (calendar month).
        calendar: Calendar of the times.
    """

    count: int
    unit: str
    calendar: Calendar = GREGORIAN

    @classmethod
    def parse(cls, text: str, calendar: str = GREGORIAN.name) -> TimeStep:
        """Return the interval of a text such as "1h", "6h", "30min", "1d" or "1mo".

        Args:
            text: Label of the interval.
            calendar: CF name of the calendar of the times.

        Raises:
            ValueError: if the text is not a positive whole number and a unit, or the calendar is
                not supported.
        """
        match = re.fullmatch(r"(\d+)\s*(s|min|h|d|mo)", str(text).strip())
        if match is None or int(match[1]) < 1:
            raise ValueError(
                f"time step {text!r} is not a positive whole number and a unit; "
                "write it as 30min, 1h, 6h, 1d or 1mo (calendar month)"
            )
        return cls(int(match[1]), match[2], Calendar.parse(calendar))

    @property
    def label(self) -> str:
        """Text from which `parse` returns the same interval."""
        return f"{self.count}{self.unit}"

    def __str__(self) -> str:
        """Return the label."""
        return self.label

    @property
    def is_calendar(self) -> bool:
        """True for calendar months, whose length depends on the date."""
        return self.unit == "mo"

    @property
    def seconds(self) -> int | None:
        """Length, s; None for calendar months."""
        return None if self.is_calendar else self.count * _SECONDS[self.unit]

    @property
    def hours(self) -> float | None:
        """Length, h; None for calendar months."""
        return None if self.seconds is None else self.seconds / 3600

    @property
    def months(self) -> int | None:
        """Length in calendar months; None for intervals in seconds."""
        return self.count if self.is_calendar else None

    def multiple_of(self, other: TimeStep) -> int | None:
        """Return the number of steps of `other` in one of this; None if it is no whole number."""
        own, unit = (
            (self.months, other.months) if self.is_calendar else (self.seconds, other.seconds)
        )
        return own // unit if own and unit and own % unit == 0 else None

    def advance(self, times: Times, n: int | Integers = 1) -> Times:
        """Return valid times n steps later, or earlier for negative n.

        A day that does not exist in the target month becomes the last day of that month. With days
        29 to 31, advance once from the first time instead of step by step.

        Args:
            times: Valid times, datetime64 of any shape.
            n: Number of steps, or an array of numbers that broadcasts against the times.

        Returns:
            Valid times, datetime64[ns].
        """
        calendar, times = self.calendar, np.asarray(times, dtype="datetime64[ns]")
        elapsed = calendar.elapsed(times)
        if self.seconds is not None:
            return calendar.times(elapsed + n * self.seconds * SECOND)
        month = times.astype("datetime64[M]").astype(np.int64)
        since = elapsed - calendar.month_start(month) * DAY
        target = month + n * self.count
        start = calendar.month_start(target)
        last_day = calendar.month_start(target + 1) - start - 1
        return calendar.times((start + np.minimum(since // DAY, last_day)) * DAY + since % DAY)

    def steps_since(self, origin: np.datetime64, times: Times) -> NDArray[np.float64]:
        """Return the number of steps from a time to others; of months only the month matters."""
        if self.is_calendar:
            months = times.astype("datetime64[M]") - origin.astype("datetime64[M]")
            return np.asarray(months.astype(np.int64) / self.count)
        assert self.seconds is not None
        elapsed = self.calendar.elapsed(times) - self.calendar.elapsed(origin)
        return np.asarray(elapsed / (self.seconds * SECOND))

    def consecutive(self, times: Times) -> NDArray[np.bool_]:
        """Return True for each time whose successor is one step later, (n - 1,).

        For monthly data only the month matters: files stamp means on any day of the month.

        Args:
            times: Valid times in the order of the data, datetime64, (n,).
        """
        return np.asarray(np.abs(self._intervals(times) - 1) < self._tolerance)

    def check(self, times: Times, *, gaps: bool = False) -> None:
        """Raise an error for times that are not one step apart.

        Args:
            times: Valid times in the order of the data, datetime64, (time,).
            gaps: True to allow longer intervals.

        Raises:
            ValueError: if a time is missing, or for a duplicate, a gap or a step backwards. The
                message names the first one.
        """
        times = np.asarray(times, dtype="datetime64[ns]").reshape(-1)
        if np.isnat(times).any():
            raise ValueError(
                f"the time axis has a missing value at index {int(np.isnat(times).argmax())}; "
                "every record needs a valid time"
            )
        intervals = self._intervals(times)
        wrong = ~self.consecutive(times) & ~(gaps & (intervals > 1))
        if not wrong.any():
            return
        i = int(wrong.argmax())
        here, there = times[i], times[i + 1]
        expected = self.show(self.advance(times[i : i + 1])[0])
        if intervals[i] == 0:
            fault, way_out = "a duplicate", "drop one of the two"
        elif there < here:
            fault, way_out = "a step backwards", "give the files in the order of time"
        else:
            fault = "a gap" if intervals[i] > 1 else "times closer than one step"
            way_out = (
                "give all files of one period, set data.time_step to the files' own step, or allow "
                "missing times with data.times.gaps=true"
            )
        raise ValueError(
            f"the time axis has {fault}: {self.show(here)} is followed by {self.show(there)}, "
            f"expected {expected} for a time step of {self.label}; {way_out}"
        )

    def show(self, time: np.datetime64) -> str:
        """Return the ISO text of a time to the second, without the time of day at midnight."""
        return self.calendar.label(time).removesuffix("T00:00:00")

    def _intervals(self, times: Times) -> NDArray[np.float64]:
        """Return the differences of neighbouring times in steps, (n - 1,)."""
        times = np.asarray(times).reshape(-1)
        return np.diff(self.steps_since(times[0], times)) if len(times) else np.empty(0)

    @property
    def _tolerance(self) -> float:
        """Largest error of an interval, steps; times in float days have errors of microseconds."""
        return 1e-9 if self.seconds is None else 1 / self.seconds
