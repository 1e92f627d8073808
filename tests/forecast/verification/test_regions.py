"""Regions: their points, their names, and scores over them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.verification.evaluate import evaluate
from forecast.verification.regions import NAMED, Region, parse_regions
from forecast.verification.score_table import SCORES
from sphere_ops.grid import Grid
from tests.forecast.stand_in import Turning

GRID = Grid.cell_centred(36, 72)  # 5 degrees
LAND = np.linspace(0, 1, 36 * 72).reshape(GRID.shape)


def points(text: str, grid: Grid = GRID) -> np.ndarray:
    return parse_regions([text])[-1].fraction(grid, LAND)


@pytest.mark.parametrize(
    ("name", "south", "north", "west", "east"),
    [
        ("europe", 35, 75, -12.5, 42.5),
        ("north-america", 25, 60, -120, -75),
        ("north-atlantic", 25, 65, -70, -10),
        ("north-pacific", 25, 60, 145, 230),
        ("east-asia", 25, 60, 102.5, 150),
        ("ausnz", -45, -12.5, 120, 175),
    ],
)
def test_boxes_are_those_of_weatherbench2_with_their_edges(name, south, north, west, east):
    grid = Grid.equiangular(73, 144)  # 2.5 degrees: all edges are on the grid
    latitude, longitude = grid.latitude.numpy().round(6), grid.longitude.numpy()
    rows = [h for h in range(73) if south <= latitude[h] <= north]
    wraps = west < 0 < east
    west, east = west % 360, east % 360
    after, before = longitude >= west, longitude <= east
    columns = np.flatnonzero(after | before if wraps else after & before)
    expected = np.zeros(grid.shape)
    expected[np.ix_(rows, columns)] = 1
    np.testing.assert_array_equal(points(name, grid), expected)


def test_the_tropics_and_the_hemispheres_beyond_cover_the_globe():
    parts = [points(n) for n in ("tropics", "northern-hemisphere", "southern-hemisphere")]
    np.testing.assert_array_equal(sum(parts), 1)
    np.testing.assert_array_equal(parts[1] + parts[2], points("extra-tropics"))


def test_land_and_sea_share_the_points_of_a_region():
    land, sea = points("tropics+land"), points("tropics+sea")
    np.testing.assert_array_equal(land + sea, points("tropics"))
    np.testing.assert_array_equal(land, points("tropics") * (LAND > 0.5))
    by_fraction = Region("sea", surface="sea").fraction(GRID, LAND, keep_fractions=True)
    np.testing.assert_array_equal(by_fraction, 1 - LAND)


def test_a_box_may_cross_the_meridian_of_its_longitudes():
    np.testing.assert_array_equal(points("a=35,75,-12.5,42.5"), points("europe"))
    np.testing.assert_array_equal(points("a=35,75,347.5,402.5"), points("europe"))
    np.testing.assert_array_equal(points("a=-90,90,-180,180"), 1)


def test_all_names_the_regions_of_weatherbench2_once():
    assert [r.name for r in parse_regions(["tropics", "all"])][:2] == ["global", "tropics"]
    assert len(parse_regions(["tropics", "all"])) == len(NAMED)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["tropic"], r"unknown region 'tropic'; expected all, global, .*nearest: tropics"),
        (["a=1,2,3"], "region 'a=1,2,3'; expected name=lat_min,lat_max,lon_min,lon_max"),
        (["a=20,10,0,9"], "the smaller latitude first"),
        (["tropics=0,10,0,9", "tropics"], "two regions have the name 'tropics'"),
    ],
)
def test_a_region_that_is_none_is_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        parse_regions(texts)


def test_a_region_between_the_grid_points_is_refused():
    with pytest.raises(ValueError, match=r"region a has no point of the grid .* 5 degrees apart"):
        points("a=0.1,0.2,10,11")
    with pytest.raises(ValueError, match="region land needs the fraction of land"):
        Region("land", surface="land").fraction(GRID, None)


@pytest.fixture(scope="module")
def series(make_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("regions")
    path = make_store(folder / "store.zarr", "files", mask=True, n_times=96)
    run_rollout(Turning(path, 0.9), path, folder / "f.nc", split="train", n_steps=3)
    return path


def test_scores_of_a_region_are_those_of_its_points(series, tmp_path, run_forecast, capsys):
    box = "box=10,80,300,60"
    words = ["evaluate", series.parent / "f.nc", "--data", series, "--out", tmp_path / "s.nc"]
    assert run_forecast(*words, "--region", "tropics", "--region", box) == 0
    said = capsys.readouterr().out
    assert "region tropics" in said and "region box" in said
    assert "## Region box" in (tmp_path / "s.md").read_text()
    store = Store(series)
    starts = store.split_indices("train")
    truth = np.stack([store.states(int(i), 0, 4).numpy() for i in starts])
    with xr.open_dataset(series.parent / "f.nc") as file:
        forecast = np.stack([file[name].values for name in store.channel_names], 2)
    area = store.grid.area_weights.numpy()
    with xr.open_dataset(tmp_path / "s.nc") as scores:
        assert scores.rmse.dims == ("forecast", "region", "channel", "lead_time")
        assert list(scores.region.values) == ["global", "tropics", "box"]
        for region in parse_regions(["tropics", box]):
            inside = np.where(region.fraction(store.grid, None) > 0, truth, np.nan)
            of_region = scores.sel(forecast="model", region=region.name)
            for name in ("rmse", "mae", "bias"):
                # Differences are taken in float64 of float32 fields on both sides.
                expected = SCORES[name](forecast.astype("f8"), inside, area).T
                np.testing.assert_allclose(of_region[name], expected, rtol=1e-10, atol=1e-12)
            n_points = np.isfinite(inside[0]).sum((-2, -1)).T
            np.testing.assert_array_equal(of_region.n_points, n_points)


def test_the_values_of_each_forecast_have_the_scores_as_their_mean(series, tmp_path):
    path = series.parent / "f.nc"
    scores = evaluate(path, series, tmp_path / "s.nc", regions=["tropics"])
    for name, score in SCORES.items():
        of_each = scores[name + "_each"]
        assert of_each.dims == ("init_time", *scores[name].dims)
        mean = of_each.astype("f8").mean("init_time", skipna=False)
        expected = np.sqrt(mean) if score.root else mean
        # Each value is kept in float32.
        np.testing.assert_allclose(scores[name], expected, rtol=1e-6, atol=1e-7)


def test_a_region_without_values_is_refused_before_anything_is_written(series, tmp_path):
    box = "continent=20,50,95,170"  # inside the masked part of the only channel
    with xr.open_dataset(series.parent / "f.nc") as file:
        file.drop_vars("t2m").assign_attrs(channels="sst").to_netcdf(tmp_path / "f.nc")
    with pytest.raises(ValueError, match="region continent has no point at which"):
        evaluate(tmp_path / "f.nc", series, tmp_path / "s.nc", regions=[box])
    assert [p.name for p in tmp_path.iterdir()] == ["f.nc"]
