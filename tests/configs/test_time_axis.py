"""Choice of the times of a store among those of the files, and its splits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import SplitFractions, SplitRanges, TimesConfig
from configs.splits import assign_splits
from configs.time.calendar import DAY
from configs.time.step import TimeStep
from configs.time_axis import select_times

NAMES = ("standard", "noleap", "360_day")


def axis(step: str, first: str, n: int, calendar: str = "standard") -> np.ndarray:
    """Return n times from the first on."""
    of = TimeStep.parse(step, calendar)
    return of.advance(np.array([of.calendar.period(first)[0]]), np.arange(n))


def chosen(
    times: np.ndarray, step: str, calendar: str = "standard", **settings: object
) -> list[str]:
    """Return the chosen times as text, without the time of day at midnight."""
    of = TimeStep.parse(step, calendar)
    found = select_times(times, TimesConfig.model_validate(settings), of)
    return [of.show(t).removesuffix(":00:00") for t in times[found]]


HOURLY = axis("1h", "2001-01-01", 24 * 60)


@pytest.mark.parametrize("calendar", NAMES)
def test_steps_count_from_midnight_of_the_first_day(calendar: str) -> None:
    times = axis("1h", "2001-02-26T07", 24 * 4, calendar)
    found = chosen(times, "6h", calendar)
    assert found[:3] == ["2001-02-26T12", "2001-02-26T18", "2001-02-27"]
    assert len(found) == 16


def test_steps_count_from_the_first_time_if_none_is_on_a_step_from_midnight() -> None:
    assert chosen(axis("1d", "2001-01-01T12", 3), "1d") == [
        "2001-01-01T12", "2001-01-02T12", "2001-01-03T12",
    ]  # fmt: skip
    assert chosen(axis("3h", "2001-01-01T01:30", 4), "6h") == [
        "2001-01-01T01:30:00",
        "2001-01-01T07:30:00",
    ]


def test_hours_of_the_day() -> None:
    noon = chosen(HOURLY, "1d", hours=[12])
    assert len(noon) == 60 and noon[:2] == ["2001-01-01T12", "2001-01-02T12"]
    assert chosen(HOURLY, "12h", hours=[6, 18])[:2] == ["2001-01-01T06", "2001-01-01T18"]


def test_a_partial_date_means_its_whole_period_in_the_calendar() -> None:
    times = axis("1d", "2001-02-25", 400, "360_day")
    found = chosen(times, "1d", "360_day", first="2001-02-30", last="2001-03")
    assert (found[0], found[-1], len(found)) == ("2001-02-30", "2001-03-30", 31)
    assert len(chosen(HOURLY, "1h", last="2001-01-02T05")) == 30
    assert len(chosen(HOURLY, "6h", first="2001-02", last="2001")) == 29 * 4


def test_months_leave_declared_gaps_and_no_others() -> None:
    times = axis("1d", "2001-01-01", 4 * 365, "noleap")
    winter = chosen(times, "1d", "noleap", months=[12, 1, 2])
    assert len(winter) == 4 * 90
    summers = chosen(axis("1mo", "2001-01-01", 48), "1mo", months=[6, 7, 8])
    assert summers[:4] == ["2001-06-01", "2001-07-01", "2001-08-01", "2002-06-01"]
    with pytest.raises(ValueError, match="2001-01-10 is followed by 2001-01-12"):
        chosen(np.delete(times, 10), "1d", "noleap", months=[12, 1, 2])
    with pytest.raises(ValueError, match="2001-12-31 is followed by 2003-01-01"):
        chosen(np.delete(times, slice(365, 730)), "1d", "noleap", months=[12, 1, 2])


def test_every_third_month() -> None:
    assert chosen(axis("1mo", "2001-02", 7), "3mo") == ["2001-02-01", "2001-05-01", "2001-08-01"]


def test_a_gap_is_refused_unless_it_is_allowed() -> None:
    times = np.delete(HOURLY, [100, 200, 201])
    with pytest.raises(ValueError) as caught:
        chosen(times, "1h")
    for part in (
        "2001-01-05T03:00:00 is followed by 2001-01-05T05:00:00, expected 2001-01-05T04:00:00",
        "1 missing time in the first of 2 gaps",
        "data.times.gaps=true",
    ):
        assert part in str(caught.value)
    assert len(chosen(times, "1h", gaps=True)) == len(times)
    assert len(chosen(times, "6h")) == 240  # the missing ones are not needed
    with pytest.raises(ValueError, match="2001-01-09 is followed by 2001-01-09T12:00:00"):
        chosen(np.delete(HOURLY, 198), "6h")


@pytest.mark.parametrize(
    ("times", "step", "settings", "message"),
    [
        (HOURLY, "30min", {}, "the times of the files are 1h apart; set data.time_step=1h"),
        (axis("1d", "2001-01-01T12", 9), "6h", {}, "1d apart; set data.time_step=1d"),
        (axis("1mo", "2001-01-16", 9), "1d", {}, "1mo apart; set data.time_step=1mo"),
        (axis("1mo", "2001-01-16T12", 9) + np.array([0, -12] * 4 + [0], "m8[h]"), "1d",
         {"gaps": True}, "the times of the files are 1mo apart; set data.time_step=1mo"),
        (axis("3mo", "2001-01-01", 9), "1mo", {}, "3mo apart; set data.time_step=3mo"),
        (HOURLY, "6h", {"hours": [0, 12]}, "12h apart; set data.time_step=12h"),
        (HOURLY, "6h", {"first": "2002"}, "data.times.first=2002 leaves no time of the files, "
         "which run from 2001-01-01 to 2001-03-01T23:00:00"),
        (HOURLY, "6h", {"first": "2001-02", "last": "2001-01"}, "first=2001-02 data.times.last="),
        (HOURLY, "6h", {"first": "2001-02-30"}, "data.times.first: '2001-02-30' is not a date"),
        (HOURLY, "6h", {"months": [3, 4]}, "no time with month 4 in this period, but 1, 2, 3"),
        (HOURLY[::6], "6h", {"hours": [0, 3]}, "no time with hour 3 in this period, but 0, 6, 12"),
        (HOURLY[:0], "6h", {}, "the files hold no times"),
        (np.concatenate([axis("1d", "2001-01-01T12", 9), axis("1d", "2001-01-10", 9)]), "1d",
         {"gaps": True}, "the times from 2001-01-01T12:00:00 to 2001-01-09T12:00:00 are no whole "
         "numbers of time steps of 1d from 2001-01-10; choose times that"),
    ],
)  # fmt: skip
def test_times_that_cannot_be_chosen_are_refused_with_the_way_out(
    times: np.ndarray, step: str, settings: dict, message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        chosen(times, step, **settings)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@given(
    st.sampled_from(NAMES),
    st.sampled_from([("1h", 3), ("6h", 1), ("6h", 4), ("1d", 2), ("1mo", 3)]),
    st.integers(1, 60),
    st.integers(0, 23),
    st.sets(st.integers(0, 59), max_size=8),
)
def test_chosen_times_are_on_steps_and_all_of_those(
    calendar: str, steps: tuple[str, int], n: int, hour: int, lost: set[int]
) -> None:
    text, ratio = steps
    of_files = TimeStep.parse(text, calendar)
    step = TimeStep(of_files.count * ratio, of_files.unit, of_files.calendar)
    every = axis(text, f"2000-02-27T{hour:02d}", n, calendar)
    if ratio > 1:  # two steps without a time, but with others between them, are refused
        lost = set(list(lost)[:1])
    times = np.delete(every, [i for i in lost if i < n])
    if not len(times):
        return
    found = select_times(times, TimesConfig(gaps=True), step)
    position = step.steps_since(times[found][0], times)
    on_step = np.abs(position - position.round()) < 1e-6
    np.testing.assert_array_equal(np.flatnonzero(on_step), found)
    if not step.is_calendar:
        midnight = step.calendar.elapsed(times[:1]) // DAY * DAY
        if (np.abs(step.steps_since(step.calendar.times(midnight)[0], times) % 1) < 1e-6).any():
            assert (step.calendar.elapsed(times[found]) - midnight)[0] % (step.seconds * 10**9) == 0


def test_splits_are_periods_of_the_calendar() -> None:
    step = TimeStep.parse("1d", "360_day")
    time = axis("1d", "2001-02-29", 6, "360_day")
    ranges = SplitRanges.model_validate(
        {
            "train": {"first": "2001-02-30", "last": "2001-03-02"},
            "validation": {"first": "2001-03-03", "last": "2001-03-03"},
            "test": {"first": "2001-03-04", "last": "2001"},
        }
    )
    assert assign_splits(time, ranges, step).tolist() == ["", *["train"] * 3, "validation", "test"]
    wrong = SplitRanges.model_validate(
        ranges.model_dump() | {"train": {"first": "2001-02-31", "last": "2001-03-02"}}
    )
    with pytest.raises(ValueError, match="data.splits.train from '2001-02-31'"):
        assign_splits(time, wrong, step)


def test_a_training_split_takes_two_times_without_a_gap_between_them() -> None:
    step, time = TimeStep.parse("6h"), axis("6h", "2001-01-01", 10)[[0, 2, 4, 6, 8, 9]]
    fractions = SplitFractions(train=0.5, validation=0, test=0.5)
    with pytest.raises(ValueError, match="take two in succession"):
        assign_splits(time, fractions, step)
    assert assign_splits(time, SplitFractions(train=1, validation=0, test=0), step)[0] == "train"
