"""Valid times of files: decoding of units, calendars and monthly stamps."""

from __future__ import annotations

import re
from typing import Any

import cftime
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.timestep import TimeStep

Times = NDArray[np.datetime64]

_STANDARD = frozenset({"standard", "gregorian", "proleptic_gregorian"})
# Range of datetime64[ns], with a margin for a step beyond the ends.
_FIRST, _LAST = np.datetime64("1680-01-01", "s"), np.datetime64("2260-01-01", "s")


def find_time(dataset: xr.Dataset, name: str) -> xr.DataArray | None:
    """Return the undecoded coordinate of the valid times of a variable.

    Args:
        dataset: Data set, opened without decoding times.
        name: Name of the variable.

    Returns:
        Scalar or 1-D array (2-D for a file of several forecasts), or None.
    """
    dims = set(dataset[name].dims)
    keys = [
        str(key)
        for key, array in dataset.variables.items()
        if key != name and set(array.dims) <= dims and _is_time(str(key), array)
    ]
    if not keys:
        return None
    # In GRIB, `time` is the start of the forecast and `valid_time` the time of the fields.
    return dataset[min(keys, key=lambda key: (key != "valid_time", -dataset[key].ndim))]


def valid_times(dataset: xr.Dataset, time: xr.DataArray, step: TimeStep) -> Times:
    """Decode a time coordinate.

    Args:
        dataset: Data set of the coordinate, for its bounds.
        time: Coordinate from `find_time`.
        step: Interval of the data. A monthly stamp becomes the first day of its month.

    Returns:
        Valid times, datetime64[s], (n,).

    Raises:
        ValueError: if the units, the calendar or the dates cannot be used.
    """
    raw = np.atleast_1d(time.values)
    units, calendar = str(time.attrs.get("units", "")), str(time.attrs.get("calendar", "standard"))
    if step.is_calendar:
        bounds = dataset.get(time.attrs.get("bounds", ""))
        if bounds is not None and bounds.shape == (*raw.shape, 2):
            # A stamp at the end of an interval lies in the next month; the middle does not.
            raw = bounds.values.mean(axis=-1)
    elif calendar.lower() not in _STANDARD:
        raise ValueError(
            f"calendar {calendar!r} has other days than the standard calendar; only monthly steps "
            "(time_step=1mo) can be read from it"
        )
    times = _decode(raw, units, calendar.lower())
    outside = (times < _FIRST) | (times > _LAST)
    if outside.any():
        raise ValueError(
            f"time {np.datetime_as_string(times[outside][0], 's')} is outside 1680 to 2260, as in "
            "a climatology without years; give dated files"
        )
    return times.astype("M8[M]").astype("M8[s]") if step.is_calendar else times


def _is_time(name: str, array: xr.Variable) -> bool:
    if array.dtype.kind not in "iufM" or "forecast" in str(array.attrs.get("standard_name", "")):
        return False
    return (
        array.attrs.get("standard_name") == "time"
        or " since " in str(array.attrs.get("units", ""))
        or (array.dtype.kind == "M" and name.lower() in {"time", "valid_time"})
    )


def _decode(raw: NDArray[Any], units: str, calendar: str) -> Times:
    """Return numbers with units, or dates, as datetime64[s]."""
    if raw.dtype.kind == "M":
        return raw.astype("M8[s]")
    if not np.isfinite(raw).all():
        raise ValueError("the time axis has missing values; every record needs a valid time")
    match = re.fullmatch(r"\s*(month|year)s?\s+since\s+(.+?)\s*", units, flags=re.IGNORECASE)
    if match:
        months = raw * (12 if match[1].lower() == "year" else 1)
        if not np.allclose(months, np.round(months), rtol=0, atol=1e-6):
            raise ValueError(f"time in {units!r} holds fractions of a month, which have no length")
        origin = _dates(np.zeros(1), f"days since {match[2]}", calendar)[0]
        whole = origin.astype("M8[M]") + np.round(months).astype(np.int64)
        return whole.astype("M8[s]") + (origin - origin.astype("M8[M]").astype("M8[s]"))
    return _dates(raw, units, calendar)


def _dates(raw: NDArray[Any], units: str, calendar: str) -> Times:
    try:
        dates = cftime.num2date(raw, units, calendar=calendar, only_use_cftime_datetimes=True)
        # Some calendars have 30 February; from those only months are used.
        day = [d.day if calendar in _STANDARD else min(d.day, 28) for d in dates]
        stamps = [f"{d.year:04d}-{d.month:02d}-{k:02d}" for d, k in zip(dates, day, strict=True)]
        days = np.array(stamps, dtype="M8[s]")
        seconds = [
            d.hour * 3600 + d.minute * 60 + d.second + round(d.microsecond / 1e6) for d in dates
        ]
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"time units {units!r} with calendar {calendar!r} cannot be read as dates "
            f"({' '.join(str(error).split())})"
        ) from None
    return days + np.array(seconds, dtype="m8[s]")
