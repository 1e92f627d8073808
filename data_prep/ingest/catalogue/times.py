"""Valid times of files: decoding of units, calendars and monthly stamps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import cftime
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.schema import FilesData
from configs.time.calendar import DAYS_360, EPOCH, GREGORIAN, SECOND, Calendar, Integers, Times
from configs.time.step import TimeStep

_FIRST, _LAST = "1680", "2260"  # years of datetime64[ns], with a margin for a step beyond the ends

_PER_SECOND: Final = {"nanosecond": 10**9, "microsecond": 10**6, "millisecond": 10**3}
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_MONTHS: Final = {"month": 1, "year": 12}
_ALIASES: Final = {
    "nsec": "nanosecond", "ns": "nanosecond", "microsec": "microsecond", "us": "microsecond",
    "millisec": "millisecond", "msec": "millisecond", "ms": "millisecond", "sec": "second",
    "s": "second", "min": "minute", "hr": "hour", "h": "hour", "d": "day",
}  # fmt: skip
_WAY_OUT: Final = "give data.time_units, such as 'hours since 1900-01-01'"


def find_time(
    dataset: xr.Dataset, name: str, config: FilesData | None = None
) -> xr.DataArray | None:
    """Return the undecoded coordinate of the valid times of a variable.

    Args:
        dataset: Data set, opened without decoding times.
        name: Name of the variable.
        config: Configuration, whose `dimensions` and `time_units` describe files that say too
            little. A dimension of times without a coordinate has the times 0, 1, 2, ...

    Returns:
        Scalar or 1-D array (2-D for a file of several forecasts), or None.
    """
    dims = set(dataset[name].dims)
    declared = [dim for dim, kind in config.dimensions.items() if kind == "time"] if config else []
    for dim in declared:
        if dim in dims:
            return dataset[dim]
    named = bool(config and config.time_units)
    keys = [
        str(key)
        for key, array in dataset.variables.items()
        if key != name and set(array.dims) <= dims and _is_time(str(key), array, named)
    ]
    if not keys:
        return None
    # In GRIB, `time` is the start of the forecast and `valid_time` the time of the fields.
    return dataset[min(keys, key=lambda key: (key != "valid_time", -dataset[key].ndim))]


def valid_times(
    dataset: xr.Dataset, time: xr.DataArray, step: TimeStep, config: FilesData | None = None
) -> tuple[Times, Calendar]:
    """Decode a time coordinate.

    Args:
        dataset: Data set of the coordinate, for its bounds.
        time: Coordinate from `find_time`.
        step: Interval of the data. A monthly stamp becomes the first day of its month.
        config: Configuration, whose `time_units` and `calendar` replace those of the file.

    Returns:
        Valid times, datetime64[ns], of the shape of the coordinate; see `configs.time.calendar`.
        Their calendar.

    Raises:
        ValueError: if the units, the calendar or the dates cannot be used.
    """
    raw = np.asarray(time.values)
    units = (config and config.time_units) or str(time.attrs.get("units", ""))
    calendar = (config and config.calendar) or str(time.attrs.get("calendar", "standard"))
    bounds = dataset.get(time.attrs.get("bounds", "")) if step.is_calendar else None
    if bounds is not None and bounds.shape == (*raw.shape, 2):
        # A stamp at the end of an interval lies in the next month; the middle does not.
        first, last = np.moveaxis(bounds.values, -1, 0)
        raw = first + (last - first) / 2
    return decode(raw, units, calendar, step), Calendar.parse(calendar)


def decode(raw: NDArray[Any], units: str, calendar: str, step: TimeStep) -> Times:
    """Return the times of numbers with CF units, to the second.

    Args:
        raw: Numbers, or datetime64, of any shape.
        units: CF units, such as "hours since 1900-01-01".
        calendar: CF name of the calendar.
        step: Interval of the data. A monthly stamp becomes the first day of its month.

    Returns:
        Valid times, datetime64[ns], of the shape of `raw`; see `configs.time.calendar`.

    Raises:
        ValueError: if the units, the calendar or the dates cannot be used.
    """
    raw, used = np.asarray(raw), Calendar.parse(calendar)
    missing = np.isnat(raw) if raw.dtype.kind == "M" else ~np.isfinite(raw)
    if missing.any():
        raise ValueError("the time axis has missing values; every record needs a valid time")
    if raw.dtype.kind == "M":
        if used != GREGORIAN:
            raise ValueError(
                f"times of the type datetime64 are in the calendar {GREGORIAN}, not {used}; leave "
                "out data.calendar"
            )
        seconds = (raw.astype("M8[ms]").astype(np.int64) + 500) // 1000
    else:
        seconds = _seconds(raw, units, used, calendar)
    first, last = (used.elapsed(used.period(year)[0]) // SECOND for year in (_FIRST, _LAST))
    outside = (seconds < first) | (seconds > last)
    if outside.any():
        date = cftime.num2date(seconds[outside].flat[0], f"seconds since {EPOCH}", used.name)
        raise ValueError(
            f"time {date.isoformat()} is outside {_FIRST} to {_LAST}, as in a climatology without "
            "years; give dated files, or other years with data.time_units"
        )
    times = used.times(seconds * SECOND)
    return times.astype("M8[M]").astype("M8[ns]") if step.is_calendar else times


def common_calendar(calendars: Mapping[str, Calendar]) -> Calendar:
    """Return the calendar that all files have in common.

    Args:
        calendars: Calendar of the times of each file, by the name of the file.

    Raises:
        ValueError: if there are two.
    """
    first = next(iter(calendars), None)
    for name, calendar in calendars.items():
        if first is not None and calendar != calendars[first]:
            raise ValueError(
                f"the times of {first} are in the calendar {calendars[first]}, those of {name} in "
                f"the calendar {calendar}; give files of one calendar (data.calendar=NAME corrects "
                "files that name the wrong one)"
            )
    return GREGORIAN if first is None else calendars[first]


def _is_time(name: str, array: xr.Variable, named: bool) -> bool:
    """Return True for a coordinate of valid times; `named`: known by its name alone."""
    if array.dtype.kind not in "iufM" or "forecast" in str(array.attrs.get("standard_name", "")):
        return False
    return (
        array.attrs.get("standard_name") == "time"
        or " since " in str(array.attrs.get("units", ""))
        or ((named or array.dtype.kind == "M") and name.lower() in {"time", "valid_time"})
    )


def _seconds(raw: NDArray[Any], units: str, calendar: Calendar, cf_name: str) -> Integers:
    """Return numbers with CF units as seconds since 1970-01-01, rounded to whole ones."""
    match = re.fullmatch(r"\s*(\w+?)\s+since\s+(.+?)\s*", units, flags=re.IGNORECASE)
    if not match:
        found = f"units {units!r}, which are no" if units else "no"
        raise ValueError(f"the times have {found} CF units; {_WAY_OUT}")
    unit = match[1].lower()
    unit = unit if unit in _ALIASES else unit.removesuffix("s")
    unit = _ALIASES.get(unit, unit)
    try:
        origin = cftime.num2date(0, f"seconds since {match[2]}", _cftime_name(cf_name))
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"time units {units!r} with calendar {cf_name!r} cannot be read as dates "
            f"({' '.join(str(error).split())}); {_WAY_OUT}"
        ) from None
    start = round(float(cftime.date2num(origin, f"seconds since {EPOCH}", _cftime_name(cf_name))))
    exact = raw.astype(np.int64) if raw.dtype.kind in "iu" else raw.astype(np.float64)
    if unit in _SECONDS:
        return start + _whole(exact * _SECONDS[unit])
    if unit in _PER_SECOND:
        return start + _whole(exact / _PER_SECOND[unit])
    if unit not in _MONTHS:
        known = ", ".join(f"{name}s" for name in (*_SECONDS, *_MONTHS))
        raise ValueError(
            f"time units {units!r} cannot be read as dates; expected {known} since a date; "
            f"{_WAY_OUT}"
        )
    months = exact * _MONTHS[unit]
    whole = _whole(np.floor(months + 1e-6))
    fraction = months - whole
    if calendar != DAYS_360 and not np.allclose(fraction, 0, rtol=0, atol=1e-6):
        raise ValueError(f"time in {units!r} holds fractions of a month, which have no length")
    month = 12 * (origin.year - 1970) + origin.month - 1 + whole
    last_day = calendar.month_start(month + 1) - calendar.month_start(month)
    day = calendar.month_start(month) + np.minimum(origin.day, last_day) - 1
    clock = (origin.hour * 60 + origin.minute) * 60 + origin.second
    return day * 86400 + clock + _whole(fraction * 30 * 86400) * (calendar == DAYS_360)


def _whole(numbers: NDArray[Any]) -> Integers:
    """Round to integers; numbers far beyond the range of times become its ends."""
    return np.round(np.clip(numbers, -(10**12), 10**12)).astype(np.int64)


def _cftime_name(name: str) -> str:
    """Return the name of a calendar in cftime; the standard one has other dates before 1582."""
    return "360_day" if name.strip() == "360" else name.strip().lower()
