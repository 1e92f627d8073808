"""Calendars of valid times: proleptic Gregorian, without leap days, and of months of 30 days.

Times are numpy datetime64 in every calendar. In the first two they show the date itself. A date of
the 360-day calendar is held at the same fraction of the same month: 30 February 2001 at 00:00 is
28 February at 01:36. Years, months and the order of times are therefore those of datetime64 in
every calendar. Days, hours and differences are those of `Calendar.elapsed`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import cftime
import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.datetime64]
Integers = NDArray[np.int64]

SECOND: Final = 10**9
"""Nanoseconds of a second."""
DAY: Final = 86400 * SECOND
"""Nanoseconds of a day."""
EPOCH: Final = "1970-01-01"

_FIRST_YEAR, _LAST_YEAR = 1678, 2261  # whole years of datetime64[ns]
_PARTS: Final = re.compile(
    r"(\d{4})(?:-(\d\d?)(?:-(\d\d?)(?:[T ](\d\d?)(?::(\d\d)(?::(\d\d)(?:\.\d*)?)?)?)?)?)?Z?"
)


@dataclass(frozen=True)
class Calendar:
    """Proleptic Gregorian calendar, and the interface of all calendars.

    Attributes:
        name: Name by the CF conventions.
    """

    name: ClassVar[str] = "proleptic_gregorian"

    @staticmethod
    def parse(name: str) -> Calendar:
        """Return the calendar of a CF name.

        Raises:
            ValueError: if the name is not one of a calendar that is supported.
        """
        found = _CALENDARS.get(str(name).strip().lower())
        if found is None:
            raise ValueError(
                f"calendar {name!r} is not supported; expected one of {', '.join(_CALENDARS)}"
            )
        return found

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    # --- what a calendar defines ------------------------------------------------------------------

    def elapsed(self, times: Times | np.datetime64) -> Integers:
        """Return the time since 1970-01-01 in days and hours of the calendar, ns."""
        return _nanoseconds(times)

    def times(self, elapsed: Integers) -> Times:
        """Return the times of `elapsed`, datetime64[ns]."""
        return np.asarray(elapsed, dtype=np.int64).astype("M8[ns]")

    def month_start(self, month: Integers) -> Integers:
        """Return the days from 1970-01-01 to the first of a month, counted from January 1970."""
        return np.asarray(month).astype("M8[M]").astype("M8[D]").astype(np.int64)

    # --- what follows -----------------------------------------------------------------------------

    def date(self, time: np.datetime64) -> tuple[int, int, int, int, int, int]:
        """Return year, month, day, hour, minute and second of a time."""
        month, since = int(_month(time)), int(self._since_month(time))
        minute, second = divmod(since % DAY // SECOND, 60)
        return (1970 + month // 12, month % 12 + 1, since // DAY + 1, *divmod(minute, 60), second)

    def label(self, time: np.datetime64, unit: str = "s") -> str:
        """Return the ISO text of a time, to the month "M", day "D", minute "m" or second "s"."""
        year, month, *rest = self.date(time)
        day, *clock = (f"{part:02d}" for part in rest)
        length = {"M": 7, "D": 10, "m": 16, "s": 19}[unit]
        return f"{year:04d}-{month:02d}-{day}T{':'.join(clock)}"[:length]

    def period(self, text: str) -> tuple[np.datetime64, np.datetime64]:
        """Return the first time of a date, and the first time after it.

        Args:
            text: Year, month, day, hour, minute or second: 1950, 1950-07, 1950-07-01,
                1950-07-01T06, ... A date beyond the range of datetime64[ns] becomes its end.

        Raises:
            ValueError: if the text is not a date of the calendar.
        """
        match = _PARTS.fullmatch(str(text).strip())
        given = [int(part) for part in match.groups() if part] if match else []
        year, month, day, hour, minute, second = (*given, *(1970, 1, 1, 0, 0, 0)[len(given) :])
        first = np.array(12 * (min(max(year, _FIRST_YEAR), _LAST_YEAR) - 1970) + month - 1)
        n_days = self.month_start(first + 1) - self.month_start(first)
        exists = 1 <= month <= 12 and 1 <= day <= n_days and hour < 24 and max(minute, second) < 60
        if not (given and exists):
            raise ValueError(
                f"{text!r} is not a date of the calendar {self}; write it as 1950, 1950-07, "
                "1950-07-01 or 1950-07-01T06:00"
            )
        clock = (hour * 60 + minute) * 60 + second
        start = (self.month_start(first) + day - 1) * DAY + clock * SECOND
        if len(given) < 3:  # a year or a month
            end = self.month_start(first + (12, 1)[len(given) - 1]) * DAY
        else:
            end = start + (DAY, 3600 * SECOND, 60 * SECOND, SECOND)[len(given) - 3]
        first_time, after = self.times(np.array([start, end]))
        return first_time, after

    def time_of_day(self, times: Times) -> Integers:
        """Return the time since midnight, ns."""
        return self.elapsed(times) % DAY

    def day_of_year(self, times: Times) -> Integers:
        """Return the number of whole days since 1 January."""
        year = np.asarray(times).astype("M8[Y]").astype(np.int64)
        return self.elapsed(times) // DAY - self.month_start(12 * year)

    def year_fraction(self, times: Times) -> NDArray[np.float64]:
        """Return the fraction of the year that has passed, from 0 to 1."""
        year = np.asarray(times).astype("M8[Y]").astype(np.int64)
        start, end = self.month_start(12 * year), self.month_start(12 * (year + 1))
        return np.asarray((self.elapsed(times) - start * DAY) / ((end - start) * DAY))

    def month_fraction(self, times: Times) -> NDArray[np.float64]:
        """Return the fraction of the month that has passed, from 0 to 1."""
        month = _month(times)
        length = self.month_start(month + 1) - self.month_start(month)
        return np.asarray(self._since_month(times) / (length * DAY))

    def to_cftime(self, times: Times) -> NDArray[Any]:
        """Return dates of cftime, an array of objects of the same shape."""
        times = np.asarray(times)
        dates = [cftime.datetime(*self.date(t), calendar=self.name) for t in times.reshape(-1)]
        return np.array(dates, dtype=object).reshape(times.shape)

    def from_dates(self, dates: NDArray[Any]) -> Times:
        """Return the times of decoded CF times: dates of cftime, to the second, or datetime64."""
        if dates.dtype.kind == "M":
            return dates.astype("M8[ns]")
        seconds = cftime.date2num(dates, f"seconds since {EPOCH}", calendar=self.name)
        return self.times(np.round(seconds).astype(np.int64) * SECOND)

    def _since_month(self, times: Times | np.datetime64) -> Integers:
        return np.asarray(self.elapsed(times) - self.month_start(_month(times)) * DAY)


@dataclass(frozen=True)
class _MonthCalendar(Calendar):
    """Calendar whose months have other lengths than those of the proleptic Gregorian one."""

    def elapsed(self, times: Times | np.datetime64) -> Integers:
        """Return the time since 1970-01-01 in days and hours of the calendar, ns."""
        month = _month(times)
        since = _nanoseconds(times) - _nanoseconds(month.astype("M8[M]"))
        return self.month_start(month) * DAY + self._from_gregorian(since, month)

    def times(self, elapsed: Integers) -> Times:
        """Return the times of `elapsed`, datetime64[ns]."""
        elapsed = np.asarray(elapsed, dtype=np.int64)
        month = self._month_of(elapsed // DAY)
        since = elapsed - self.month_start(month) * DAY
        start = _nanoseconds(month.astype("M8[M]"))
        return (start + self._to_gregorian(since, month)).astype("M8[ns]")

    def _month_of(self, days: Integers) -> Integers:
        """Return the month, counted from January 1970, of days since 1970-01-01."""
        raise NotImplementedError

    def _from_gregorian(self, since: Integers, month: Integers) -> Integers:
        """Convert the time since the first of a Gregorian month, ns."""
        return since

    def _to_gregorian(self, since: Integers, month: Integers) -> Integers:
        """Convert to the time since the first of a Gregorian month, ns."""
        return since


@dataclass(frozen=True)
class _NoLeap(_MonthCalendar):
    """Calendar without leap days: times on 29 February do not occur."""

    name: ClassVar[str] = "noleap"

    def month_start(self, month: Integers) -> Integers:
        """Return the days from 1970-01-01 to the first of a month, counted from January 1970."""
        month = np.asarray(month, dtype=np.int64)
        return month // 12 * 365 + _NOLEAP_STARTS[month % 12]

    def _month_of(self, days: Integers) -> Integers:
        in_year = np.searchsorted(_NOLEAP_STARTS, days % 365, side="right") - 1
        return days // 365 * 12 + in_year


@dataclass(frozen=True)
class _Days360(_MonthCalendar):
    """Calendar of twelve months of 30 days; see the module for its times."""

    name: ClassVar[str] = "360_day"

    def month_start(self, month: Integers) -> Integers:
        """Return the days from 1970-01-01 to the first of a month, counted from January 1970."""
        return np.asarray(month, dtype=np.int64) * 30

    def _month_of(self, days: Integers) -> Integers:
        return days // 30

    # A minute becomes 56, 58, 60 or 62 s, so that whole minutes are exact.
    def _from_gregorian(self, since: Integers, month: Integers) -> Integers:
        length = _gregorian_length(month)
        return (since * 30 + length // 2) // length

    def _to_gregorian(self, since: Integers, month: Integers) -> Integers:
        return (since * _gregorian_length(month) + 15) // 30


GREGORIAN: Final = Calendar()
NOLEAP: Final = _NoLeap()
DAYS_360: Final = _Days360()

_CALENDARS: Final[dict[str, Calendar]] = {
    "standard": GREGORIAN,  # differs from the proleptic one before 1582 only
    "gregorian": GREGORIAN,
    "proleptic_gregorian": GREGORIAN,
    "noleap": NOLEAP,
    "365_day": NOLEAP,
    "360_day": DAYS_360,
    "360": DAYS_360,  # in files of the IRI data library
}
_NOLEAP_STARTS: Final = np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30])


def _month(times: Times | np.datetime64) -> Integers:
    """Return the months since January 1970."""
    return np.asarray(times).astype("M8[M]").astype(np.int64)


def _nanoseconds(times: Times | np.datetime64) -> Integers:
    return np.asarray(times).astype("M8[ns]").astype(np.int64)


def _gregorian_length(month: Integers) -> Integers:
    """Return the number of days of a Gregorian month, counted from January 1970."""
    return GREGORIAN.month_start(month + 1) - GREGORIAN.month_start(month)
