"""Intervals of the block bootstrap: coverage on series with known means, and their limits."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.verification.significance import bootstrap, discoveries, resampling
from forecast.verification.significance.blocks import (
    autocovariances,
    automatic_lengths,
    independent_starts,
    inflation,
    lag_one,
    n_lags,
)
from forecast.verification.significance.intervals import Settings


def mean(x):
    return x


def difference(x, y):
    return x - y


def root_difference(x, y):
    return np.sqrt(x) - np.sqrt(y)


def autoregressive(phi: float, n: int, s: int, seed: int) -> np.ndarray:
    """Return s series of n values with unit variance and mean zero."""
    rng = np.random.default_rng(seed)
    x = np.empty((n, s))
    x[0] = rng.normal(size=s)
    for i in range(1, n):
        x[i] = phi * x[i - 1] + np.sqrt(1 - phi**2) * rng.normal(size=s)
    return x


def coverage(parts, statistic, truth: float, **options) -> float:
    """Return the share of the series whose interval has the truth; nearly all have one."""
    found = bootstrap(parts, statistic, **options)
    assert np.isfinite(found.lower).mean() > 0.98
    given = np.isfinite(found.lower)
    return float(((found.lower <= truth) & (truth <= found.upper))[given].mean())


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_intervals_cover_the_mean_of_autoregressive_series(phi):
    # 800 series: the standard error of the coverage is 0.8 %, added to the required 92 to 97 %.
    assert 0.912 <= coverage([autoregressive(phi, 200, 800, 1)], mean, 0.0) <= 0.978


def test_paired_intervals_cover_the_difference_of_two_forecasts_that_share_errors():
    shared = autoregressive(0.6, 200, 800, 2)
    a = 3.0 + 2 * shared + 0.5 * autoregressive(0.5, 200, 800, 3)
    b = 2.9 + 2 * shared + 0.5 * autoregressive(0.5, 200, 800, 4)
    assert 0.912 <= coverage([a, b], difference, 0.1) <= 0.978
    paired, alone = bootstrap([a, b], difference), bootstrap([a], mean)
    assert (paired.upper - paired.lower).mean() < 0.4 * (alone.upper - alone.lower).mean()


@pytest.mark.slow
@pytest.mark.parametrize("n", [200, 400])
@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("kind", ["mean", "paired", "root", "paired root"])
def test_coverage_is_92_to_97_percent(kind, phi, n):
    s = 2000  # the standard error of the coverage is 0.5 %
    x, y, z = (autoregressive(phi, n, s, seed) for seed in (5, 6, 7))
    if kind == "mean":
        covered = coverage([x], mean, 0.0)
    elif kind == "paired":
        covered = coverage([x + 0.3 * y, x + 0.4 * z + 0.5], difference, -0.5)
    else:
        # Mean square errors over the sphere are positive and skew: log-normal, with mean 1.
        a, b = (np.exp(0.5 * v - 0.125) for v in (0.8 * x + 0.6 * y, 0.8 * x + 0.6 * z))
        one = [a] if kind == "root" else [a, 1.2 * b]
        statistic = np.sqrt if kind == "root" else root_difference
        covered = coverage(one, statistic, 1.0 if kind == "root" else 1 - np.sqrt(1.2))
    assert 0.92 <= covered <= 0.97


def test_intervals_without_correction_cover_too_seldom():
    """The reason for the factors: percentiles of blocks alone."""
    x = autoregressive(0.8, 200, 800, 1)
    assert coverage([x], mean, 0.0, block_length=1) < 0.7


def test_interval_of_independent_starts_is_that_of_student():
    from scipy.stats import t

    x = autoregressive(0.0, 12, 300, 8)
    found = bootstrap([x], mean, block_length=1, n_resamples=4000)
    half = t.ppf(0.975, 11) * x.std(0, ddof=1) / np.sqrt(12)
    # Percentiles of few values are skew as they are; the mean width is that of Student.
    width = ((found.upper - found.lower) / (2 * half)).mean()
    assert abs(width - 1) < 0.03
    p = 2 * t.sf(np.abs(x.mean(0)) / (half / t.ppf(0.975, 11)), 11)
    np.testing.assert_allclose(found.p_value, p, atol=0.03)


def test_too_few_starts_or_independent_starts_have_an_estimate_and_no_interval():
    few = bootstrap([autoregressive(0.0, 9, 3, 9)], mean)
    assert (
        np.isfinite(few.estimate).all() and np.isnan(few.lower).all() and (few.n_starts == 9).all()
    )
    trend = np.linspace(0.0, 1.0, 100)[:, None]
    found = bootstrap([trend], mean)
    assert np.isnan(found.lower) and found.independent < 6
    assert np.isnan(bootstrap([autoregressive(0.0, 50, 1, 0)], mean, block_length=6).lower)


def test_missing_starts_are_left_out_of_all_parts():
    a, b = autoregressive(0.3, 60, 4, 10), autoregressive(0.3, 60, 4, 11)
    holes = a.copy()
    holes[40:, 1:3], holes[7, 3] = np.nan, np.nan
    found = bootstrap([holes, b], difference, seed=3)
    np.testing.assert_array_equal(found.n_starts, [60, 40, 40, 59])
    alone = bootstrap([a[:40, 1:3], b[:40, 1:3]], difference, seed=3)
    np.testing.assert_allclose(found.lower[1:3], alone.lower, rtol=1e-12)
    np.testing.assert_allclose(found.estimate[3], (a - b)[holes[:, 3] == holes[:, 3], 3].mean())
    empty = bootstrap([np.full((20, 1), np.nan)], mean)
    assert np.isnan(empty.estimate) and empty.n_starts == 0


def test_intervals_do_not_depend_on_the_other_series_nor_on_the_chunks(monkeypatch):
    x = autoregressive(0.5, 80, 40, 12)
    whole = bootstrap([x], mean, seed=1)
    alone = bootstrap([x[:, 7:8]], mean, seed=1)
    # Other shapes are added in another order, which the numerical slopes amplify.
    np.testing.assert_allclose(whole.lower[7], alone.lower[0], rtol=1e-10)
    monkeypatch.setattr(resampling, "_CHUNK_BYTES", 8 * 1000 * 3)
    np.testing.assert_allclose(bootstrap([x], mean, seed=1).lower, whole.lower, rtol=1e-12)
    assert (bootstrap([x], mean, seed=2).lower != whole.lower).all()


def test_the_root_of_a_mean_has_an_interval_above_zero():
    x = np.zeros((40, 1))
    x[3] = 1.0
    found = bootstrap([x], np.sqrt, lowest=0.0)
    assert found.lower == 0 < found.estimate < found.upper


def test_equal_forecasts_differ_by_nothing_and_constant_differences_are_certain():
    x = autoregressive(0.5, 50, 2, 13)
    found = bootstrap([x, x + np.array([0.0, 1.0])], difference)
    np.testing.assert_allclose(found.lower, [0, -1], atol=1e-12)
    np.testing.assert_allclose(found.upper, [0, -1], atol=1e-12)
    np.testing.assert_allclose(found.p_value, [1, 0], atol=1e-12)


def test_blocks_are_longer_for_longer_correlations():
    lengths = []
    for phi in (0.0, 0.5, 0.8):
        gamma = autocovariances(autoregressive(phi, 400, 200, 14), n_lags(400))
        lengths.append(automatic_lengths(gamma, 400).mean())
        assert abs(lag_one(gamma, 400).mean() - phi) < 0.03
    # The rule's optimum for these processes is 1, 9.6 and 22.7 starts, before rounding up.
    assert lengths[0] < 3 and 7 < lengths[1] < 12 and 16 < lengths[2] < 27


def test_autocovariances_are_those_of_the_definition():
    x = autoregressive(0.7, 30, 3, 15)
    centred = x - x.mean(0)
    expected = [(centred[: 30 - k] * centred[k:]).sum(0) / 30 for k in range(8)]
    np.testing.assert_allclose(autocovariances(x, 8), expected, atol=1e-13)


def test_inflation_is_the_variance_of_the_mean_over_that_of_its_bootstrap():
    n, b, phi = 40, 4, 0.6
    lag = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    covariance = phi**lag
    of_mean = covariance.sum() / n**2
    weights = np.stack([np.isin(np.arange(n), (j + np.arange(b)) % n) for j in range(n)]) - b / n
    of_bootstrap = np.einsum("ji,ik,jk->j", weights, covariance, weights).mean() / (n * b)
    found = inflation(np.array([phi]), b, n)[0]
    # Blocks across the end of the series join its last and first values: 1e-3 is left out.
    np.testing.assert_allclose(found, of_mean / of_bootstrap, rtol=3e-3)
    np.testing.assert_allclose(independent_starts(np.array([phi]), n), 1 / of_mean, rtol=1e-9)


def test_false_discovery_rate_is_the_procedure_of_benjamini_and_hochberg():
    # The example of their paper, section 3.2: the four smallest of 15 at a rate of 0.05.
    p = np.array([
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
        0.5719, 0.6528, 0.7590, 1.0000,
    ])  # fmt: skip
    found = discoveries(np.append(p[::-1], np.nan), 0.05)
    np.testing.assert_array_equal(found, [False] * 11 + [True] * 4 + [False])
    assert not discoveries([0.3, 0.9], 0.05).any() and not discoveries([np.nan], 0.05).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 95}, "confidence 95; expected a number between 0 and 1"),
        ({"block_length": 0}, "block length 0; expected a number of starts from 1"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Settings(**options)
