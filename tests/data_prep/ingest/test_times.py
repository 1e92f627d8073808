import numpy as np
import pytest
import xarray as xr

from configs.timestep import TimeStep
from data_prep.ingest.times import valid_times

MONTH, HOURS = TimeStep.parse("1mo"), TimeStep.parse("6h")


def decoded(values: object, units: str, step: TimeStep, calendar: str = "standard") -> list[str]:
    time = xr.DataArray(
        np.asarray(values), dims="time", attrs={"units": units, "calendar": calendar}
    )
    times = valid_times(xr.Dataset({"time": time}), time, step)
    return [str(t).removesuffix(":00:00") for t in times]


def test_hours_and_seconds_are_dates() -> None:
    assert decoded([0, 6], "hours since 1900-01-01 00:00:0.0", HOURS) == [
        "1900-01-01T00",
        "1900-01-01T06",
    ]
    assert decoded([86400.0], "seconds since 1970-01-01", HOURS) == ["1970-01-02T00"]


def test_days_in_floating_point_are_whole_seconds() -> None:
    assert decoded([1 / 3, 2 / 3], "days since 2000-02-28", HOURS) == [
        "2000-02-28T08",
        "2000-02-28T16",
    ]


@pytest.mark.parametrize("calendar", ["standard", "noleap", "365_day", "360_day"])
def test_monthly_stamps_in_any_calendar_become_the_first_of_the_month(calendar: str) -> None:
    values = [15.5, 45.0, 75.0]
    assert decoded(values, "days since 1850-01-01", MONTH, calendar) == [
        "1850-01-01T00",
        "1850-02-01T00",
        "1850-03-01T00",
    ]


def test_months_since_are_counted_on_the_calendar() -> None:
    assert decoded([0.0, 1.0, 14.0], "months since 1958-1-1 00:00:00", MONTH) == [
        "1958-01-01T00",
        "1958-02-01T00",
        "1959-03-01T00",
    ]
    with pytest.raises(ValueError, match="fractions of a month"):
        decoded([0.5], "months since 1958-1-1", MONTH)


def test_a_stamp_at_the_end_of_its_month_belongs_to_that_month() -> None:
    # Some models stamp a mean with the end of its interval: 1 February for January.
    time = xr.DataArray(
        [31.0, 59.0], dims="time", attrs={"units": "days since 2001-01-01", "bounds": "time_bnds"}
    )
    bounds = xr.DataArray([[0.0, 31.0], [31.0, 59.0]], dims=("time", "bnds"))
    times = valid_times(xr.Dataset({"time": time, "time_bnds": bounds}), time, MONTH)
    assert times.astype("M8[D]").astype(str).tolist() == ["2001-01-01", "2001-02-01"]


@pytest.mark.parametrize(
    ("units", "calendar", "message"),
    [
        ("days since 1850-01-01", "noleap", "only monthly steps"),
        ("hour since 0000-01-01 00:00:00", "standard", "cannot be read as dates"),
        ("days since 0001-01-01", "standard", "outside 1680 to 2260"),
        ("fortnights since 2000-01-01", "standard", "cannot be read as dates"),
    ],
)
def test_dates_that_are_none_are_refused(units: str, calendar: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decoded([1.0, 2.0], units, HOURS, calendar)


def test_a_missing_time_is_refused() -> None:
    with pytest.raises(ValueError, match="missing values"):
        decoded([0.0, np.nan], "hours since 2000-01-01", HOURS)
