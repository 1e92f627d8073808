"""Brier score and reliability against their definitions and other packages."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import scoringrules
import xarray as xr

from forecast.verification.ensembles import brier_score, reliability
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(8, 16)
AREA = GRID.area_weights.numpy()
THRESHOLDS = np.array([-0.4, 0.3, 1.2])


def ensemble(m: int = 6, n: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    signal = rng.normal(size=(n, *GRID.shape))
    return signal + rng.normal(size=(m, *signal.shape)), signal + rng.normal(size=signal.shape)


@pytest.mark.parametrize("fair", [True, False])
def test_brier_score_agrees_with_scores(fair):
    from scores.probability import brier_score_for_ensemble

    members, truth = ensemble()
    truth[0, 2:5, 4:] = np.nan
    dims = ("channel", "latitude", "longitude")
    expected = brier_score_for_ensemble(
        xr.DataArray(members, dims=("member", *dims)),
        xr.DataArray(truth, dims=dims),
        "member",
        THRESHOLDS,
        preserve_dims=["channel"],
        weights=xr.DataArray(np.broadcast_to(AREA, GRID.shape), dims=dims[1:]),
        fair_correction=fair,
        event_threshold_operator=operator.gt,
    )
    found = brier_score(members, truth, THRESHOLDS, AREA, fair=fair)
    np.testing.assert_allclose(found, expected.transpose("channel", "threshold"), rtol=1e-12)


def test_brier_score_of_probabilities_agrees_with_scoringrules():
    members, truth = ensemble()
    weights = np.broadcast_to(AREA, GRID.shape)
    for k, threshold in enumerate(THRESHOLDS):
        each = scoringrules.brier_score(truth > threshold, (members > threshold).mean(0))
        expected = (each * weights).sum((1, 2)) / weights.sum()
        found = brier_score(members, truth, THRESHOLDS, AREA, fair=False)[:, k]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_thresholds_may_be_fields():
    members, truth = ensemble()
    field = np.random.default_rng(0).normal(size=(2, 1, *GRID.shape))
    found = brier_score(members, truth, field, AREA)
    for k in range(2):
        moved = brier_score(members - field[k], truth - field[k], [0.0], AREA)[..., 0]
        np.testing.assert_allclose(found[..., k], moved, rtol=1e-12)


def test_fair_brier_score_does_not_depend_on_the_number_of_members_in_the_mean():
    members, truth = ensemble(20, 200)
    few = brier_score(members[:2], truth, [0.3], AREA).mean()
    many = brier_score(members, truth, [0.3], AREA).mean()
    # 25600 points: standard error of the difference 0.003.
    assert abs(few - many) < 0.01
    unfair = brier_score(members[:2], truth, [0.3], AREA, fair=False).mean()
    assert unfair > many + 0.04


def test_a_missing_member_makes_the_brier_score_and_the_reliability_missing():
    members, truth = ensemble()
    members[3, 1, 2, 2] = np.nan
    found = brier_score(members, truth, THRESHOLDS, AREA)
    assert np.isnan(found[1]).all() and np.isfinite(found[[0, 2]]).all()
    area = reliability(members, truth, THRESHOLDS, AREA).area
    assert np.isnan(area[1]).all() and np.isfinite(area[[0, 2]]).all()


def test_reliability_is_that_of_a_loop_over_points():
    members, truth = ensemble(10)
    truth[2, :3] = np.nan
    found = reliability(members, truth, THRESHOLDS, AREA, n_bins=5)
    weights = np.broadcast_to(AREA, GRID.shape)
    area, probability, observed = (np.zeros((3, 3, 5)) for _ in range(3))
    for c, t in np.ndindex(3, 3):
        valid = np.isfinite(truth[c])
        for i, j in np.argwhere(valid):
            k = int((members[:, c, i, j] > THRESHOLDS[t]).sum())
            place, w = min(k // 2, 4), weights[i, j] / weights[valid].sum()
            area[c, t, place] += w
            probability[c, t, place] += w * k / 10
            observed[c, t, place] += w * (truth[c, i, j] > THRESHOLDS[t])
    for sums, expected in zip(found, (area, probability, observed), strict=True):
        np.testing.assert_allclose(sums, expected, atol=1e-12)


def test_brier_score_is_reliability_minus_resolution_plus_uncertainty():
    """Murphy 1973; exact if each bin has one probability."""
    members, truth = ensemble(4)
    for c in range(3):
        r = reliability(members[:, c], truth[c], [0.3], AREA, n_bins=5)
        used = r.area > 0
        n, p, o = (x[used] for x in (r.area, r.mean_probability, r.observed_frequency))
        base = r.observed.sum()
        parts = (n * (p - o) ** 2).sum() - (n * (o - base) ** 2).sum() + base * (1 - base)
        score = brier_score(members[:, c], truth[c], [0.3], AREA, fair=False)
        np.testing.assert_allclose(parts, score, rtol=1e-12)


def test_probabilities_of_members_from_the_truths_distribution_are_frequencies():
    rng = np.random.default_rng(8)
    probability = rng.uniform(size=(500, *GRID.shape))
    members = (rng.uniform(size=(50, *probability.shape)) < probability).astype(float)
    truth = (rng.uniform(size=probability.shape) < probability).astype(float)
    r = reliability(members, truth, [0.5], AREA)
    r = type(r)(*(x.mean(0) for x in r))
    # A forecast of i of 50 members is regressed to the mean by 1/52, at most 0.01; the standard
    # error of 6400 points in a bin is 0.006.
    np.testing.assert_allclose(r.observed_frequency, r.mean_probability, atol=0.03)
