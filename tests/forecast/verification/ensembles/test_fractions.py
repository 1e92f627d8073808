"""Fractions skill score against a loop over great-circle distances, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.verification import metrics
from forecast.verification.ensembles import Neighbourhoods, fractions_skill, squared_fractions
from sphere_ops.grid import EARTH_RADIUS, Grid

GRIDS = [Grid.legendre_gauss(8, 16), Grid.equiangular(9, 16), Grid.cell_centred(8, 15)]


def distances(grid: Grid) -> np.ndarray:
    """Return the great-circle distances of all pairs of points, km, from their vectors."""
    latitude, longitude = np.meshgrid(
        np.radians(grid.latitude.double().numpy()),
        np.radians(grid.longitude.double().numpy()),
        indexing="ij",
    )
    r = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude),
         np.sin(latitude)], -1
    ).reshape(-1, 3)  # fmt: skip
    return EARTH_RADIUS / 1e3 * np.arccos(np.clip(r @ r.T, -1, 1))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("radius", [1111.0, 3456.0, 12_345.0])
def test_mean_is_over_the_points_within_the_radius(grid, radius):
    rng = np.random.default_rng(11)
    x, valid = rng.normal(size=(2, *grid.shape)), rng.uniform(size=(2, *grid.shape)) > 0.3
    near = distances(grid) <= radius
    area = np.broadcast_to(grid.area_weights.double().numpy(), grid.shape).ravel()
    expected = np.full(x.shape, np.nan)
    for n in range(2):
        weights = near * (area * valid[n].ravel())
        with np.errstate(invalid="ignore"):
            mean = (weights @ x[n].ravel()) / weights.sum(1)
        expected[n] = mean.reshape(grid.shape)
    # A neighbourhood without valid points has a sum of 0 up to the rounding of running sums.
    found = Neighbourhoods(grid, radius).mean(x, valid)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_radius_zero_is_the_point_itself_also_at_the_poles():
    grid = Grid.cell_centred(8, 16)
    x = np.random.default_rng(0).normal(size=grid.shape)
    np.testing.assert_allclose(Neighbourhoods(grid, 0).mean(x), x, atol=1e-12)


def test_score_is_one_for_the_truth_and_zero_for_events_far_away():
    grid = Grid.legendre_gauss(16, 32)
    truth = np.zeros(grid.shape)
    truth[4:6, 3:7] = 5.0
    near = Neighbourhoods(grid, 1500.0)
    score = fractions_skill(*squared_fractions(truth, truth, [1.0], near))
    np.testing.assert_allclose(score, 1.0)
    away = np.roll(truth, 16, axis=1)
    np.testing.assert_allclose(
        fractions_skill(*squared_fractions(away, truth, [1.0], near)), 0.0, atol=1e-12
    )
    assert np.isnan(fractions_skill(*squared_fractions(truth, truth, [9.0], near)))


def test_score_of_a_misplaced_event_grows_with_the_radius_to_that_of_the_frequencies():
    grid = Grid.legendre_gauss(16, 32)
    truth = np.zeros(grid.shape)
    truth[7:9, 3:7] = 1.0
    forecast = np.roll(truth, 2, axis=1)
    forecast[7, 5] = 0.0
    scores = [
        fractions_skill(*squared_fractions(forecast, truth, [0.5], Neighbourhoods(grid, r)))[0]
        for r in (0.0, 2000.0, 5000.0, 21_000.0)
    ]
    assert (np.diff(scores) > 0.01).all()
    area = grid.area_weights.double().numpy()
    f, o = (metrics.spatial_mean(x, np.isfinite(x), area) for x in (forecast, truth))
    np.testing.assert_allclose(scores[-1], 2 * f * o / (f * f + o * o), rtol=1e-9)


def test_members_count_by_their_mean_fraction_and_missing_ones_make_it_missing():
    grid = Grid.legendre_gauss(8, 16)
    rng = np.random.default_rng(12)
    members, truth = rng.normal(size=(5, 3, *grid.shape)), rng.normal(size=(3, *grid.shape))
    near = Neighbourhoods(grid, 3000.0)
    difference, largest = squared_fractions(members, truth, [0.2, 0.9], near)
    assert difference.shape == largest.shape == (3, 2)
    p = np.mean([near.mean(x > 0.9) for x in members], axis=0)
    o = near.mean(truth > 0.9)
    area = grid.area_weights.double().numpy()
    expected = metrics.spatial_mean((p - o) ** 2, np.isfinite(truth), area)
    np.testing.assert_allclose(difference[:, 1], expected, rtol=1e-10)
    members[0, 1, 2, 3] = np.nan
    difference, _ = squared_fractions(members, truth, [0.2], near)
    assert np.isnan(difference[1]).all() and np.isfinite(difference[[0, 2]]).all()


def test_missing_truth_is_left_out_of_the_fractions_of_both():
    grid = Grid.legendre_gauss(8, 16)
    rng = np.random.default_rng(13)
    forecast, truth = rng.normal(size=grid.shape), rng.normal(size=grid.shape)
    truth[2:4, 5:9] = np.nan
    near = Neighbourhoods(grid, 3000.0)
    before = squared_fractions(forecast, truth, [0.0], near)
    forecast[2:4, 5:9] = 99.0
    np.testing.assert_array_equal(squared_fractions(forecast, truth, [0.0], near), before)


def test_a_negative_radius_is_refused():
    with pytest.raises(ValueError, match="radius of neighbourhoods -1 km; expected at least 0"):
        Neighbourhoods(GRIDS[0], -1)
