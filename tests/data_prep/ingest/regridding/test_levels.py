"""Levels: fields that are linear in log p are interpolated exactly, none is extrapolated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.ingest.regridding.levels import bracket

LEVELS = st.lists(st.floats(1, 1100), min_size=2, max_size=40, unique=True)


@settings(deadline=None, derandomize=True, database=None)
@given(LEVELS, st.floats(0, 1), st.floats(-50, 50), st.floats(100, 300))
def test_fields_that_are_linear_in_log_p_are_exact(
    levels: list[float], part: float, slope: float, value: float
) -> None:
    wanted = min(levels) * (max(levels) / min(levels)) ** part
    wanted = min(max(wanted, min(levels)), max(levels))
    field = value + slope * np.log(levels)
    below, above, weight = bracket(levels, wanted)
    assert levels[below] >= wanted * (1 - 1e-6) and levels[above] <= wanted * (1 + 1e-6)
    assert 0 <= weight < 1
    found = (1 - weight) * field[below] + weight * field[above]
    assert found == pytest.approx(value + slope * np.log(wanted), abs=1e-4)  # 1e-6 of a level


def test_geopotential_of_an_isothermal_layer_is_exact() -> None:
    levels = np.array([1000.0, 500.0, 200.0])
    geopotential = 287.0 * 250.0 * np.log(1000 / levels)
    below, above, weight = bracket(levels, 300.0)
    assert (below, above) == (1, 2)
    found = (1 - weight) * geopotential[below] + weight * geopotential[above]
    assert found == pytest.approx(287.0 * 250.0 * np.log(1000 / 300), rel=1e-14)


@pytest.mark.parametrize("levels", [[850.0, 500.0, 700.0], [500.0, 700.0, 850.0]])
def test_a_level_that_exists_is_taken_as_it_is(levels: list[float]) -> None:
    for wanted in levels:
        at = levels.index(wanted)
        assert bracket(levels, wanted) == (at, at, 0.0)
        assert bracket(np.array(levels, dtype="f4") * (1 + 1e-7), wanted) == (at, at, 0.0)


def test_the_nearest_levels_on_both_sides_are_taken_in_any_order() -> None:
    levels = [300.0, 1000.0, 850.0, 400.0, 500.0]
    below, above, weight = bracket(levels, 450.0)
    assert (levels[below], levels[above]) == (500.0, 400.0)
    assert weight == pytest.approx(np.log(500 / 450) / np.log(500 / 400))


@pytest.mark.parametrize("wanted", [1001.0, 49.0, 0.0, -5.0])
def test_levels_outside_those_of_the_files_are_refused(wanted: float) -> None:
    with pytest.raises(ValueError, match=f"level {wanted:g} lies outside.*50 to 1000"):
        bracket([1000, 500, 50], wanted)


@pytest.mark.parametrize("levels", [[], [500.0, 0.0], [500.0, -1.0]])
def test_levels_that_are_no_pressures_are_refused(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="positive pressures"):
        bracket(levels, 500.0)
