"""Hovmöller diagrams, sections and series show the means that they name."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest

from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.plotting.hovmoeller import Profile, draw_hovmoeller
from forecast.plotting.places import Box
from forecast.plotting.sections import draw_section, levels_of, plot_section
from forecast.plotting.selection import Selection
from forecast.plotting.series import draw_series
from sphere_ops.grid import Grid
from tests.forecast.plotting.ensemble_files import with_members
from tests.forecast.stand_in import Turning

LEVELS = ("t1000", "t500", "t100", "t2m")


@pytest.fixture(scope="module")
def made(make_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")
    store = make_store(folder / "s.zarr", "files", channels=LEVELS)
    run_rollout(Turning(store, 0.9), store, folder / "f.nc", n_steps=4)
    with_members(folder / "f.nc", folder / "e.nc", 7)
    return folder


@pytest.fixture
def single(made):
    return Selection.find(ForecastFile(made / "f.nc"))


@pytest.fixture
def ensemble(made):
    return Selection.find(ForecastFile(made / "e.nc"))


def test_means_are_weighted_by_area_and_leave_out_missing_points():
    grid = Grid.legendre_gauss(8, 16)
    latitude = np.radians(grid.latitude.numpy())[:, None]
    field = np.broadcast_to(np.sin(latitude) ** 2, grid.shape).copy()
    sphere = Box(-90, 90, 0, 360)
    along = Profile(grid, "longitude", sphere).means(field[None])
    np.testing.assert_allclose(along, np.full((1, 16), 1 / 3), rtol=1e-6)  # Gaussian quadrature
    field[:, 3] = np.nan
    means = Profile(grid, "latitude", sphere).means(field[None])
    np.testing.assert_allclose(means[0], np.sin(latitude[:, 0]) ** 2)
    assert np.isnan(Profile(grid, "longitude", sphere).means(field[None])[0, 3])


def test_longitudes_of_a_box_run_eastward_across_the_date_line():
    grid = Grid.legendre_gauss(
        8,
        16,
    )
    profile = Profile(grid, "longitude", Box.parse("-90,90,150,-150"))
    np.testing.assert_allclose(profile.coordinate, [157.5, 180.0, 202.5])
    columns = np.broadcast_to(np.arange(16.0), grid.shape)
    np.testing.assert_allclose(profile.means(columns[None]), [[7, 8, 9]])
    # Rows at both poles reach them, and others end between rows.
    assert Profile(grid, "latitude", Box(-90, 90, 0, 360)).edges[[0, -1]].tolist() == [90, -90]


@pytest.mark.parametrize("along", ["longitude", "latitude"])
def test_a_diagram_shows_forecast_truth_and_error_at_all_lead_times(made, single, along):
    figure = draw_hovmoeller(single, "t1000", along=along, truth=made / "s.zarr")
    shown = [axes.collections[0].get_array() for axes in figure.axes[:3]]
    n = 16 if along == "longitude" else 8
    assert {s.shape for s in shown} == {(5, n) if along == "longitude" else (n, 5)}
    np.testing.assert_allclose(shown[0] - shown[1], shown[2])
    start = shown[2][0] if along == "longitude" else shown[2][:, 0]
    np.testing.assert_allclose(start, 0, atol=1e-5)
    limits = [axes.collections[0].get_clim() for axes in figure.axes[:3]]
    assert limits[0] == limits[1] and limits[2][0] == -limits[2][1]
    time = figure.axes[0].get_ylim() if along == "longitude" else figure.axes[0].get_xlim()
    assert time == ((4.5, -0.5) if along == "longitude" else (-0.5, 4.5))


def test_levels_are_those_of_one_variable_from_the_top_down(made):
    file = ForecastFile(made / "f.nc")
    assert levels_of(file, "t") == {100: "t100", 500: "t500", 1000: "t1000"}
    assert levels_of(file, "t2m") == levels_of(file, "u") == {}


def test_a_section_shows_zonal_means_and_reaches_both_poles(single):
    axes = draw_section(single, "t", 2).axes[0]
    assert axes.get_xlim() == (-90, 90) and axes.get_ylim() == (1000, 100)
    assert axes.get_yscale() == "log"
    (filled,) = [c for c in axes.collections if c.get_array() is not None and c.filled]
    low, high = filled.get_clim()
    levels = ["t100", "t500", "t1000"]
    means = np.stack([single.field(name, 2).mean(1) for name in levels])
    assert (low, high) == pytest.approx(tuple(np.percentile(means, [0.5, 99.5])))


def test_a_variable_without_levels_is_drawn_over_lead_time(made, tmp_path):
    plot_section(made / "f.nc", "t2m", tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="t2m on a single level, .*leave out --lead"):
        plot_section(made / "f.nc", "t2m", tmp_path / "t.png", lead="1mo")
    with pytest.raises(ValueError, match="has no variable 'u'; it has t1000"):
        plot_section(made / "f.nc", "u", tmp_path / "t.png")
    assert not (tmp_path / "t.png").exists()


def test_a_series_shows_the_quantiles_of_the_members(made, ensemble):
    box = Box.parse("0,90,0,180")
    figure = draw_series(ensemble, variables=["t1000"], box=box, truth=made / "s.zarr")
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines()}
    inside = box.points(ensemble.file.grid)
    area = np.broadcast_to(ensemble.file.grid.area_weights.numpy(), inside.shape)
    weights = np.where(inside, area, 0)
    fields = ensemble.file.ensemble(0, slice(None))[:, :, 0]
    means = (fields * weights).sum((-2, -1)) / weights.sum()
    np.testing.assert_allclose(lines["median"], np.median(means, 0), rtol=1e-6)
    assert set(lines) == {"median", "truth"}
    outer = figure.axes[0].collections[0].get_datalim(figure.axes[0].transData)
    assert outer.y1 == pytest.approx(np.quantile(means, 0.95, axis=0).max(), rel=1e-6)


def test_a_series_at_a_point_of_the_grid_has_its_values(single):
    grid = single.file.grid
    point = float(grid.latitude[2]), float(grid.longitude[5]) - 360
    figure = draw_series(single, variables=["t2m", "t500"], point=point)
    values = single.file.states(0, slice(None))[:, :, 2, 5]
    for axes, c in zip(figure.axes, (3, 1), strict=True):
        np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), values[:, c], rtol=1e-5)
    with pytest.raises(ValueError, match="either at a point or over a region"):
        draw_series(single, point=point, box=Box.parse("0,10,0,10"))


def test_a_forecast_that_ended_is_drawn_until_then(made, tmp_path):
    path = tmp_path / "f.nc"
    path.write_bytes((made / "f.nc").read_bytes())
    with netCDF4.Dataset(path, "r+") as file:
        for name in LEVELS:
            file[name][0, 3:] = np.nan
        last = file.createVariable("last_step", "i4", ("init_time",))
        last[:] = np.where(np.arange(len(file.dimensions["init_time"])) == 0, 2, 4)
    selection = Selection.find(ForecastFile(path))
    values = draw_series(selection, variables=["t500"]).axes[0].get_lines()[0].get_ydata()
    assert np.isfinite(values).tolist() == [True, True, True, False, False]
    shown = draw_hovmoeller(selection, "t500").axes[0].collections[0].get_array()
    assert np.isfinite(np.ma.filled(shown, np.nan)).all(1).tolist() == [True] * 3 + [False] * 2
    with pytest.raises(ValueError, match="ended at step 2; there is nothing to draw at 3 months"):
        draw_section(selection, "t", 3)
