"""Calendars: dates, arithmetic and round trips, for any time of any calendar."""

import pickle
from datetime import timedelta

import cftime
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.time.calendar import DAY, SECOND, Calendar
from configs.time.step import TimeStep

NAMES = ("proleptic_gregorian", "noleap", "360_day")
HALF = 80 * 360 * 86400  # a time span that all calendars hold on both sides of 1970, s

calendars = st.sampled_from([Calendar.parse(name) for name in NAMES])
seconds = st.integers(-HALF, HALF)
steps = st.integers(-500, 500)
fixed = st.sampled_from(["10s", "20min", "1h", "6h", "1d", "5d"])
monthly = st.sampled_from(["1mo", "3mo", "12mo"])


def at(calendar: Calendar, elapsed: int) -> np.ndarray:
    return calendar.times(np.array([elapsed * SECOND]))


@given(calendars, seconds)
def test_a_time_is_the_date_of_cftime(calendar: Calendar, elapsed: int) -> None:
    date = cftime.num2date(elapsed, "seconds since 1970-01-01", calendar=calendar.name)
    time = at(calendar, elapsed)
    assert str(calendar.to_cftime(time)[0]) == str(date)
    assert calendar.label(time[0]) == date.isoformat()
    np.testing.assert_array_equal(calendar.from_dates(np.array([date])), time)
    assert calendar.day_of_year(time)[0] == date.dayofyr - 1
    assert calendar.time_of_day(time)[0] == timedelta(
        hours=date.hour, minutes=date.minute, seconds=date.second
    ) // timedelta(microseconds=1) * 1000  # fmt: skip
    assert (time[0].astype("M8[M]").astype(int) % 12, time[0].astype("M8[Y]").astype(int)) == (
        date.month - 1,
        date.year - 1970,
    )


@given(calendars, seconds)
def test_elapsed_time_comes_back_and_minutes_are_whole_seconds(
    calendar: Calendar, elapsed: int
) -> None:
    time = at(calendar, elapsed)
    assert calendar.elapsed(time)[0] == elapsed * SECOND
    minute = at(calendar, elapsed // 60 * 60)
    assert minute[0] == minute[0].astype("M8[s]")


@given(calendars, seconds, seconds)
def test_the_order_of_times_is_that_of_datetime64(calendar: Calendar, a: int, b: int) -> None:
    assert (at(calendar, a) < at(calendar, b)).all() == (a < b)


@given(calendars, fixed, seconds, steps, steps)
def test_steps_of_fixed_length_add_up_and_come_back(
    calendar: Calendar, text: str, elapsed: int, m: int, n: int
) -> None:
    step, time = TimeStep.parse(text, calendar.name), at(calendar, elapsed)
    there = step.advance(time, m)
    np.testing.assert_array_equal(step.advance(there, n), step.advance(time, m + n))
    np.testing.assert_array_equal(step.advance(there, -m), time)
    assert (there > time)[0] == (m > 0)
    assert step.steps_since(time[0], there)[0] == pytest.approx(m, abs=1e-9)
    date = calendar.to_cftime(time)[0] + timedelta(seconds=m * (step.seconds or 0))
    assert calendar.label(there[0]) == date.isoformat()


@given(calendars, monthly, seconds, st.integers(-40, 40), st.integers(-40, 40))
def test_months_add_up_and_come_back_up_to_the_28th(
    calendar: Calendar, text: str, elapsed: int, m: int, n: int
) -> None:
    step, time = TimeStep.parse(text, calendar.name), at(calendar, elapsed)
    there = step.advance(time, m)
    assert calendar.time_of_day(there)[0] == calendar.time_of_day(time)[0]
    assert (there > time)[0] == (m > 0)
    assert step.steps_since(time[0], there)[0] == m
    if calendar.date(time[0])[2] <= 28:
        np.testing.assert_array_equal(step.advance(there, n), step.advance(time, m + n))
        assert calendar.date(there[0])[2] == calendar.date(time[0])[2]


@given(calendars, seconds, st.integers(0, 5))
def test_the_period_of_a_label_holds_its_time(calendar: Calendar, elapsed: int, last: int) -> None:
    time = at(calendar, elapsed)
    text = calendar.label(time[0])[: (4, 7, 10, 13, 16, 19)[last]]
    start, end = calendar.period(text)
    assert start <= time[0] < end
    assert calendar.label(start).startswith(text)
    assert calendar.label(end - np.timedelta64(1, "s")).startswith(text)


@given(calendars, seconds)
def test_fractions_of_year_and_month_begin_at_zero_and_grow_to_one(
    calendar: Calendar, elapsed: int
) -> None:
    time = at(calendar, elapsed)
    label = calendar.label(time[0])
    for fraction, of in ((calendar.year_fraction, label[:4]), (calendar.month_fraction, label[:7])):
        start, end = calendar.period(of)
        lengths = calendar.elapsed(np.array([start, end]))
        expected = (elapsed * SECOND - lengths[0]) / (lengths[1] - lengths[0])
        assert fraction(time)[0] == pytest.approx(expected, abs=1e-12)
        assert fraction(np.array([start]))[0] == 0


def test_known_dates_of_each_calendar() -> None:
    day = TimeStep.parse("1d")
    for name, following in (
        ("standard", "2000-02-29"),
        ("365_day", "2000-03-01"),
        ("360_day", "2000-02-29"),
    ):
        step = TimeStep.parse("1d", name)
        start = step.calendar.period("2000-02-28")[0]
        assert step.show(step.advance(np.array([start]))[0]) == following
    days_360 = Calendar.parse("360")
    assert str(days_360.period("2001-02-30")[0])[:19] == "2001-02-28T01:36:00"
    assert days_360.label(days_360.period("2001-02-30T12")[0], "m") == "2001-02-30T12:00"
    assert TimeStep.parse("1d", "gregorian") == day != TimeStep.parse("1d", "noleap")
    assert pickle.loads(pickle.dumps(TimeStep.parse("6h", "noleap"))) == TimeStep.parse(
        "6h", "noleap"
    )


@pytest.mark.parametrize(
    "text", ["", "x", "20", "2001-13", "2001-00", "2001-02-30", "2001-01-01T24"]
)
def test_a_text_that_is_no_date_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ValueError, match="not a date of the calendar noleap; write it as 1950"):
        Calendar.parse("noleap").period(text)


def test_a_date_beyond_datetime64_is_the_end_of_its_range() -> None:
    calendar = Calendar.parse("standard")
    assert calendar.period("0001")[0] == np.datetime64("1678-01-01")
    assert calendar.period("9999")[1] == np.datetime64("2262-01-01")


def test_a_calendar_that_is_not_supported_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="'julian' is not supported; expected one of standard"):
        TimeStep.parse("6h", "julian")


@pytest.mark.parametrize("name", NAMES)
def test_a_regular_axis_of_each_calendar_passes_and_a_gap_shows_its_dates(name: str) -> None:
    step = TimeStep.parse("1d", name)
    calendar = step.calendar
    start = int(calendar.elapsed(np.array([calendar.period("2000-02-20")[0]]))[0])
    times = calendar.times(start + np.arange(60) * DAY)
    step.check(times)
    assert step.consecutive(times).all()
    with_gap = np.delete(times, [8, 9])
    assert np.flatnonzero(~step.consecutive(with_gap)).tolist() == [7]
    step.check(with_gap, gaps=True)
    with pytest.raises(ValueError) as caught:
        step.check(with_gap)
    assert f"2000-02-27 is followed by {step.show(times[10])}" in str(caught.value)
    assert "data.times.gaps=true" in str(caught.value)
    with pytest.raises(ValueError, match="closer than one step"):
        TimeStep.parse("2d", name).check(times, gaps=True)
