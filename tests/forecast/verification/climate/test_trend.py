"""Trends: exact lines, error bars that cover, and a bounded number of bins."""

from __future__ import annotations

import numpy as np

from forecast.verification.climate.diagnostics.global_series import GlobalMeans
from forecast.verification.climate.trend import MOST_BINS, BinnedSeries, fit_trend
from tests.forecast.verification.climate.worlds import GRID, feed, red_noise, setting, times


def test_a_straight_line_has_its_slope_and_no_error():
    time = np.linspace(0, 10, 200)
    slope, error = fit_trend(time, 3 - 0.7 * time, seasonal=False)
    np.testing.assert_allclose(slope, -0.7, rtol=1e-12)
    assert error == 0


def test_the_error_bar_of_a_trend_in_red_noise_covers_the_truth():
    time = np.arange(400) / 40
    noise = red_noise(np.random.default_rng(0), 400, 500, 0.7)
    fits = np.array([fit_trend(time, 0.2 * time + x, seasonal=False) for x in noise.T])
    inside = np.abs(fits[:, 0] - 0.2) < 1.96 * fits[:, 1]
    # 95 % ± 2 % of 500 series; the estimate of the autocorrelation is a little too small.
    assert 0.91 < inside.mean() < 0.98


def test_an_annual_cycle_is_no_trend():
    time = np.arange(0, 4.4, 1 / 12)
    cycle = 10 * np.sin(2 * np.pi * time) + 2 * np.cos(4 * np.pi * time)
    slope, _ = fit_trend(time, cycle + 0.3 * time, seasonal=True)
    np.testing.assert_allclose(slope, 0.3, rtol=1e-9)
    slope, _ = fit_trend(time, cycle + 0.3 * time, seasonal=False)
    assert abs(slope - 0.3) > 0.1


def test_too_few_points_have_no_trend():
    assert np.isnan(fit_trend(np.arange(5.0), np.arange(5.0), seasonal=False)).all()


def test_merged_bins_are_means_of_equal_numbers_of_times():
    n = 5000
    time, values = np.arange(n) * 0.5, np.random.default_rng(0).normal(size=(n, 2))
    values[17, 1] = np.nan
    series = BinnedSeries(2)
    for part in np.array_split(np.arange(n), 37):
        series.add(time[part], values[part])
    found_time, found = series.bins
    width = 8  # the smallest power of 2 for which 5000 times fit into 1024 bins
    assert len(found) == n // width <= MOST_BINS
    np.testing.assert_allclose(found_time, time.reshape(-1, width).mean(1), rtol=1e-12)
    expected = np.nanmean(values.reshape(-1, width, 2), 1)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_the_trend_of_area_means_is_per_year_in_every_calendar():
    for calendar in ("standard", "noleap", "360_day"):
        facts = setting(("t2m",), time_step="1mo", calendar=calendar, long_term=True)
        time = times(120, "1mo", calendar)
        years = time.astype("M8[Y]").astype(int) + facts.interval.calendar.year_fraction(time)
        fields = np.broadcast_to(0.05 * years[:, None, None, None], (120, 1, *GRID.shape))
        result = feed(GlobalMeans, facts, fields, time).result([0])
        np.testing.assert_allclose(result["global_trend"], 0.05, rtol=1e-9)
