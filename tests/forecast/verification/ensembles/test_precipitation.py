"""SEEPS against the table of its paper, and its climatology."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scores import categorical

from forecast.verification.ensembles import PrecipitationClimatology, seeps
from sphere_ops.grid import Grid

GRID = Grid.cell_centred(8, 16)
AREA = GRID.area_weights.numpy()
MM = 1e-3


def rain(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wet = rng.uniform(size=(n, *GRID.shape)) > 0.45
    return np.where(wet, rng.gamma(0.7, 6 * MM, (n, *GRID.shape)), 0.0)


def test_penalties_are_those_of_the_paper():
    """Rodwell et al. 2010, eq. 15, with p1 = 0.4: rows are forecasts, columns observations."""
    climatology = PrecipitationClimatology(np.full(GRID.shape, 0.4), np.full(GRID.shape, 5 * MM))
    p = 0.4
    expected = 0.5 * np.array(
        [
            [0, 1 / (1 - p), 4 / (1 - p)],
            [1 / p, 0, 3 / (1 - p)],
            [1 / p + 3 / (2 + p), 3 / (2 + p), 0],
        ]
    )
    values = [0.1 * MM, 2 * MM, 20 * MM]
    for i, j in np.ndindex(3, 3):
        f, o = np.full(GRID.shape, values[i]), np.full(GRID.shape, values[j])
        np.testing.assert_allclose(seeps(f, o, climatology, AREA), expected[i, j], rtol=1e-12)


def test_a_forecast_without_skill_scores_one_whatever_it_says():
    """The score is equitable: constants and draws of the climatology have the same expectation."""
    truth = rain(3000, 1)
    climatology = PrecipitationClimatology.of(truth)
    others = (np.zeros(GRID.shape), np.full(GRID.shape, 1.0), rain(3000, 2))
    for forecast in others:
        # 384000 points with penalties up to 5: standard error below 0.004.
        score = seeps(np.broadcast_to(forecast, truth.shape), truth, climatology, AREA).mean()
        assert abs(score - 1) < 0.02
    np.testing.assert_array_equal(seeps(truth, truth, climatology, AREA), 0.0)


def test_climatology_has_the_dry_fraction_and_a_third_of_heavy_wet_days():
    samples = rain(600, 3)
    samples[:50, 2, 3] = np.nan
    climatology = PrecipitationClimatology.of(samples)
    dry = (samples < 0.25 * MM).sum(0) / np.isfinite(samples).sum(0)
    np.testing.assert_allclose(climatology.dry_fraction, dry)
    wet = samples >= 0.25 * MM
    heavy = (samples >= climatology.wet_threshold) & wet
    np.testing.assert_allclose(heavy.sum(0) / wet.sum(0), 1 / 3, atol=0.005)


def test_points_that_are_too_dry_or_too_wet_or_unknown_are_left_out():
    fraction = np.full(GRID.shape, 0.4)
    fraction[0], fraction[1] = 0.9, 0.05
    wet = np.full(GRID.shape, 5 * MM)
    wet[2] = np.nan
    climatology = PrecipitationClimatology(fraction, wet)
    truth = np.full(GRID.shape, 2 * MM)
    forecast = truth.copy()
    forecast[:3] = 50 * MM
    assert seeps(forecast, truth, climatology, AREA) == 0
    forecast[4] = np.nan
    assert np.isnan(seeps(forecast, truth, climatology, AREA))
    truth[4] = np.nan
    assert seeps(forecast, truth, climatology, AREA) == 0


def test_package_scores_agrees():
    truth, samples = rain(40, 4), rain(200, 5)
    forecast = truth * np.random.default_rng(6).choice([0.0, 0.5, 3.0], truth.shape)
    climatology = PrecipitationClimatology.of(samples)
    assert climatology.dry_fraction.min() > 0.1 and climatology.dry_fraction.max() < 0.85
    dims = ("time", "latitude", "longitude")
    expected = categorical.seeps(
        xr.DataArray(forecast, dims=dims),
        xr.DataArray(truth, dims=dims),
        xr.DataArray(climatology.dry_fraction, dims=dims[1:]),
        xr.DataArray(climatology.wet_threshold, dims=dims[1:]),
        dry_light_threshold=0.25 * MM,
        preserve_dims=["time"],
        weights=xr.DataArray(np.broadcast_to(AREA, GRID.shape), dims=dims[1:]),
    )
    np.testing.assert_allclose(seeps(forecast, truth, climatology, AREA), expected, rtol=1e-12)


def test_wet_threshold_is_the_quantile_of_the_wet_days_that_are_known():
    samples = rain(90, 7)
    samples[::7, 1, 2] = np.nan
    samples[:, 3, 4] = 0.0
    wet = np.where(samples >= 0.25 * MM, samples, np.nan)
    expected = np.full(GRID.shape, np.nan)
    some = np.isfinite(wet).any(0)
    expected[some] = np.nanquantile(wet[:, some], 2 / 3, axis=0)
    found = PrecipitationClimatology.of(samples).wet_threshold
    np.testing.assert_allclose(found, expected, rtol=1e-12)
