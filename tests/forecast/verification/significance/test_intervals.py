"""Intervals in the scores file, from scores whose distribution is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from forecast.verification.report import headline
from forecast.verification.scores_file import NOTES
from forecast.verification.significance.intervals import Settings, with_intervals
from tests.forecast.verification.significance.made_scores import made_scores


def test_every_score_with_values_of_each_start_has_an_interval_about_it():
    scores = with_intervals(made_scores(40), Settings())
    for name in ("rmse", "mae", "acc", "skill"):
        value, low, high = (scores[name + end] for end in ("", "_lower", "_upper"))
        assert low.dims == high.dims == value.dims
        assert ((low < value) & (value < high)).all()
        assert low.attrs["confidence"] == 0.95 and "block bootstrap" in low.attrs["method"]
        assert "seed 0" in high.attrs["method"]
    assert NOTES not in scores.attrs


def test_interval_of_a_root_is_the_root_of_the_interval_of_the_mean_square():
    scores = made_scores(60)
    mean_square = with_intervals(scores.assign(mae_each=scores.rmse_each), Settings())
    # Widening is of the root in one case and of the mean in the other: equal to second order.
    np.testing.assert_allclose(mean_square.rmse_lower**2, mean_square.mae_lower, rtol=0.02)


def test_skill_is_paired_and_its_interval_leaves_zero_where_both_share_their_errors():
    scores = made_scores(60)
    found = with_intervals(scores, Settings())
    skill = found.isel(baseline=0)
    assert (skill.skill_lower > 0).all()  # 10 % better at each start, whatever the day
    model = found.sel(forecast="model")
    width = (skill.skill_upper - skill.skill_lower).mean()
    assert width < 0.3 * (model.rmse_upper - model.rmse_lower).mean()


def test_the_headline_says_at_how_many_lead_times_the_model_is_certainly_better():
    scores = made_scores(60).assign(n_forecasts=("lead_time", [60, 60, 60]))
    lines = headline(with_intervals(scores, Settings()))
    said = "better than persistence at all lead times, to 24 h (certain at 3 of 3 lead times)"
    assert f"z500: {said}" in lines
    assert "certain" not in "".join(headline(scores))


def test_order_of_the_starts_in_the_file_does_not_matter():
    scores = made_scores(40, phi=0.6)
    mixed = scores.isel(init_time=np.random.default_rng(0).permutation(40))
    a, b = (with_intervals(x, Settings()) for x in (scores, mixed))
    np.testing.assert_allclose(a.rmse_lower, b.rmse_lower, rtol=1e-6)


def test_trajectories_are_independent_and_starts_of_a_series_are_not():
    series = made_scores(200, phi=0.8)
    trajectories = series.rename(init_time="trajectory").assign_coords(
        init_time=("trajectory", series.init_time.values)
    )
    a, b = (with_intervals(x, Settings()) for x in (series, trajectories))
    width = [(x.mae_upper - x.mae_lower).mean() for x in (a, b)]
    assert width[0] > 2 * width[1]  # the theory has a factor of 3
    assert "blocks of one start each" in b.mae_lower.attrs["method"]
    fixed = with_intervals(series, Settings(block_length=1))
    np.testing.assert_allclose(fixed.mae_lower, b.mae_lower, rtol=1e-6)


def test_too_few_starts_leave_a_note_and_no_intervals():
    scores = with_intervals(made_scores(9), Settings())
    assert scores.attrs[NOTES] == "no intervals: 9 starts, and 10 are needed"
    assert not [name for name in scores if str(name).endswith(("_lower", "_upper"))]


def test_lead_times_with_too_few_starts_are_missing_and_the_file_says_so():
    scores = made_scores(40)
    scores["rmse_each"][8:, ..., 2] = np.nan
    found = with_intervals(scores, Settings())
    assert found.rmse_lower[..., 2].isnull().all() and found.rmse_lower[..., :2].notnull().all()
    assert "no interval of some score at 1 of 3 lead times" in found.attrs[NOTES]
    assert "fewer than 10 starts" in found.rmse_lower.attrs["comment"]


def test_a_missing_score_has_no_interval():
    scores = made_scores(40)
    scores["rmse"][0, 0, 0, 1] = np.nan  # a forecast had ended
    found = with_intervals(scores, Settings())
    assert np.isnan(found.rmse_lower[0, 0, 0, 1]) and np.isfinite(found.rmse_lower[0, 0, 1, 1])
    assert NOTES not in found.attrs


def test_spread_skill_has_an_interval_of_the_ratio():
    scores = made_scores(60)
    dims = scores.rmse.dims
    m = 4
    scores["spread_each"] = 0.6 * scores.rmse_each
    scores["spread"] = np.sqrt(scores.spread_each.mean("init_time"))
    scores["spread_skill"] = np.sqrt((m + 1) / m) * scores.spread / scores.rmse
    scores["spread_skill"].attrs["long_name"] = scores["spread"].attrs["long_name"] = "x"
    scores["rank_histogram"] = xr.DataArray(
        np.full((*scores.rmse.shape, m + 1), 0.2), dims=(*dims, "rank")
    )
    found = with_intervals(scores, Settings())
    # The ratio is the same at each start: it is certain.
    np.testing.assert_allclose(found.spread_skill_lower, np.sqrt(1.25 * 0.6), rtol=1e-5)
    np.testing.assert_allclose(found.spread_skill_upper, np.sqrt(1.25 * 0.6), rtol=1e-5)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_seed_decides_the_resamples(seed):
    a, b = (with_intervals(made_scores(40), Settings(seed=s)) for s in (seed, 7))
    assert a.rmse_lower.equals(b.rmse_lower) == (seed == 7)
