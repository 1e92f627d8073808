"""The interval of one model step: a number of seconds, or of calendar months."""

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
    """An interval that is added to valid times; months follow the calendar.

    Attributes:
        count: number of units, at least 1.
        unit: "s", "min", "h", "d" or "mo" (calendar month).
    """

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> TimeStep:
        """Read "1h", "6h", "30min", "1d" or "1mo".

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
        """The text that `parse` reads back."""
        return f"{self.count}{self.unit}"

    def __str__(self) -> str:
        """The label."""
        return self.label

    @property
    def is_calendar(self) -> bool:
        """Whether the length depends on the date."""
        return self.unit == "mo"

    @property
    def seconds(self) -> int | None:
        """Length in s; None for calendar months."""
        return None if self.is_calendar else self.count * _SECONDS[self.unit]

    @property
    def hours(self) -> float | None:
        """Length in h; None for calendar months."""
        return None if self.seconds is None else self.seconds / 3600

    @property
    def months(self) -> int | None:
        """Length in calendar months; None where it is a number of seconds."""
        return self.count if self.is_calendar else None

    def advance(self, times: Times, n: int = 1) -> Times:
        """Move valid times by n steps, back where n is negative.

        A day that the month reached does not have becomes its last day, so advance once from
        the first time rather than step by step where days 29 to 31 occur.

        Args:
            times: datetime64 of any shape.
            n: number of steps.

        Returns:
            datetime64[ns] of the same shape.
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
        """Refuse a time axis that this step does not lead along.

        Of monthly data only the month counts: means are stamped on any day of it.

        Args:
            times: datetime64 (time,), in the order of the data.

        Raises:
            ValueError: naming the first missing time, duplicate, gap or step backwards.
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
            # Times that a file holds as floating-point days are off by microseconds.
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
    """ISO text to the second, without a midnight that says nothing."""
    return str(np.datetime_as_string(time, unit="s")).removesuffix("T00:00:00")
