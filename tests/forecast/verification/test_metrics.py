"""Scores, against the package `scores`, their definitions, and Parseval's theorem."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from forecast.verification import metrics
from forecast.verification.score_table import SCORES
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(8, 16)
AREA = GRID.area_weights.numpy()


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return forecast, truth and climatology of 5 initial times and 3 channels."""
    rng = np.random.default_rng(0)
    truth = rng.normal(2.0, 3.0, (5, 3, *GRID.shape))
    return truth + rng.normal(0.3, 0.7, truth.shape), truth, rng.normal(2.0, 1.0, truth.shape[1:])


def _with_a_hole(truth: np.ndarray) -> np.ndarray:
    truth = truth.copy()
    truth[:, 1, 2:4, 3:9] = np.nan
    return truth


def _oracle(name: str, forecast: np.ndarray, truth: np.ndarray) -> np.ndarray:
    from scores import continuous

    dims = ("init_time", "channel", "latitude", "longitude")
    f, t = xr.DataArray(forecast, dims=dims), xr.DataArray(truth, dims=dims)
    weights = xr.DataArray(np.broadcast_to(AREA, GRID.shape), dims=dims[2:])
    score = getattr(continuous, name)
    return score(f, t, preserve_dims=["channel"], weights=weights).values


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs"), [("rmse", "rmse"), ("mae", "mae"), ("bias", "additive_bias")]
)
def test_scores_agree_with_the_oracle(pair, ours, theirs, masked):
    forecast, truth, _ = pair
    truth = _with_a_hole(truth) if masked else truth
    expected = _oracle(theirs, forecast, truth)
    np.testing.assert_allclose(SCORES[ours](forecast, truth, AREA), expected, rtol=1e-12)


def test_the_root_comes_after_the_mean_over_the_starts(pair):
    forecast, truth, _ = pair
    of_each = np.sqrt(metrics.squared_error(forecast, truth, AREA))
    assert (SCORES["rmse"](forecast, truth, AREA) > of_each.mean(0)).all()


@pytest.mark.parametrize("masked", [False, True])
def test_anomaly_correlation_is_that_of_the_definition(pair, masked):
    forecast, truth, climatology = pair
    truth = _with_a_hole(truth) if masked else truth
    weights = np.broadcast_to(AREA, GRID.shape)
    expected = np.zeros(3)
    for n in range(5):
        for c in range(3):
            valid = np.isfinite(truth[n, c])
            f, t = (x[n, c][valid] - climatology[c][valid] for x in (forecast, truth))
            w = weights[valid]
            expected[c] += (w * f * t).sum() / np.sqrt((w * f * f).sum() * (w * t * t).sum()) / 5
    np.testing.assert_allclose(
        SCORES["acc"](forecast, truth, climatology, AREA), expected, rtol=1e-12
    )


def test_anomaly_correlation_is_one_and_minus_one_for_the_anomaly_and_its_negative(pair):
    _, truth, climatology = pair
    anomaly = truth - climatology
    for factor in (0.3, -0.3):
        acc = SCORES["acc"](climatology + factor * anomaly, truth, climatology, AREA)
        np.testing.assert_allclose(acc, np.sign(factor), rtol=1e-12)


def test_relative_l2_of_the_reference_is_one(pair):
    _, truth, climatology = pair
    reference = np.broadcast_to(climatology, truth.shape)
    np.testing.assert_allclose(SCORES["relative_l2"](reference, truth, climatology, AREA), 1.0)
    np.testing.assert_allclose(SCORES["relative_l2"](0.9 * truth, truth, 0.0, AREA), 0.1)


def test_activity_is_the_spread_of_the_anomaly_and_blind_to_its_mean():
    x = np.sqrt(2) * np.cos(np.radians(GRID.longitude.numpy()))[None, None, :]
    x = np.broadcast_to(4.0 * x, (3, *GRID.shape))
    climatology = np.full(GRID.shape, 1.5)
    np.testing.assert_allclose(SCORES["activity"](x, x, climatology, AREA), 4.0, rtol=1e-12)


def test_a_missing_forecast_has_no_score(pair):
    forecast, truth, _ = pair
    forecast[3, 1] = np.nan
    rmse = SCORES["rmse"](forecast, truth, AREA)
    assert np.isnan(rmse[1]) and np.isfinite(rmse[[0, 2]]).all()


def test_a_field_without_a_valid_point_has_no_mean():
    nothing = np.full(GRID.shape, np.nan)
    assert np.isnan(metrics.squared_error(np.ones(GRID.shape), nothing, AREA))


def test_skill_is_one_if_perfect_and_zero_if_as_good_as_the_baseline():
    np.testing.assert_array_equal(
        metrics.skill([0.0, 2.0, 3.0, 0.0], [2.0, 2.0, 2.0, 0.0]), [1.0, 0.0, -0.5, np.nan]
    )


@pytest.mark.parametrize("kind", ["legendre-gauss", "equiangular", "cell-centred"])
def test_power_sums_to_the_area_mean_of_the_square(kind):
    grid = Grid.of(kind, 17, 32)
    latitude, longitude = np.meshgrid(
        np.radians(grid.latitude.numpy()), np.radians(grid.longitude.numpy()), indexing="ij"
    )
    x = 1.3 + np.sin(latitude) + np.cos(latitude) ** 2 * np.cos(2 * longitude)
    power = metrics.spectrum(x, grid)
    mean_square = metrics.spatial_mean(x**2, True, grid.area_weights.numpy())
    np.testing.assert_allclose(power.sum(), mean_square, rtol=1e-12)
    np.testing.assert_allclose(power[:2], [1.3**2, 1 / 3], rtol=1e-10)
    assert power[3:].max() < 1e-20
