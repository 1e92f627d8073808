"""Spread, skill and ranks: closed forms for members drawn from the truth's distribution."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import chi2

from forecast.verification import metrics
from forecast.verification.ensembles import (
    mean_squared_error,
    rank_histogram,
    spread_skill_ratio,
    variance,
)
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(16, 32)
AREA = GRID.area_weights.numpy()


def drawn(m: int, n: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return members and truth of n forecasts, around a common signal."""
    rng = np.random.default_rng(3)
    signal = 5.0 * rng.normal(size=(n, *GRID.shape))
    return signal + spread * rng.normal(size=(m, *signal.shape)), signal + rng.normal(
        size=signal.shape
    )


@pytest.mark.parametrize("m", [2, 5, 20])
def test_spread_skill_of_members_from_the_truths_distribution_is_one(m):
    members, truth = drawn(m, 40)
    v, e = variance(members, truth, AREA).mean(), mean_squared_error(members, truth, AREA).mean()
    # 20480 points: the standard error of the ratio is about 0.005.
    assert abs(spread_skill_ratio(v, e, m) - 1) < 0.02
    members, truth = drawn(m, 40, spread=0.5)
    v, e = variance(members, truth, AREA).mean(), mean_squared_error(members, truth, AREA).mean()
    expected = 0.5 * np.sqrt((m + 1) / (m + 0.25))
    assert abs(spread_skill_ratio(v, e, m) / expected - 1) < 0.02


def test_spread_and_error_are_those_of_the_definitions():
    members, truth = drawn(5, 3)
    truth[1, :4] = np.nan
    expected = metrics.spatial_mean(members.var(0, ddof=1), np.isfinite(truth), AREA)
    np.testing.assert_allclose(variance(members, truth, AREA), expected, rtol=1e-12)
    expected = metrics.squared_error(members.mean(0), truth, AREA)
    np.testing.assert_allclose(mean_squared_error(members, truth, AREA), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="the spread needs at least 2 members"):
        variance(members[:1], truth, AREA)


def test_a_ratio_without_error_is_missing():
    assert np.isnan(spread_skill_ratio(1.0, 0.0, 5))


@pytest.mark.parametrize("m", [1, 9])
def test_ranks_of_members_from_the_truths_distribution_are_uniform(m):
    members, truth = drawn(m, 20)
    n = truth.size
    # Equal weights of all points make counts, for which chi-square is the law.
    share = rank_histogram(members.reshape(m, n), truth.reshape(n), np.ones(n))
    statistic = n * ((share - 1 / (m + 1)) ** 2 * (m + 1)).sum()
    assert statistic < chi2.ppf(0.999, m)


def test_too_little_spread_makes_the_outer_ranks_frequent():
    shares = rank_histogram(*drawn(9, 20, spread=0.3), AREA)
    assert (shares[:, [0, -1]] > 0.2).all()


@pytest.mark.parametrize("hole", [False, True])
def test_ranks_with_ties_agree_with_scores(hole):
    from scores.probability import rank_histogram as theirs

    rng = np.random.default_rng(4)
    members = rng.integers(0, 4, (6, 3, *GRID.shape)).astype(float)
    truth = rng.integers(0, 4, (3, *GRID.shape)).astype(float)
    if hole:
        truth[1, 3:7, 5:20] = np.nan
    dims = ("channel", "latitude", "longitude")
    expected = theirs(
        xr.DataArray(members, dims=("member", *dims)),
        xr.DataArray(truth, dims=dims),
        "member",
        preserve_dims=["channel"],
        weights=xr.DataArray(np.broadcast_to(AREA, GRID.shape), dims=dims[1:]),
    )
    found = rank_histogram(members, truth, AREA)
    np.testing.assert_allclose(found, expected.transpose("channel", "rank"), atol=1e-12)
    np.testing.assert_allclose(found.sum(-1), 1.0, rtol=1e-12)


def test_random_ties_have_the_split_histogram_in_the_mean_and_depend_on_the_seed():
    rng = np.random.default_rng(5)
    members = rng.integers(0, 3, (4, 400, *GRID.shape)).astype(float)
    truth = rng.integers(0, 3, (400, *GRID.shape)).astype(float)
    split = rank_histogram(members, truth, AREA).mean(0)
    drawn = rank_histogram(members, truth, AREA, ties="random", seed=(7, 1)).mean(0)
    # 204800 points, of which each rank has about a fifth: standard error 1e-3.
    np.testing.assert_allclose(drawn, split, atol=5e-3)
    again = rank_histogram(members, truth, AREA, ties="random", seed=(7, 1)).mean(0)
    other = rank_histogram(members, truth, AREA, ties="random", seed=(8, 1)).mean(0)
    np.testing.assert_array_equal(drawn, again)
    assert (drawn != other).any()
    with pytest.raises(ValueError, match="unknown treatment of ties 'first'"):
        rank_histogram(members, truth, AREA, ties="first")


def test_a_missing_member_makes_the_histogram_missing():
    members, truth = drawn(4, 3)
    members[2, 1, 0, 0] = np.nan
    found = rank_histogram(members, truth, AREA)
    assert np.isnan(found[1]).all() and np.isfinite(found[[0, 2]]).all()
