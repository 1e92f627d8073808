"""Maps without seams or holes, coastlines without a network, and curves of the scores."""

from __future__ import annotations

import socket

import numpy as np
import pytest
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from configs.style import (
    ERRORS,
    INK,
    MISSING,
    SIGNED,
    SPREAD,
    VALUES,
    numbers,
    power_of_ten,
    pretty_units,
    quantity,
    with_units,
)
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.model.points.interpolate import at_points
from forecast.plotting import curves, maps, projections
from forecast.plotting.curves import plot_scores, plot_spectrum
from forecast.plotting.figure import colour_range, is_signed
from forecast.plotting.maps import plot_map
from forecast.plotting.panels import make_panels
from forecast.plotting.places import Box
from forecast.plotting.projections import PROJECTIONS, coastline, map_view
from forecast.verification.evaluate import evaluate
from sphere_ops.grid import Grid
from tests.forecast.stand_in import Turning

VIEWS = {
    **{name: map_view(name) for name in PROJECTIONS},
    "oblique": map_view("orthographic", centre=(80, 10)),
    "date line": map_view(box=Box.parse("-30,30,150,-150")),
    "pole": map_view("north-polar", box=Box.parse("50,90,0,360")),
}


@pytest.fixture(scope="module")
def made(make_store, tmp_path_factory):
    """Stores, forecasts and scores of both kinds."""
    folder = tmp_path_factory.mktemp("plots")
    for kind, options in (
        ("files", {"mask": True, "n_times": 96}),
        ("trajectory", {}),
    ):
        store = make_store(folder / f"{kind}.zarr", kind, **options)
        run_rollout(Turning(store, 0.9), store, folder / f"{kind}.nc", n_steps=4)
        evaluate(folder / f"{kind}.nc", store, folder / f"{kind}_scores.nc")
    return folder


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a picture must not need a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("CARTOPY_DATA_DIR", raising=False)


def _smooth(latitude, longitude):
    phi, lam = np.radians(latitude), np.radians(longitude)
    return np.sin(phi) + np.cos(phi) * np.cos(lam - 1) + np.cos(phi) ** 2 * np.sin(2 * lam)


@pytest.mark.parametrize("kind", ["legendre-gauss", "equiangular", "cell-centred"])
def test_interpolation_crosses_the_poles_and_the_last_column(kind):
    grid = Grid(kind, 64, 128, first_longitude=1.25)
    latitude, longitude = np.meshgrid(grid.latitude, grid.longitude, indexing="ij")
    rng = np.random.default_rng(0)
    points = np.r_[rng.uniform(-90, 90, 500), 90, -90, 89.9, -89.9, 0, 0, 0]
    turns = np.r_[rng.uniform(-400, 800, 500), 0, 17, 33, -5, 0.5, 359.9, -0.1]
    found = at_points(_smooth(latitude, longitude), grid, points, turns)
    # Cubic: the fourth power of the spacing, 6e-6, times a fourth derivative of up to 16 and 5/384.
    np.testing.assert_allclose(found, _smooth(points, turns), atol=5e-6)


def test_interpolation_with_gaps_is_bilinear_away_from_them():
    grid = Grid.equiangular(33, 64)
    latitude, longitude = np.meshgrid(grid.latitude, grid.longitude, indexing="ij")
    field = _smooth(latitude, longitude)
    field[10, 20] = np.nan
    rng = np.random.default_rng(0)
    points, turns = rng.uniform(-90, 0, 300), rng.uniform(0, 360, 300)
    found = at_points(field, grid, points, turns)
    # An eighth of the squared spacing times the second derivative, in both directions.
    np.testing.assert_allclose(found, _smooth(points, turns), atol=1.5e-2)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("kind", ["legendre-gauss", "equiangular", "cell-centred"])
def test_a_constant_covers_the_whole_map(kind, view):
    grid = Grid.of(kind, 8, 16)
    image = view.on_map(np.full(grid.shape, 3.5), grid, pixels=200)
    inside = np.isfinite(image)
    np.testing.assert_allclose(image[inside], 3.5)
    middle = image[image.shape[0] // 2]
    assert (
        np.isfinite(middle[1:-1]).all() and np.isfinite(image[[1, -2], image.shape[1] // 2]).all()
    )


def test_a_missing_point_is_missing_around_it_and_nowhere_else():
    grid = Grid.cell_centred(9, 18)
    field = np.ones(grid.shape)
    field[4, 0] = np.nan
    found = at_points(field, grid, np.zeros(5), np.array([0.0, 9.0, -9.0, 11.0, -11.0]))
    np.testing.assert_array_equal(found, [np.nan, np.nan, np.nan, 1.0, 1.0])


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_a_map_is_drawn_in_every_projection(made, tmp_path, monkeypatch, projection):
    out = tmp_path / "map.png"
    monkeypatch.setattr(maps, "PIXELS", 200)
    plot_map(made / "files.nc", "sst", out, lead="2mo", projection=projection,
             truth=made / "files.zarr")  # fmt: skip
    image = imread(out)
    assert min(image.shape[:2]) > 400
    assert len(np.unique(image[::7, ::7, :3].round(2).reshape(-1, 3), axis=0)) > 100
    assert [p.name for p in tmp_path.iterdir()] == ["map.png"]


@pytest.mark.parametrize(
    ("kind", "variable", "asked", "expected"),
    [
        ("files", "sst", None, True),
        ("trajectory", "vorticity", None, False),
        ("trajectory", "vorticity", True, True),
        ("files", "sst", False, False),
    ],
)
def test_only_the_earth_has_coastlines(
    made, tmp_path, monkeypatch, kind, variable, asked, expected
):
    drawn = []
    monkeypatch.setattr(maps, "PIXELS", 100)
    monkeypatch.setattr(projections, "coastline", lambda: drawn.append(True) or coastline()[:3])
    plot_map(made / f"{kind}.nc", variable, tmp_path / "map.png", coastlines=asked,
             projection="plate-carree")  # fmt: skip
    assert bool(drawn) == expected


def test_an_anomaly_is_the_departure_from_the_climatology(made, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(maps, "draw_panels", lambda figure, panels, *rest: drawn.extend(panels))
    plot_map(made / "files.nc", "t2m", tmp_path / "map.png", lead=2, init="2006-03", anomaly=True,
             truth=made / "files.zarr")  # fmt: skip
    with xr.open_zarr(made / "files.zarr", consolidated=False, chunks=None) as store:
        month, place = 5, 12 * 6 + 4  # May 2006
        expected = (store.fields[place, 1] - store.climatology.sel(month=month)[1]).values
    assert [panel.title[:8] for panel in drawn] == ["Forecast", "Truth", "Forecast"]
    np.testing.assert_allclose(drawn[1].field, expected, atol=1e-6)
    assert drawn[1].low == -drawn[1].high and drawn[1].quantity == "Temperature at 2 m, anomaly"
    with pytest.raises(ValueError, match="needs the store with the climatology"):
        plot_map(made / "files.nc", "t2m", tmp_path / "b.png", anomaly=True)


def test_coastlines_come_with_the_package():
    lines = coastline()
    points = np.concatenate(lines)
    assert len(lines) > 100 and min(len(line) for line in lines) > 1
    assert np.abs(points[:, 0]).max() <= 180 and 83 < points[:, 1].max() < 84


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_no_coastline_is_drawn_across_the_map(view):
    x, y = view.coastlines()
    x0, x1, y0, y1 = view.extent
    shown = (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)
    strokes = np.where(shown[1:] | shown[:-1], np.hypot(np.diff(x), np.diff(y)), 0.0)
    assert np.nanmax(strokes) < (x1 - x0) / 10
    assert shown.sum() > 100


def test_coastlines_of_the_user_are_preferred(tmp_path, monkeypatch):
    shapefile = pytest.importorskip("shapefile")
    folder = tmp_path / "shapefiles" / "natural_earth" / "physical"
    folder.mkdir(parents=True)
    monkeypatch.setenv("CARTOPY_DATA_DIR", str(tmp_path))
    assert len(coastline()) > 100, "an empty folder is no reason to draw none"
    island = [[(0.0, 1.0), (2.0, 3.0)], [(5.0, 5.0), (6.0, 7.0), (8.0, 9.0)]]
    with shapefile.Writer(str(folder / "ne_110m_coastline.shp"), shapeType=3) as writer:
        writer.field("name", "C")
        writer.line(island)
        writer.record("island")
    assert [line.tolist() for line in coastline()] == [[list(p) for p in part] for part in island]


def test_signed_fields_are_centred_and_others_are_not():
    x = np.linspace(-1.0, 3.0, 1001)
    low, high, _ = colour_range([x], signed=True)
    assert low == -high and 2.9 < high <= 3
    assert colour_range([x - 5, x], signed=False)[2] == "both"
    assert is_signed("eastward_wind", x + 10) and not is_signed("air_temperature", x)
    assert is_signed("", x) and not is_signed("", x + 10)
    assert colour_range([np.full(4, 2.0)], signed=False) == (1.5, 2.5, "neither")


def test_units_are_written_as_a_person_does():
    written = [pretty_units(u) for u in ("m2 s-2", "s-1", "kg kg-1", "K", "degC", "1", "W m-2")]
    assert written == ["m² s⁻²", "s⁻¹", "kg kg⁻¹", "K", "°C", "", "W m⁻²"]


def test_labels_take_the_power_of_ten_from_the_ticks():
    assert [power_of_ten(x) for x in (3e-6, 0.5, 9.8e4, 2e5, 0.0)] == [-6, 0, 0, 3, 0]
    assert with_units("Vorticity", "s-1", -6) == "Vorticity [10⁻⁶ s⁻¹]"
    assert with_units("Share", "1") == "Share"
    assert numbers(-6)(-1.5e-6, None) == "−1.5"
    written = [quantity(6.32e-8, "s-1", -9), quantity(147.26, "m2 s-2"), quantity(0.43, "degC")]
    assert written == ["63.2 × 10⁻⁹ s⁻¹", "147 m² s⁻²", "0.43 °C"]


def test_the_error_in_a_title_has_the_power_of_ten_of_its_colour_bar(made):
    """Use vorticity, whose rmse was "1.5e-07" beside a colour bar in 10⁻⁹."""
    field = np.linspace(-3e-6, 3e-6, 128).reshape(8, 16)
    panels = make_panels(
        ForecastFile(made / "trajectory.nc"),
        "vorticity",
        {"Forecast": field, "Truth": field - 63.2e-9},
        weights=np.ones((8, 1)),
    )
    assert panels[2].title == "Forecast − truth (rmse 63.2 × 10⁻⁹ s⁻¹)"
    assert panels[2].power == -9


def _lab(colours):
    """Return CIELAB coordinates of sRGB colours, which are perceptually uniform."""
    rgb = np.atleast_2d(colours)[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(to_xyz).T / [0.9505, 1.0, 1.089]
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


@pytest.mark.parametrize("style", [VALUES, SIGNED, ERRORS, SPREAD], ids=lambda style: style.colours)
def test_land_and_graticule_are_seen_beside_every_colour(style):
    """Compare distances in CIELAB: grey on white had 4 and 6, and 2.3 is just noticeable."""
    field = _lab(colormaps[style.colours](np.linspace(0, 1, 256)))
    land, lines, coast = (_lab(to_rgb(c)) for c in (MISSING, style.graticule, INK))
    assert np.linalg.norm(field - land, axis=1).min() > 20
    assert np.linalg.norm(field - lines, axis=1).min() > 30
    assert np.linalg.norm(land - lines) > 30 and np.linalg.norm(land - coast) > 30


def test_curves_are_those_of_the_scores(made, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(curves, "save", lambda figure, out: figures.append(figure))
    plot_scores(made / "files_scores.nc", tmp_path / "s.png")
    axes = figures[0].axes
    assert [a.get_title() for a in axes[:2]] == ["Sea surface temperature", "Temperature at 2 m"]
    assert axes[0].get_ylabel() == "rmse [°C]" and axes[2].get_xlabel() == "lead time [months]"
    with xr.open_dataset(made / "files_scores.nc") as scores:
        drawn = {line.get_label(): line.get_ydata() for line in axes[0].get_lines()}
        assert list(drawn) == ["model", "persistence", "climatology"]
        for name, values in drawn.items():
            at = {"channel": "sst", "forecast": name, "region": "global"}
            np.testing.assert_array_equal(values, scores.rmse.sel(at))


def test_a_command_draws_the_scores_that_it_names(made, tmp_path, run_forecast, refused):
    words = ("plot", "scores", made / "files_scores.nc", "--out", tmp_path / "s.png")
    assert run_forecast(*words, "--score", "bias", "--score", "relative_l2") == 0
    assert imread(tmp_path / "s.png").std() > 0.05
    (tmp_path / "s.png").unlink()
    assert "has no score 'bia'; it has rmse, mae," in refused(*words, "--score", "bia")


def test_curves_without_an_anomaly_correlation_say_why(made, tmp_path, monkeypatch):
    with xr.open_dataset(made / "files_scores.nc") as scores:
        scores.assign(acc=scores.acc.where(False)).to_netcdf(tmp_path / "s.nc")
    figures = []
    monkeypatch.setattr(curves, "save", lambda figure, out: figures.append(figure))
    plot_scores(tmp_path / "s.nc", tmp_path / "s.png")
    said = [[text.get_text() for text in a.texts] for a in figures[0].axes[2:]]
    assert said == [["no climatology and no mean state\nto depart from"]] * 2


def test_the_spectrum_of_a_damped_forecast_is_that_of_the_truth_damped(made, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(curves, "save", lambda figure, out: figures.append(figure))
    plot_spectrum(
        made / "trajectory.nc", made / "trajectory.zarr", tmp_path / "s.png", leads=["0", "4h"]
    )
    bottom = figures[0].axes[4]  # of vorticity
    for line, factor in zip(bottom.get_lines(), (1.0, 0.9**8), strict=False):
        ratio = line.get_ydata()
        np.testing.assert_allclose(ratio[:3], factor, rtol=1e-4)


@pytest.mark.parametrize("kind", ["files", "trajectory"])
def test_curves_are_written(made, tmp_path, kind):
    plot_scores(made / f"{kind}_scores.nc", tmp_path / "s.png")
    plot_spectrum(made / f"{kind}.nc", made / f"{kind}.zarr", tmp_path / "p.svg")
    assert imread(tmp_path / "s.png").std() > 0.05
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.svg", "s.png"]


def test_what_cannot_be_drawn_is_refused_before_anything_is_written(made, tmp_path):
    (tmp_path / "there.png").write_text("precious")
    file, store, out = made / "files.nc", made / "files.zarr", tmp_path / "map.png"
    for arguments, options, message in (
        ((file, "ssst", out), {}, r"no variable 'ssst'; it has sst, t2m \(nearest: sst\)"),
        ((file, "sst", out), {"lead": "5mo"}, "no lead time '5mo'"),
        ((file, "sst", out), {"init": "1066"}, "no forecast with init_time '1066'"),
        (
            (file, "sst", out),
            {"projection": "robinsson"},
            "expected one of .* \\(nearest: robinson",
        ),
        ((file, "sst", out), {"centre": (95, 0)}, "centre 95 0 is not on the sphere; expected a"),
        ((file, "sst", out), {"centre": (0, 400)}, "centre 0 400 is not on the sphere"),
        ((file, "sst", out), {"centre": (float("nan"), 0)}, "centre nan 0 is not on the sphere"),
        ((file, "sst", out), {"init": 23, "truth": store}, "no state at 4 months after 2007-12"),
        ((file, "sst", out), {"truth": made / "trajectory.zarr"}, "do not fit"),
        ((file, "sst", tmp_path / "map.jpeg"), {}, r"expected .png or .pdf or .svg"),
    ):
        with pytest.raises(ValueError, match=message):
            plot_map(*arguments, **options)
    with pytest.raises(FileExistsError, match="there.png exists"):
        plot_map(file, "sst", tmp_path / "there.png")
    with pytest.raises(FileNotFoundError, match="no scores at"):
        plot_scores(made / "absent.nc", out)
    with pytest.raises(ValueError, match="not a scores file; make one with `forecast evaluate`"):
        plot_scores(file, out)
    with pytest.raises(ValueError, match="no variable 'q'"):
        plot_scores(made / "files_scores.nc", out, variables=["q"])
    assert [p.name for p in tmp_path.iterdir()] == ["there.png"]
