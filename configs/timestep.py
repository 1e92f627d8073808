"""Interval of one model step, in seconds or in calendar months."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.datetime64]

_SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_ONE_SECOND: Final = np.timedelta64(1, "s")


@dataclass(frozen=True)
class TimeStep:
    """Interval between valid times; months follow the calendar.

    Attributes:
        count: Number of units, at least 1.
        unit: "s", "min", "h", "d" or "mo" (calendar month).
    """

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> TimeStep:
        """Return the interval of a text such as "1h", "6h", "30min", "1d" or "1mo".

        Raises:
            ValueError: if the text is not a positive whole number and a unit.
        """
        match = re.fullmatch(r"(\d+)\s*(s|min|h|d|mo)", str(text).strip())
        if match is None or int(match[1]) < 1:
            raise ValueError(
                f"time step {text!r} is not a positive whole number and a unit; "
                "write it as 30min, 1h, 6h, 1d or 1mo (calendar month)"
            )
        return cls(int(match[1]), match[2])

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

    def advance(self, times: Times, n: int = 1) -> Times:
        """Return valid times n steps later, or earlier for negative n.

        A day that does not exist in the target month becomes the last day of that month. With days
        29 to 31, advance once from the first time instead of step by step.

        Args:
            times: Valid times, datetime64 of any shape.
            n: Number of steps.

        Returns:
            Valid times, datetime64[ns] of the same shape.
        """
        times = np.asarray(times, dtype="datetime64[ns]")
        if self.seconds is not None:
            return times + np.timedelta64(n * self.seconds, "s")
        month = times.astype("datetime64[M]")
        since_month = times - month.astype("datetime64[ns]")
        target = month + np.timedelta64(n * self.count, "M")
        start = target.astype("datetime64[D]")
        last_day = (target + 1).astype("datetime64[D]") - start - 1
        day = np.minimum(since_month.astype("timedelta64[D]"), last_day)
        hour = since_month - since_month.astype("timedelta64[D]")
        return (start + day).astype("datetime64[ns]") + hour

    def check(self, times: Times) -> None:
        """Raise an error for times that are not one step apart.

        For monthly data only the month matters: files stamp means on any day of the month.

        Args:
            times: Valid times in the order of the data, datetime64, (time,).

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
        if self.is_calendar:
            months = times.astype("datetime64[M]")
            wrong = np.diff(months) != np.timedelta64(self.count, "M")
        else:
            # Times in floating-point days have errors of microseconds.
            off = np.abs(times[1:] - self.advance(times[:-1]))
            wrong = off >= _ONE_SECOND
        if not wrong.any():
            return
        i = int(wrong.argmax())
        here, there = times[i], times[i + 1]
        expected = _show(self.advance(times[i : i + 1])[0])
        if here == there or (self.is_calendar and months[i] == months[i + 1]):
            fault, way_out = "a duplicate", "drop one of the two"
        elif there < here:
            fault, way_out = "a step backwards", "give the files in the order of time"
        else:
            fault = "a gap"
            way_out = "give all files of one period, or set data.time_step to the files' own step"
        raise ValueError(
            f"the time axis has {fault}: {_show(here)} is followed by {_show(there)}, expected "
            f"{expected} for a time step of {self.label}; {way_out}"
        )


def _show(time: np.datetime64) -> str:
    """Return the ISO text of a time to the second, without the time of day at midnight."""
    return str(np.datetime_as_string(time, unit="s")).removesuffix("T00:00:00")
