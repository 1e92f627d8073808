"""Running statistics, and periods of valid time in all calendars."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs.time.step import TimeStep
from forecast.inference.output.periods import Periods
from forecast.inference.output.statistics import RunningStatistics

SHAPE = (3, 2, 4, 5)


def noise(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def test_running_statistics_are_those_of_all_fields_at_once():
    fields = 5e4 + 0.5 * noise(40)  # a variance far below the square of the mean
    running = RunningStatistics.empty(SHAPE)
    for field in fields:
        running.add(field, range(3))
    count, found = running.take(range(3))
    assert count.tolist() == [40] * 3
    exact = fields.double()
    expected = (exact.mean(0), exact.std(0, correction=0), exact.amin(0), exact.amax(0))
    for i, (values, tolerance) in enumerate(zip(expected, (1e-7, 1e-7, 0, 0), strict=True)):
        torch.testing.assert_close(found[:, i], values.float(), rtol=tolerance, atol=0)


def test_samples_are_counted_and_taken_apart():
    fields, running = noise(6), RunningStatistics.empty(SHAPE)
    for k, field in enumerate(fields):
        samples = [0, 2] if k < 4 else [1, 2]
        running.add(field[samples], samples)
    count, found = running.take([0, 1])
    assert count.tolist() == [4, 2]
    torch.testing.assert_close(found[0, 0], fields[:4, 0].mean(0))
    torch.testing.assert_close(found[1, 2], fields[4:, 1].amin(0))
    assert running.count.tolist() == [0, 0, 6]
    count, found = running.take([0])
    assert count.tolist() == [0]
    assert found.isnan().all()
    torch.testing.assert_close(running.take([2])[1][0, 3], fields[:, 2].amax(0))


def test_a_value_that_is_missing_once_is_missing_in_all_statistics():
    fields, running = noise(3), RunningStatistics.empty(SHAPE)
    fields[1, 0, 1, 2, 3] = torch.nan
    for field in fields:
        running.add(field, range(3))
    _, found = running.take(range(3))
    assert found[0, :, 1, 2, 3].isnan().all()
    assert found.isnan().sum() == 4


def test_statistics_go_on_from_their_saved_tensors():
    fields, whole = noise(8), RunningStatistics.empty(SHAPE)
    first = RunningStatistics.empty(SHAPE)
    for field in fields:
        whole.add(field, range(3))
    for field in fields[:5]:
        first.add(field, range(3))
    saved = {name: tensor.clone() for name, tensor in first.tensors().items()}
    second = RunningStatistics.from_tensors(saved)
    for field in fields[5:]:
        second.add(field, range(3))
    for ours, expected in zip(second.take(range(3)), whole.take(range(3)), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)


def periods(label: str, step: str, starts: list[str], n: int, calendar: str = "standard"):
    time_step = TimeStep.parse(step, calendar)
    times = np.array([time_step.calendar.period(start)[0] for start in starts], dtype="M8[ns]")
    return Periods(label, time_step, times, n)


def lengths(found: Periods, forecast_index: int = 0) -> list[int]:
    return np.bincount(found.of_steps([forecast_index])[0]).tolist()


@pytest.mark.parametrize(
    ("calendar", "days"),
    [("standard", [31, 29, 31]), ("noleap", [31, 28, 31]), ("360_day", [30, 30, 30])],
)
def test_months_are_those_of_the_calendar(calendar, days):
    found = periods("1mo", "12h", ["2000-01-01"], 2 * sum(days) - 1, calendar)
    assert lengths(found) == [2 * n for n in days]
    assert len(found) == 3
    of = found.time_step.calendar
    assert [of.label(t, "D") for t in found.bounds()[0, 1]] == ["2000-02-01", "2000-03-01"]


def test_periods_begin_with_the_unit_of_the_start():
    assert lengths(periods("1d", "6h", ["2001-01-01T12"], 8)) == [2, 4, 3]
    assert lengths(periods("10d", "1d", ["2001-01-05"], 24)) == [10, 10, 5]
    assert lengths(periods("1y", "1mo", ["2001-03"], 26)) == [10, 12, 5]
    assert lengths(periods("3mo", "1mo", ["2001-03"], 7)) == [3, 3, 2]
    assert lengths(periods("12h", "6h", ["2001-01-01T06"], 3)) == [1 + 1, 2]
    assert lengths(periods("all", "6h", ["2001-01-01T06"], 7)) == [8]


def test_each_forecast_counts_its_own_periods():
    found = periods("1mo", "1d", ["2001-01-30", "2001-03-01"], 10)
    assert lengths(found, 0) == [2, 9]
    assert lengths(found, 1) == [11]
    assert len(found) == 2
    bounds = found.bounds().astype("M8[D]").astype(str).tolist()
    assert bounds[0] == [["2001-01-01", "2001-02-01"], ["2001-02-01", "2001-03-01"]]
    assert bounds[1][0] == ["2001-03-01", "2001-04-01"]


def test_a_step_lies_in_the_bounds_of_its_period():
    for calendar in ("standard", "noleap", "360_day"):
        for label in ("5d", "1mo", "2mo", "1y"):
            found = periods(label, "1d", ["2001-01-30", "2004-02-10"], 400, calendar)
            valid = found.time_step.advance(found.init_time[:, None], np.arange(401))
            number = found.of_steps([0, 1])
            low, high = np.moveaxis(found.bounds()[np.arange(2)[:, None], number], -1, 0)
            assert ((low <= valid) & (valid < high)).all(), (calendar, label)


def test_the_whole_forecast_is_bounded_by_its_times():
    found = periods("all", "6h", ["2001-01-01"], 8)
    assert found.bounds().astype("M8[h]").astype(str).tolist() == [
        [["2001-01-01T00", "2001-01-03T00"]]
    ]


@pytest.mark.parametrize("label", ["1week", "0d", "d", "1", "-1d", "1.5d"])
def test_an_unknown_period_is_refused(label):
    with pytest.raises(ValueError, match="expected a whole number of hours, days"):
        periods(label, "6h", ["2001-01-01"], 4)


def test_a_period_shorter_than_the_step_is_refused():
    with pytest.raises(ValueError, match="1d is shorter than the time step of the model, 1mo"):
        periods("1d", "1mo", ["2001-01"], 4)
