"""Differences of two forecasts whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.verification.scores_file import NOTES
from forecast.verification.significance.comparison_report import headline, markdown, table
from forecast.verification.significance.intervals import Settings
from forecast.verification.significance.pairing import differences
from tests.forecast.verification.significance.made_scores import made_scores

NAMES = ("a.nc", "b.nc")


def compared(a, b, **options):
    return differences(a, b, NAMES, Settings(), **options)


def test_difference_is_a_minus_b_over_the_starts_that_both_have():
    a, b = made_scores(50), made_scores(50, factor=1.2, own_seed=2, first=15)
    found = compared(a, b)
    common = slice(a.init_time[15], a.init_time[-1])
    of_a, of_b = (
        np.sqrt(x.rmse_each.sel(forecast="model", init_time=common).astype(float).mean("init_time"))
        for x in (a, b)
    )
    np.testing.assert_allclose(found.rmse_a, of_a, rtol=1e-6)
    np.testing.assert_allclose(found.rmse_b, of_b, rtol=1e-6)
    np.testing.assert_allclose(found.rmse_difference, of_a - of_b, atol=1e-6)
    assert found.rmse_difference.dims == ("region", "channel", "lead_time")
    assert (found.n_starts == 35).all() and found.attrs["n_common_starts"] == 35


def test_a_small_difference_of_paired_errors_is_certain_and_none_is_not():
    a = made_scores(60, phi=0.5)
    better, same = (made_scores(60, phi=0.5, factor=f, own_seed=2) for f in (0.95, 1.0))
    found = compared(a, better)
    # 5 % of the mean square error, at an own part of the errors of 4 % and a shared one of 30 %.
    assert (found.rmse_significant == 1).all() and (found.rmse_difference_lower > 0).all()
    assert (found.rmse_p_value < 0.01).all()
    assert found.rmse_significant.dtype == np.int8
    assert compared(a, same).rmse_significant.mean() < 0.3
    swapped = compared(better, a)
    np.testing.assert_allclose(swapped.rmse_difference, -found.rmse_difference, rtol=1e-6)
    np.testing.assert_allclose(
        swapped.rmse_difference_upper, -found.rmse_difference_lower, rtol=1e-5
    )


def test_common_lead_times_channels_and_regions_in_the_order_of_the_first():
    a = made_scores(20, channels=("t850", "z500", "u10"), leads=(6, 12, 24, 48))
    b = made_scores(20, channels=("q700", "z500", "t850"), leads=(12, 24, 36), regions=("global",))
    found = compared(a, b)
    assert found.channel.values.tolist() == ["t850", "z500"]
    assert (found.lead_time / np.timedelta64(1, "h")).values.tolist() == [12, 24]
    assert found.region.values.tolist() == ["global"]
    of_b = np.sqrt(
        b.rmse_each.sel(forecast="model", channel="t850").astype(float).mean("init_time")
    )
    np.testing.assert_allclose(found.rmse_b[0, 0], of_b[0, :2], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": 70}, "a.nc and b.nc have no start in common: 2020-01-01 00:00 to 2020-01-20 "),
        ({"leads": (36, 48)}, "no lead time in common: 6 h to 24 h against 36 h to 48 h"),
        ({"channels": ("u10",)}, "no channel in common: z500 to t850 against u10"),
        ({"regions": ("europe",)}, "no region in common: global to tropics against europe"),
    ],
)
def test_nothing_in_common_is_one_error_that_names_both(change, message):
    with pytest.raises(ValueError, match=message):
        compared(made_scores(20), made_scores(20, **change))


def test_scores_by_other_conventions_are_refused():
    b = made_scores(20).assign_attrs(conventions_of_scores="weatherbench2")
    with pytest.raises(ValueError, match="a.nc and b.nc cannot be compared: conventions default"):
        compared(made_scores(20), b)


def test_lead_times_without_truth_have_fewer_starts_and_ended_forecasts_no_difference():
    a, b = made_scores(30), made_scores(30, own_seed=2)
    for scores in (a, b):
        for each in ("rmse_each", "mae_each", "acc_each"):
            scores[each][18:, ..., 2] = np.nan  # the truth ends
    for each in ("rmse_each", "mae_each", "acc_each"):
        b[each][4, ..., 1:] = np.nan  # b ends
    found = compared(a, b)
    np.testing.assert_array_equal(found.n_starts[0, 0], [30, 29, 17])
    assert found.rmse_difference[..., 0].notnull().all()
    assert (
        found.rmse_difference[..., 1:].isnull().all() and not found.rmse_significant[..., 1:].any()
    )
    assert "b.nc had ended" in found.attrs[NOTES]
    shorter = compared(a, made_scores(30, own_seed=2))
    assert shorter.rmse_difference[..., 2].isnull().all(), "b has a truth that a lacks"


def test_few_common_starts_have_a_difference_and_a_note_and_nothing_is_certain():
    found = compared(made_scores(9), made_scores(9, factor=4.0))
    assert found.rmse_difference.notnull().all() and found.rmse_difference_lower.isnull().all()
    assert not found.rmse_significant.any()
    assert "no intervals: 9 starts, and 10 are needed" in headline(found)
    assert "A (not certain)" in table(found)


def test_false_discoveries_are_limited_over_all_points_of_a_score():
    channels = tuple(f"c{i}" for i in range(60))
    a, b = (made_scores(40, own_seed=seed, channels=channels) for seed in (1, 2))
    pointwise, together = compared(a, b), compared(a, b, false_discovery=True)
    assert 0.02 < pointwise.rmse_significant.mean() < 0.09
    assert together.rmse_significant.mean() < 0.01
    assert "5 % are significant by chance" in pointwise.attrs["comment"]
    assert "false discovery rate" in together.rmse_significant.attrs["method"]
    # Where all differences are real, all are found.
    assert (compared(a, made_scores(40, own_seed=2, channels=channels, factor=2.0),
                     false_discovery=True).rmse_significant == 1).all()  # fmt: skip


def test_crps_of_an_ensemble_is_compared_with_the_absolute_error_of_a_single_forecast():
    a, b = made_scores(20), made_scores(20, own_seed=2)
    a["crps_each"] = 0.7 * a.mae_each
    found = compared(a, b)
    np.testing.assert_allclose(found.crps_b, found.mae_b, rtol=1e-6)
    np.testing.assert_allclose(found.crps_a, 0.7 * found.mae_a, rtol=1e-6)
    assert "crps_difference" not in compared(b, b)
    assert table(found).count("crps") > 1


def test_the_report_says_who_is_better_where_by_how_much_and_how_certain():
    a, b = made_scores(60), made_scores(60, factor=0.8, own_seed=2)
    found = compared(a, b)
    text = table(found)
    assert "z500 (rmse): B is better at 3 of 3 lead times, certain at 3" in text
    card = next(line for line in text.splitlines() if line.split()[:2] == ["z500", "global"])
    assert card.split()[2:] == ["B", "B", "B"]
    row = next(line for line in text.splitlines() if line.startswith("z500 (m)"))
    low, high = (
        f"{float(found['rmse_difference' + e][0, 0, 0]):+.3g}" for e in ("_lower", "_upper")
    )
    assert (
        low.rstrip("0") in row and high.rstrip("0") in row and " B " in row and row.endswith("60")
    )
    share = 100 * float(found.rmse_difference[0, 0, 0] / found.rmse_b[0, 0, 0])
    assert f"{share:+.1f}" in row
    written = markdown(found)
    assert "| z500 | global | B | B | B |" in written and "## ACC" not in written
    assert "## Anomaly correlation coefficient" in written and "### Region tropics" in written


def test_the_sign_of_a_better_score_follows_the_score():
    a = made_scores(60)
    found = compared(a, made_scores(60, factor=2.0, own_seed=2))
    assert (found.rmse_difference < 0).all() and (found.acc_difference > 0).all()
    marks = {line.split("|")[3].strip() for line in markdown(found).splitlines()
             if line.startswith(("| z500 | global", "| t850 | global"))}  # fmt: skip
    assert marks == {"A"}
    assert "better where this is positive" in found.acc_difference.attrs["comment"]
