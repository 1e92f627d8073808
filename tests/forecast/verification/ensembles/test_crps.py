"""CRPS against its definition, other packages, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scoringrules
import xarray as xr
from scipy.stats import norm

from forecast.verification import metrics
from forecast.verification.ensembles import crps
from forecast.verification.ensembles.ranked_probability import crps_at_points
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(8, 16)
AREA = GRID.area_weights.numpy()


def ensemble(m: int = 7, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    truth = rng.normal(280.0, 9.0, (3, *GRID.shape))
    members = truth + 0.4 + rng.normal(0.0, 1.5, (m, *truth.shape))
    return members.astype(dtype), truth.astype(dtype)


def pairwise(members: np.ndarray, truth: np.ndarray, fair: bool) -> np.ndarray:
    m = len(members)
    to_truth = sum(abs(x - truth) for x in members) / m
    between = sum(abs(x - y) for x in members for y in members)
    return to_truth - between / (2 * m * (m - 1 if fair else m))


@pytest.mark.parametrize("m", [2, 7, 50])
@pytest.mark.parametrize("fair", [True, False])
def test_sorted_form_is_the_pairwise_definition(m, fair):
    members, truth = ensemble(m)
    # Both sum m² terms of the size of the errors.
    np.testing.assert_allclose(
        crps_at_points(members, truth, fair=fair), pairwise(members, truth, fair), atol=1e-12
    )


def test_blocks_of_points_do_not_change_the_score(monkeypatch):
    members, truth = ensemble()
    whole = crps_at_points(members, truth)
    monkeypatch.setattr(
        "forecast.verification.ensembles.ranked_probability._BLOCK_BYTES", 8 * 7 * 5
    )
    # A product of a matrix and a vector may add in another order for other shapes.
    np.testing.assert_allclose(crps_at_points(members, truth), whole, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(("fair", "name"), [(True, "fair"), (False, "nrg")])
def test_agrees_with_scoringrules(fair, name):
    members, truth = ensemble()
    expected = scoringrules.crps_ensemble(truth, members, m_axis=0, estimator=name)
    np.testing.assert_allclose(crps_at_points(members, truth, fair=fair), expected, atol=1e-12)


@pytest.mark.parametrize(("fair", "name"), [(True, "fair"), (False, "ecdf")])
def test_area_mean_agrees_with_scores(fair, name):
    from scores.probability import crps_for_ensemble

    members, truth = ensemble()
    dims = ("channel", "latitude", "longitude")
    expected = crps_for_ensemble(
        xr.DataArray(members, dims=("member", *dims)),
        xr.DataArray(truth, dims=dims),
        "member",
        method=name,
        preserve_dims=["channel"],
        weights=xr.DataArray(np.broadcast_to(AREA, GRID.shape), dims=dims[1:]),
    )
    np.testing.assert_allclose(crps(members, truth, AREA, fair=fair), expected, rtol=1e-12)


def test_score_of_one_member_is_its_absolute_error():
    members, truth = ensemble(1)
    np.testing.assert_allclose(
        crps(members, truth, AREA, fair=False),
        metrics.absolute_error(members[0], truth, AREA),
        rtol=1e-12,
    )
    with pytest.raises(ValueError, match="the fair CRPS needs at least 2 members, got 1"):
        crps(members, truth, AREA)


def test_fair_score_of_gaussian_members_is_the_closed_form_in_the_mean():
    rng = np.random.default_rng(2)
    truth = np.full(20_000, 1.3)
    members = rng.normal(0.5, 2.0, (4, truth.size))
    z = (1.3 - 0.5) / 2.0
    expected = 2.0 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    values = crps_at_points(members, truth)
    error = values.std() / np.sqrt(truth.size)
    assert abs(values.mean() - expected) < 4 * error < 0.03
    biased = crps_at_points(members, truth, fair=False).mean()
    # The biased score of m members is larger by E|x − x'| / (2m).
    assert abs(biased - expected - 2 * 2.0 / np.sqrt(np.pi) / 8) < 4 * error


def test_points_without_truth_are_left_out_and_missing_members_make_it_missing():
    members, truth = ensemble()
    truth[1, 2:5, 3:9] = np.nan
    members[:, 1, 3, 4] = np.nan  # inside the hole
    members[2, 2, 0, 0] = np.nan
    found = crps(members, truth, AREA)
    valid = np.isfinite(truth[1])
    weights = np.broadcast_to(AREA, GRID.shape)[valid]
    expected = (pairwise(members[:, 1][:, valid], truth[1][valid], True) * weights).sum()
    np.testing.assert_allclose(found[1], expected / weights.sum(), rtol=1e-12)
    assert np.isfinite(found[:2]).all() and np.isnan(found[2])


def test_flat_points_and_rows_and_columns_have_the_same_score():
    members, truth = ensemble()
    flat = np.broadcast_to(AREA, GRID.shape).ravel()
    np.testing.assert_allclose(
        crps(members.reshape(7, 3, -1), truth.reshape(3, -1), flat),
        crps(members, truth, AREA),
        rtol=1e-13,
    )


def test_float32_members_far_from_zero_lose_no_accuracy():
    members, truth = ensemble(10, np.float32)
    exact = crps_at_points(members.astype(np.float64), truth.astype(np.float64))
    # Errors are differences of float32 numbers, rounded once: 6e-8 of errors up to 6.
    np.testing.assert_allclose(crps_at_points(members, truth), exact, atol=1e-6)


def test_members_and_truth_of_other_shapes_are_refused():
    members, truth = ensemble()
    with pytest.raises(ValueError, match=r"members of shape \(7, 3, 8, 16\) and truth of shape"):
        crps(members, truth[:2], AREA)
