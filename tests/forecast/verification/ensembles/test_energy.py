"""Energy score against its definition, another package, and the CRPS."""

from __future__ import annotations

import numpy as np
import pytest
import scoringrules

from forecast.verification.ensembles import crps, energy_score
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(8, 16)
AREA = GRID.area_weights.numpy()


def ensemble(m: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    truth = rng.normal(20.0, 1.0, (3, *GRID.shape))
    return truth + rng.normal(0.2, 0.7, (m, *truth.shape)), truth


@pytest.mark.parametrize(("fair", "name"), [(True, "fair"), (False, "nrg")])
def test_agrees_with_scoringrules_on_weighted_points(fair, name):
    members, truth = ensemble()
    root = np.sqrt(np.broadcast_to(AREA, GRID.shape) / np.broadcast_to(AREA, GRID.shape).sum())
    x, y = ((z * root).reshape(*z.shape[:-2], -1) for z in (members, truth))
    expected = scoringrules.es_ensemble(y, np.moveaxis(x, 0, 1), estimator=name)
    np.testing.assert_allclose(energy_score(members, truth, AREA, fair=fair), expected, rtol=1e-9)


def test_score_of_one_point_is_the_crps():
    members, truth = ensemble()
    one = np.ones(1)
    x, y = members[..., 2, 3, None], truth[..., 2, 3, None]
    np.testing.assert_allclose(energy_score(x, y, one), crps(x, y, one), atol=1e-7)


def test_channels_in_the_norm_are_scaled_and_averaged():
    members, truth = ensemble()
    scale = np.array([2.0, 0.5, 4.0])
    flat = np.tile(np.broadcast_to(AREA, GRID.shape).ravel(), 3)
    x = (members / scale[:, None, None]).reshape(6, -1)
    expected = energy_score(x, (truth / scale[:, None, None]).ravel(), flat)
    found = energy_score(members, truth, AREA, scale=scale)
    assert found.shape == ()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_it_sees_wrong_correlations_that_the_crps_does_not():
    rng = np.random.default_rng(10)
    truth = rng.normal(size=(400, 1, 1)) * np.ones(GRID.shape)
    right = rng.normal(size=(8, 400, 1, 1)) * np.ones(GRID.shape)
    wrong = rng.normal(size=(8, *truth.shape))
    point_wise = [crps(x, truth, AREA).mean() for x in (right, wrong)]
    whole = [energy_score(x, truth, AREA).mean() for x in (right, wrong)]
    # The expectations are 0.564 for both CRPS, and 0.564 and 0.647 for the energy scores; the
    # standard error of 400 forecasts is 0.02.
    assert abs(point_wise[0] - point_wise[1]) < 0.04
    assert whole[1] > whole[0] + 0.04


def test_points_without_truth_are_left_out_and_missing_members_make_it_missing():
    members, truth = ensemble()
    truth[1, :3, 4:] = np.nan
    members[:, 1, 0, 5] = np.nan  # inside the hole
    members[1, 2, 7, 7] = np.nan
    found = energy_score(members, truth, AREA)
    valid = np.isfinite(truth[1])
    weights = np.broadcast_to(AREA, GRID.shape)[valid]
    expected = energy_score(members[:, 1][:, valid], truth[1][valid], weights)
    np.testing.assert_allclose(found[1], expected, rtol=1e-12)
    assert np.isfinite(found[0]) and np.isnan(found[2])
