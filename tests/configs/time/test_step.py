"""Time step: calendar arithmetic, and messages for wrong time axes."""

import numpy as np
import pytest

from configs.time.step import TimeStep


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30min", 1800), ("6h", 21600), ("1d", 86400), ("1mo", None)]
)
def test_a_label_reads_back_and_has_its_length(text: str, seconds: int | None) -> None:
    step = TimeStep.parse(text)
    assert TimeStep.parse(step.label) == step
    assert step.seconds == seconds
    assert step.hours == (None if seconds is None else seconds / 3600)
    assert step.is_calendar == (seconds is None)


@pytest.mark.parametrize("text", ["", "h", "0h", "-1h", "1.5h", "1 fortnight", "6H"])
def test_what_is_no_time_step_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 30min, 1h, 6h, 1d or 1mo"):
        TimeStep.parse(text)


def test_advancing_forth_and_back_is_the_identity() -> None:
    times = np.array(
        [["1999-12-31T18", "2000-02-28T00"], ["1950-01-16T12", "2000-01-01"]], "M8[ns]"
    )
    for text in ("30min", "6h", "1d", "5mo"):
        step = TimeStep.parse(text)
        there = step.advance(times, 3)
        assert there.dtype == times.dtype
        np.testing.assert_array_equal(step.advance(there, -3), times)
        np.testing.assert_array_equal(
            step.advance(step.advance(step.advance(times))), step.advance(times, 3)
        )


def test_hours_ignore_the_calendar_and_months_follow_it() -> None:
    times = np.array(["2000-02-28T18", "1999-11-30T06", "2000-01-31"], "M8[ns]")
    np.testing.assert_array_equal(
        TimeStep.parse("12h").advance(times),
        np.array(["2000-02-29T06", "1999-11-30T18", "2000-01-31T12"], "M8[ns]"),
    )
    np.testing.assert_array_equal(
        TimeStep.parse("1mo").advance(times),
        np.array(["2000-03-28T18", "1999-12-30T06", "2000-02-29"], "M8[ns]"),
    )
    np.testing.assert_array_equal(
        TimeStep.parse("3mo").advance(times),
        np.array(["2000-05-28T18", "2000-02-29T06", "2000-04-30"], "M8[ns]"),
    )


def test_a_regular_axis_passes() -> None:
    TimeStep.parse("6h").check(np.arange("2000-02-28", "2000-03-02", 6, dtype="M8[h]"))
    TimeStep.parse("1mo").check(np.arange("1950-01", "1952-01", dtype="M8[M]"))
    TimeStep.parse("1d").check(np.array(["2000-01-01"], "M8[D]"))


def test_monthly_means_may_be_stamped_on_any_day() -> None:
    TimeStep.parse("1mo").check(
        np.array(["2001-01-16T12", "2001-02-15", "2001-03-16T12"], "M8[ns]")
    )


def test_rounding_of_stored_days_passes() -> None:
    days = np.arange(20) * 0.25
    times = np.datetime64("1979-01-01", "ns") + (days * 86400e9 + 3e5).astype("m8[ns]")
    TimeStep.parse("6h").check(times)


@pytest.mark.parametrize(
    ("step", "times", "fragments"),
    [
        (
            "6h",
            ["2000-01-01T00", "2000-01-01T06", "2000-01-01T18"],
            ("a gap", "2000-01-01T06:00:00", "2000-01-01T18:00:00", "expected 2000-01-01T12:00:00"),
        ),
        ("6h", ["2000-01-01T06", "2000-01-01T06"], ("a duplicate", "2000-01-01T06:00:00")),
        ("1d", ["2000-01-02", "2000-01-01"], ("a step backwards", "order of time")),
        ("6h", ["2000-01-01T00", "2000-01-01T01"], ("data.time_step",)),
        ("1mo", ["2000-01-01", "2000-03-01"], ("a gap", "expected 2000-02-01")),
        ("1mo", ["2000-01-01", "2000-01-16"], ("a duplicate",)),
        ("1d", ["2000-01-01", "NaT"], ("missing value at index 1",)),
    ],
)
def test_the_first_fault_of_an_axis_is_named(
    step: str, times: list[str], fragments: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError) as caught:
        TimeStep.parse(step).check(np.array(times, "M8[ns]"))
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("step", "of", "expected"),
    [("12h", "6h", 2), ("1d", "24h", 1), ("6h", "12h", None), ("9h", "6h", None), ("3mo", "1mo", 3),
     ("1mo", "1d", None), ("30d", "1mo", None)],
)  # fmt: skip
def test_a_step_is_a_whole_number_of_shorter_ones_or_none(step, of, expected) -> None:
    assert TimeStep.parse(step).multiple_of(TimeStep.parse(of)) == expected
