import cftime
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import FilesData
from configs.time.calendar import Calendar
from configs.time.step import TimeStep
from data_prep.ingest.catalogue.times import common_calendar, decode, find_time, valid_times

MONTH, HOURS = TimeStep.parse("1mo"), TimeStep.parse("6h")


def decoded(values: object, units: str, step: TimeStep, calendar: str = "standard") -> list[str]:
    """Return the times of a coordinate as text in their calendar."""
    time = xr.DataArray(
        np.asarray(values), dims="time", attrs={"units": units, "calendar": calendar}
    )
    times, of_times = valid_times(xr.Dataset({"time": time}), time, step)
    assert of_times == Calendar.parse(calendar)
    return [of_times.label(t).removesuffix(":00:00") for t in times]


def test_hours_and_seconds_are_dates() -> None:
    assert decoded([0, 6], "hours since 1900-01-01 00:00:0.0", HOURS) == [
        "1900-01-01T00",
        "1900-01-01T06",
    ]
    assert decoded([86400.0], "seconds since 1970-01-01", HOURS) == ["1970-01-02T00"]
    nanoseconds = np.array([946684800 * 10**9 + 10**8])
    assert decoded(nanoseconds, "nanoseconds since 1970-01-01", HOURS) == ["2000-01-01T00"]
    assert decoded([17540166], "hours since 1-1-1 00:00:0.0", HOURS) == ["2001-12-20T06"]
    assert decoded([0], "hours since 2000-01-01 00:00 +06:00", HOURS) == ["1999-12-31T18"]


def test_days_in_floating_point_are_whole_seconds() -> None:
    assert decoded([1 / 3, 2 / 3], "days since 2000-02-28", HOURS) == [
        "2000-02-28T08",
        "2000-02-28T16",
    ]


def test_days_of_other_calendars_are_their_dates() -> None:
    values, units = [0.0, 1.0, 2.25], "days since 2000-02-28"
    assert decoded(values, units, HOURS, "noleap") == [
        "2000-02-28T00", "2000-03-01T00", "2000-03-02T06",
    ]  # fmt: skip
    assert decoded(values, units, HOURS, "360_day") == [
        "2000-02-28T00", "2000-02-29T00", "2000-02-30T06",
    ]  # fmt: skip


@given(
    st.sampled_from(["seconds", "minutes", "hours", "days"]),
    st.sampled_from(["standard", "proleptic_gregorian", "noleap", "360_day"]),
    st.sampled_from(["1850-01-01", "1-1-1", "1968-02-28 12:30:00", "2100-03-01T06:00"]),
    st.integers(-(10**9), 10**9),
)
def test_times_are_those_of_cftime(unit: str, calendar: str, origin: str, offset: int) -> None:
    used, units = Calendar.parse(calendar), f"{unit} since {origin}"
    date = cftime.num2date(offset, "seconds since 1970-01-01", calendar)
    raw = np.array([cftime.date2num(date, units, calendar)])
    assert used.label(decode(raw, units, calendar, HOURS)[0]) == date.isoformat()


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
    assert decoded([1, 2], "months since 1960-01-31 06:00", HOURS) == [
        "1960-02-29T06",
        "1960-03-31T06",
    ]
    assert decoded([-1], "years since 1960-01-01", HOURS, "noleap") == ["1959-01-01T00"]
    with pytest.raises(ValueError, match="fractions of a month"):
        decoded([0.5], "months since 1958-1-1", MONTH)


def test_a_fraction_of_a_month_has_a_length_if_all_months_have_30_days() -> None:
    assert decoded([0.5, 1.75], "months since 1960-01-01", HOURS, "360_day") == [
        "1960-01-16T00",
        "1960-02-23T12",
    ]
    assert decoded([0.5, 1.5], "months since 1960-01-01", MONTH, "360") == [
        "1960-01-01T00",
        "1960-02-01T00",
    ]


def test_a_stamp_at_the_end_of_its_month_belongs_to_that_month() -> None:
    # Some models stamp a mean with the end of its interval: 1 February for January.
    time = xr.DataArray(
        [31.0, 59.0], dims="time", attrs={"units": "days since 2001-01-01", "bounds": "time_bnds"}
    )
    bounds = xr.DataArray([[0.0, 31.0], [31.0, 59.0]], dims=("time", "bnds"))
    times, _ = valid_times(xr.Dataset({"time": time, "time_bnds": bounds}), time, MONTH)
    assert times.astype("M8[D]").astype(str).tolist() == ["2001-01-01", "2001-02-01"]


def test_times_have_the_shape_of_their_coordinate() -> None:
    attributes = {"units": "hours since 2001-01-01"}
    both = xr.DataArray([[0, 6, 12], [24, 30, 36]], dims=("time", "step"), attrs=attributes)
    times, _ = valid_times(xr.Dataset(), both, HOURS)
    hours = (times - np.datetime64("2001-01-01")) / np.timedelta64(1, "h")
    np.testing.assert_array_equal(hours, both)
    single = xr.DataArray(6, attrs=attributes)
    assert valid_times(xr.Dataset(), single, HOURS)[0] == np.datetime64("2001-01-01T06")


def test_datetimes_are_taken_to_the_second() -> None:
    raw = np.array(["2001-01-01T05:59:59.9999"], "M8[ns]")
    assert decode(raw, "", "standard", HOURS)[0] == np.datetime64("2001-01-01T06")
    with pytest.raises(ValueError, match="leave out data.calendar"):
        decode(raw, "", "noleap", HOURS)
    with pytest.raises(ValueError, match="missing values"):
        decode(np.array(["NaT"], "M8[ns]"), "", "standard", HOURS)


def described(**settings: object) -> FilesData:
    return FilesData(variables=("t2m",), **settings)


def test_the_configuration_describes_times_that_the_file_does_not() -> None:
    data = xr.Dataset({"t2m": (("t", "x"), np.zeros((3, 2)))}, attrs={"start": "2001-01-01"})
    assert find_time(data, "t2m") is None
    config = described(
        dimensions={"t": "time"}, time_units="days since 2000-02-28", calendar="noleap"
    )
    time = find_time(data, "t2m", config)
    assert time is not None
    times, calendar = valid_times(data, time, HOURS, config)
    assert [calendar.label(t, "D") for t in times] == ["2000-02-28", "2000-03-01", "2000-03-02"]
    # Without units an integer index called `time` counts as times if the configuration has them.
    index = data.rename(t="time").assign_coords(time=[10, 11, 12])
    assert find_time(index, "t2m") is None
    found = find_time(index, "t2m", described(time_units="hours since 2001-01-01"))
    assert found is not None and found.values.tolist() == [10, 11, 12]


def test_the_configuration_replaces_units_and_calendar_of_the_file() -> None:
    time = xr.DataArray([0, 1], dims="time", attrs={"units": "days since 0001-01-01"})
    config = described(time_units="days since 2000-02-28", calendar="360_day")
    times, calendar = valid_times(xr.Dataset(), time, HOURS, config)
    assert [calendar.label(t, "D") for t in times] == ["2000-02-28", "2000-02-29"]


@pytest.mark.parametrize(
    ("units", "calendar", "message"),
    [
        ("days since 1850-01-01", "julian", "'julian' is not supported"),
        ("hour since 0000-01-01 00:00:00", "standard", "cannot be read as dates"),
        ("days since 0001-01-01", "standard", "outside 1680 to 2260"),
        ("days since 0001-01-01", "360_day", "time 0001-01-02T00:00:00 is outside 1680 to 2260"),
        ("fortnights since 2000-01-01", "standard", "cannot be read as dates"),
        ("days since yesterday", "standard", "cannot be read as dates"),
        ("", "standard", "no CF units; give data.time_units, such as 'hours since 1900-01-01'"),
        ("days", "standard", "units 'days', which are no CF units"),
    ],
)
def test_dates_that_are_none_are_refused(units: str, calendar: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(np.array([1.0, 2.0]), units, calendar, HOURS)


def test_a_missing_time_is_refused() -> None:
    with pytest.raises(ValueError, match="missing values"):
        decoded([0.0, np.nan], "hours since 2000-01-01", HOURS)
    with pytest.raises(ValueError, match="outside 1680"):
        decoded([0.0, 1e300], "hours since 2000-01-01", HOURS)


def test_files_have_one_calendar() -> None:
    noleap, standard = Calendar.parse("noleap"), Calendar.parse("gregorian")
    assert common_calendar({"a.nc": noleap, "b.nc": Calendar.parse("365_day")}) == noleap
    assert common_calendar({}) == standard
    with pytest.raises(ValueError, match="b.nc in the calendar proleptic_gregorian; give files"):
        common_calendar({"a.nc": noleap, "b.nc": standard})
