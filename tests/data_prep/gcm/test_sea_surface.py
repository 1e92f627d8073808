"""Modes of the sea surface temperature and their amplitudes."""

import numpy as np

from data_prep.gcm.worker.sea_surface import SeaSurfaceModes


def red_noise(n, lag_one, seed):
    rng = np.random.default_rng(seed)
    x = np.zeros(n)
    for i in range(1, n):
        x[i] = lag_one * x[i - 1] + np.sqrt(1 - lag_one**2) * rng.standard_normal()
    return x


def test_a_single_pattern_is_found_with_its_size_and_its_decorrelation_time():
    rng = np.random.default_rng(1)
    pattern = rng.standard_normal((6, 4))
    pattern[2, 2] = 4.0  # the largest is positive
    series = red_noise(20000, 0.8, seed=2)
    weights = rng.uniform(0.5, 1, (6, 4))
    weights[0] = 0
    modes = SeaSurfaceModes.of(series[:, None, None] * pattern, weights, 1)
    np.testing.assert_allclose(modes.patterns[0, 1:], pattern[1:] * series.std(), rtol=1e-6)
    assert (modes.patterns[0, 0] == 0).all()
    np.testing.assert_allclose(modes.decorrelation, -30.44 / np.log(0.8), rtol=0.1)


def test_amplitudes_have_variance_one_and_the_correlation_of_their_time():
    modes = SeaSurfaceModes(np.ones((2, 1, 1)), np.array([10.0, 30.0]))
    x = modes.amplitudes(200_000, seed=3)
    np.testing.assert_allclose(x.var(0), 1, rtol=0.08)
    for mode, time in enumerate((10.0, 30.0)):
        lagged = np.corrcoef(x[:-10, mode], x[10:, mode])[0, 1]
        np.testing.assert_allclose(lagged, np.exp(-10 / time), atol=0.03)
    assert abs(np.corrcoef(x.T)[0, 1]) < 0.05


def test_the_first_days_do_not_depend_on_the_length_but_on_the_seed():
    modes = SeaSurfaceModes(np.ones((1, 1, 1)), np.array([100.0]))
    long, short = modes.amplitudes(400, seed=5), modes.amplitudes(100, seed=5)
    np.testing.assert_array_equal(long[:100], short)
    assert not np.allclose(long[:100], modes.amplitudes(100, seed=6))
