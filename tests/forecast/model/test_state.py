"""State: its parts are ordered in time and move together."""

import numpy as np
import pytest
import torch

from forecast.model.state import State

TIME = np.array(["2001-01-31", "2001-02-14"], dtype="datetime64[ns]")


def test_an_advanced_state_has_a_history_as_long_as_before_without_the_oldest():
    oldest, older, fields, following = torch.randn(4, 2, 3, 4, 8)
    state = State(fields, TIME, (oldest, older)).advance(following, TIME + 1)
    assert [x is y for x, y in zip(state.series, (older, fields, following), strict=True)] == [
        True
    ] * 3
    np.testing.assert_array_equal(state.time, TIME + 1)
    assert State(fields, TIME).advance(following, TIME).history == ()


def test_a_series_is_the_state_of_its_last_fields():
    series = torch.randn(2, 3, 3, 4, 8)
    state = State.from_series(series, TIME)
    assert torch.equal(state.fields, series[:, 2])
    assert torch.equal(torch.stack(state.series, 1), series)
    assert State.from_series(series[:, :1], TIME).history == ()


def test_all_parts_are_cast_and_moved_together():
    state = State.from_series(torch.randn(2, 3, 3, 4, 8), TIME).to(torch.float64)
    assert {x.dtype for x in state.series} == {torch.float64}
    assert state.time is TIME


@pytest.mark.parametrize(
    ("fields", "history"), [((3, 4, 8), 0), ((1, 3, 4, 8), 0), ((2, 3, 4, 8), 1)]
)
def test_parts_that_do_not_fit_together_are_refused(fields, history):
    with pytest.raises(
        ValueError, match=r"2 times .*expected fields \(b, c, nlat, nlon\), b times"
    ):
        State(torch.zeros(fields), TIME, (torch.zeros(2, 3, 4, 9),) * history)
