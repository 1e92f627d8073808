"""Maps of ensembles, and what is refused without one."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.plotting import ensembles
from forecast.plotting.ensembles import draw_spaghetti, draw_spread, mean_and_spread
from forecast.plotting.projections import map_view
from forecast.plotting.selection import Selection
from tests.forecast.plotting.ensemble_files import with_members
from tests.forecast.stand_in import Turning


@pytest.fixture(scope="module")
def made(make_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensembles")
    store = make_store(folder / "s.zarr", "files", mask=True)
    run_rollout(Turning(store, 0.9), store, folder / "f.nc", n_steps=3)
    with_members(folder / "f.nc", folder / "e.nc", 5)
    return folder


@pytest.fixture
def ensemble(made):
    return Selection.find(ForecastFile(made / "e.nc"))


def test_mean_and_spread_are_those_of_all_members(ensemble):
    mean, spread = mean_and_spread(ensemble, "t2m", 2)
    members = ensemble.file.ensemble(0, slice(2, 3))[:, 0, 1].astype(np.float64)
    np.testing.assert_allclose(mean, members.mean(0), atol=1e-7)
    np.testing.assert_allclose(spread, members.std(0, ddof=1), rtol=1e-6)
    mean, spread = mean_and_spread(ensemble, "sst", 0)  # all members start alike
    np.testing.assert_allclose(spread[np.isfinite(spread)], 0, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(mean), ~ensemble.file.mask[0])


def test_the_error_of_the_mean_has_the_colours_of_the_spread(made, ensemble, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        ensembles, "draw_panels", lambda figure, panels, *rest: drawn.extend(panels)
    )
    draw_spread(ensemble, "t2m", 3, map_view(), truth=made / "s.zarr")
    assert [panel.title for panel in drawn] == ["Mean", "Spread", "Error of the mean"]
    assert drawn[1].scale == drawn[2].scale and drawn[1].low == 0
    values = np.concatenate([drawn[1].field.ravel(), drawn[2].field.ravel()])
    assert np.percentile(values, 99) < drawn[1].high <= values.max()


def test_members_that_start_from_perturbed_states_are_drawn_beside_their_truth(made, tmp_path):
    file = ForecastFile(with_members(made / "f.nc", tmp_path / "e.nc", 3, at_start=0.5))
    figure = draw_spread(Selection.find(file), "t2m", 2, map_view(), truth=made / "s.zarr")
    assert "Error of the mean" in [axes.get_title() for axes in figure.axes]


def test_contours_of_every_member_are_drawn_at_the_levels(ensemble):
    axes = draw_spaghetti(ensemble, "t2m", 3, map_view(), levels=[0.05, -0.02]).axes[0]
    contours = [c for c in axes.collections if hasattr(c, "levels")]
    assert len(contours) == 5 + 1  # and the mean
    assert all(set(c.levels) <= {-0.02, 0.05} for c in contours)
    assert contours[-1].get_linewidths().max() > contours[0].get_linewidths().max()


@pytest.mark.parametrize("command", ["spaghetti", "spread"])
def test_a_single_forecast_is_no_ensemble(made, tmp_path, refused, command):
    words = ("plot", command, made / "f.nc", "--variable", "t2m", "--out", tmp_path / "p.png")
    assert "has no members; this picture needs an ensemble" in refused(*words)
    words = ("plot", "map", made / "f.nc", "--variable", "t2m", "--out", tmp_path / "p.png")
    assert "has no members, and member 2 was asked for" in refused(*words, "--member", "2")
    words = ("plot", "map", made / "e.nc", "--variable", "t2m", "--out", tmp_path / "p.png")
    assert "has no member 9; it has 5 members, from 1 to 5" in refused(*words, "--member", "9")
    assert list(tmp_path.iterdir()) == []


def test_the_title_names_the_member(made):
    file = ForecastFile(made / "e.nc")
    assert "member 2, lead 1 month" in Selection.find(file, member=2).title("x", 1)
    assert "mean of 5 members" in Selection.find(file).title("x", 1)
    np.testing.assert_array_equal(
        Selection.find(file, member=2).field("t2m", 1), file.field("t2m", 0, 1, member=1)
    )
