"""Score cards, rank histograms, reliability diagrams and curves of scores files."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from forecast.plotting.curves import draw_scores
from forecast.plotting.scores.card import draw_scorecard
from forecast.plotting.scores.files import ScoresFile
from forecast.plotting.scores.ranks import draw_ranks
from forecast.plotting.scores.reliability import draw_reliability
from tests.forecast.plotting.score_files import write_comparison, write_scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("scores")
    write_scores(path / "s.nc")
    write_comparison(path / "c.nc")
    return path


@pytest.fixture
def scores(folder):
    return ScoresFile(folder / "s.nc")


@pytest.fixture
def comparison(folder):
    return ScoresFile(folder / "c.nc")


def test_a_card_is_blue_where_a_is_better_for_scores_of_either_sign(comparison):
    figure = draw_scorecard(comparison, regions=["global"])
    rmse, acc = (axes.collections[0] for axes in figure.axes[:2])
    gain = rmse.get_array().reshape(2, 6)
    day = np.arange(1, 7)
    np.testing.assert_allclose(gain[0], 2 * day, rtol=1e-6)  # per cent, of z500
    np.testing.assert_allclose(gain[1], -2 * (day - 2.5), rtol=1e-6)
    np.testing.assert_allclose(acc.get_array().reshape(2, 6), gain, rtol=1e-6)
    low, high = rmse.get_clim()
    assert low == -high
    red, _, blue, _ = rmse.get_cmap()(rmse.norm(high))
    assert blue > red
    assert [axes.get_title() for axes in figure.axes[:2]] == ["rmse", "acc"]
    assert "[%]" in figure.axes[-1].get_xlabel()


def test_triangles_mark_significant_differences_and_point_up_where_a_is_better(comparison):
    axes = draw_scorecard(comparison, rows=["rmse"], regions=["global"]).axes[0]
    better, worse = (points.get_offsets().tolist() for points in axes.collections[1:])
    assert better == [[column, 0] for column in range(1, 6)]  # z500 from day 2 on
    assert worse == [[column, 1] for column in (4, 5)]  # t850 on days 5 and 6


def test_a_card_without_scores_of_b_is_in_half_widths_of_the_interval(folder, tmp_path):
    with xr.open_dataset(folder / "c.nc", decode_timedelta=False) as data:
        data = data.drop_vars(["rmse_b", "acc_b"])
        for name, side in (("lower", -1), ("upper", 1)):
            data[f"rmse_difference_{name}"] = data.rmse_difference + side * 4
        data.to_netcdf(tmp_path / "c.nc")
    figure = draw_scorecard(ScoresFile(tmp_path / "c.nc"), rows=["rmse"], regions=["global"])
    shown = figure.axes[0].collections[0].get_array().reshape(2, 6)
    np.testing.assert_allclose(shown[0], 0.5 * np.arange(1, 7) ** 2, rtol=1e-6)
    assert "half-widths of the interval" in figure.axes[-1].get_xlabel()


def test_rank_histograms_have_the_shares_of_the_file(scores):
    figure = draw_ranks(scores, variables=["t850"], leads=["2d"], region="tropics")
    (axes,) = figure.axes
    shown = [bar.get_height() for bar in axes.patches]
    expected = scores.data.rank_histogram.sel(
        forecast="model", region="tropics", channel="t850"
    ).isel(lead_time=2)
    np.testing.assert_allclose(shown, expected)
    assert axes.get_lines()[0].get_ydata()[0] == pytest.approx(1 / 9)
    assert "8 members, tropics" in figure.get_suptitle()


def test_a_reliability_diagram_shows_frequency_over_probability(scores):
    axes = draw_reliability(scores, variables=["z500"], leads=["3d"]).axes[0]
    diagonal, curve = axes.get_lines()
    p = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(curve.get_xdata(), p)
    np.testing.assert_allclose(curve.get_ydata(), 0.5 + 0.6 * (p - 0.5))
    assert curve.get_label() == "z500>q90"
    assert len(axes.get_legend().get_texts()) == 1, "the event of t850 is not drawn for z500"


def test_curves_have_intervals_the_spread_and_the_region_asked_for(scores):
    figure = draw_scores(scores, variables=["z500"], region="tropics")
    rmse = figure.axes[0]
    lines = {line.get_label(): line.get_ydata() for line in rmse.get_lines()}
    of_model = scores.data.sel(region="tropics", channel="z500", forecast="model")
    np.testing.assert_array_equal(lines["model"], of_model.rmse)
    np.testing.assert_array_equal(lines["spread of the members"], of_model.spread)
    assert len(rmse.collections) == 2  # intervals of model and persistence
    assert "tropics" in figure.get_suptitle() and "95 % intervals" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("scorecard", "s.nc"), "compares no forecasts; make a file that does"),
        (("scorecard", "c.nc", "--score", "mse"), "has no compared score 'mse'; it has rmse, acc"),
        (("scorecard", "c.nc", "--region", "arctic"), "no region 'arctic'; it has global, tropics"),
        (("scorecard", "c.nc", "c.nc", "c.nc"), "a score card of 3 files"),
        (("ranks", "c.nc"), "has no rank histogram; score a forecast with members"),
        (("ranks", "s.nc", "--lead", "9d"), "no lead time '9d'; it has 0 d to 6 d"),
        (("ranks", "s.nc", "--variable", "z5"), r"no variable 'z5'; .*\(nearest: z500\)"),
        (("reliability", "c.nc"), "has no probabilities of events"),
        (("scores", "s.nc", "--region", "tropic"), r"no region 'tropic'; .*\(nearest: tropics\)"),
        (("scores", "c.nc"), "is not a scores file"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_a_scores_file_lacks_is_refused(folder, tmp_path, refused, words, message):
    command, *rest = words
    rest = [folder / word if word.endswith(".nc") else word for word in rest]
    import re

    line = refused("plot", command, *rest, "--out", tmp_path / "p.png")
    assert re.search(message, line), line
    assert list(tmp_path.iterdir()) == []
