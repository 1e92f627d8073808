"""Results do not depend on how a run is cut into blocks; sums follow numpy on the whole array."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from forecast.verification.climate import sources
from forecast.verification.climate.accumulators import GroupMoments
from forecast.verification.climate.groups import assign_groups, halvings
from forecast.verification.climate.sources import Run, Source
from forecast.verification.climate.table import DIAGNOSTICS
from sphere_ops.grid import Grid
from tests.forecast.verification.climate.worlds import GRID, feed, red_climate, setting, times

NAMES = ("z500", "u500", "v500", "sst")
FINE = Grid.legendre_gauss(32, 64)


def world(n: int, grid: Grid = GRID) -> tuple:
    """Return a setting with a masked channel, and states that also lack moving points."""
    fields = red_climate(1, n, len(NAMES), grid)
    rng = np.random.default_rng(0)
    fields[:, 3][rng.random((n, *grid.shape)) < 0.1] = np.nan
    valid = np.ones(fields.shape[1:], dtype=bool)
    valid[3, 2:4, 5:9] = False
    reference = np.where(valid, 10.0, np.nan)
    return setting(NAMES, grid, valid=valid, reference=reference, seasonal=True), fields


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_blocks_give_the_result_of_the_whole_array(name):
    grid = FINE if name == "blocking" else GRID
    facts, fields = world(160, grid)
    kind = DIAGNOSTICS[name]
    assert kind.obstacle(facts) == ""
    groups = np.arange(160) // 80
    whole = feed(kind, facts, fields, groups=groups)
    cuts = [1, 2, 7, 40, 41, 79, 100, 133]
    pieces = feed(kind, facts, fields, groups=groups, cuts=cuts)
    for chosen in ([0, 1], [1]):
        expected, found = whole.result(chosen), pieces.result(chosen)
        assert expected.keys() == {s.name for s in kind.statistics}
        for statistic, value in expected.items():
            scale = np.nanmax(np.abs(value), initial=0)
            np.testing.assert_allclose(
                found[statistic], value, rtol=1e-12, atol=1e-12 * scale, err_msg=statistic
            )


def test_means_and_variances_are_those_of_numpy_for_any_set_of_groups():
    facts, fields = world(60)
    groups = np.arange(60) // 15
    found = feed(DIAGNOSTICS["means and variance"], facts, fields, groups=groups, cuts=[4, 31])
    for chosen in ([0, 1, 2, 3], [0, 3], [2]):
        states = np.where(facts.valid, fields, np.nan)[np.isin(groups, chosen)]
        result = found.result(chosen)
        inside = facts.valid
        np.testing.assert_allclose(
            result["time_mean"][inside], np.nanmean(states[:, inside], 0), rtol=1e-12
        )
        np.testing.assert_allclose(
            result["variance"][inside], np.nanvar(states[:, inside], 0), rtol=1e-12
        )
        assert np.isnan(result["time_mean"][~inside]).all()


def test_variance_of_a_small_signal_on_a_large_mean_keeps_its_digits():
    values = 1e8 + np.random.default_rng(0).normal(size=(1000, 3))
    moments = GroupMoments(1, (3,))
    for part in np.split(values, 50):
        moments.add(0, part)
    # Sums of squares would lose all digits; the values themselves are rounded to 1e-8.
    np.testing.assert_allclose(moments.variance([0]), values.var(0), rtol=1e-7)


def test_halvings_hold_all_differences_of_the_groups():
    rng = np.random.default_rng(0)
    means = rng.normal(size=8)
    squares = [(means[a].mean() - means[b].mean()) ** 2 for a, b in halvings(8)]
    # Halves of four groups each: their difference has the variance 2 σ² / 4.
    assert len(squares) == 7
    np.testing.assert_allclose(np.mean(squares), means.var(ddof=1) / 2, rtol=1e-12)


@pytest.mark.parametrize(("years", "n_groups"), [(1, 8), (2, 2), (3, 2), (5, 4), (20, 8)])
def test_groups_are_whole_years_in_their_order(years, n_groups):
    time = times(12 * years + 3, "1mo")
    (groups,), n = assign_groups([time], by_year=True)
    assert n == n_groups
    assert (np.diff(groups) >= 0).all()
    if years > 1:
        starts = np.flatnonzero(np.diff(groups)) + 1
        assert (starts % 12 == 0).all()
        assert np.bincount(groups).min() >= 12


def test_runs_are_groups_if_there_are_enough():
    runs = [times(30)] * 6
    groups, n = assign_groups(runs, by_year=False)
    assert n == 4
    assert [set(g.tolist()) for g in groups] == [{0}, {1}, {2}, {3}, {0}, {1}]


def test_memory_does_not_grow_with_the_number_of_steps(monkeypatch):
    monkeypatch.setattr(sources, "_BLOCK_BYTES", 8 * 2 * 128 * 100)
    facts = setting(NAMES[1:3], seasonal=True, segment=128, long_term=True)
    states = red_climate(0, 64, 2)
    n = 10_000
    run = Run(times(n), lambda span: states[np.arange(span.start, span.stop) % 64])
    source = Source.of([run], by_year=True)
    kinds = [kind for kind in DIAGNOSTICS.values() if not kind.obstacle(facts)]
    assert len(kinds) == 9  # all but blocking, for which the rows are too far apart
    diagnostics = [kind(facts, source.n_groups) for kind in kinds]
    peaks, done = [], 0
    tracemalloc.start()
    for block in source.blocks(facts):
        for diagnostic in diagnostics:
            diagnostic.update(block)
        done += len(block)
        if done == 1_000 or done == n:
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.reset_peak()
    tracemalloc.stop()
    assert peaks[1] < 1.02 * peaks[0]
