"""Scores by the conventions of WeatherBench 2, restated from its published formulas.

Rasp et al. 2024 (arXiv 2308.15560, section 4) and the documentation of its evaluation: every score
is an area-weighted mean over a region of each state, then a mean over the initial times, then, for
the rmse, the root. Weights are the sines of the cell bounds of a row, lower from upper.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from data_prep.store.gather.daily import write_daily_climatology
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.verification.conventions import WEATHERBENCH2, cell_weights
from forecast.verification.evaluate import evaluate, score
from forecast.verification.references import References
from forecast.verification.regions import NAMED, parse_regions
from forecast.verification.truth import Truth
from sphere_ops.grid import Grid
from tests.forecast.stand_in import Turning

CHANNELS = ("t850", "u500", "v500")
N_STEPS = 2
REGIONS = ["tropics", "extra-tropics", "europe", "land", "tropics+land", "sea"]


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weatherbench2")
    path = make_store(folder / "s.zarr", "files", time_step="1d", n_times=900, channels=CHANNELS)
    write_daily_climatology(zarr.open_group(path, mode="r+"), 5)
    times = [f"2002-{month:02}-{month + 5:02}" for month in range(1, 6)]
    run_rollout(Turning(path, 0.9), path, folder / "f.nc", init_times=times, n_steps=N_STEPS)
    return path


@pytest.fixture(scope="module")
def fields(store) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset, xr.DataArray]:
    """Return forecast, truth, climatology (init_time, lead_time, latitude, longitude), and land."""
    dims = ("init_time", "lead_time", "latitude", "longitude")
    with xr.open_dataset(store.parent / "f.nc") as file:
        file = file.load()
    with xr.open_zarr(store, consolidated=False, decode_timedelta=True) as data:
        valid = file.valid_time
        true = data.fields.sel(time=valid.values.ravel())
        day = valid.dt.dayofyear.values
        held = data.daily_climatology.values[day.ravel() - 1, 0]
        shape = (*valid.shape, *data.fields.shape[-2:])
        coordinates = {"latitude": file.latitude, "longitude": file.longitude}

        def dataset(values: np.ndarray) -> xr.Dataset:
            each = {n: (dims, values[:, c].reshape(shape)) for c, n in enumerate(CHANNELS)}
            return xr.Dataset(each, coordinates).astype("f8")

        forecast = file[list(CHANNELS)].drop_vars(["lead_time", "init_time", "valid_time"])
        land = np.random.default_rng(0).random(shape[-2:])
        return (
            forecast.drop_attrs().astype("f8"),
            dataset(true.values),
            dataset(held),
            xr.DataArray(land, dims=dims[2:], coords=coordinates),
        )


def lat_weights(latitude: xr.DataArray) -> xr.DataArray:
    """Return the published weights, for latitudes that increase, in the order of the argument."""
    points = np.deg2rad(np.sort(latitude.values))
    bounds = np.concatenate([[-np.pi / 2], (points[:-1] + points[1:]) / 2, [np.pi / 2]])
    area = np.sin(bounds[1:]) - np.sin(bounds[:-1])
    return xr.DataArray((area / area.mean())[::-1], dims="latitude", coords={"latitude": latitude})


def spatial_average(x: xr.Dataset, region: str, land: xr.DataArray) -> xr.Dataset:
    """Average over a region: a selection of points by their coordinates, times land or sea."""
    weights = lat_weights(x.latitude) * xr.ones_like(land)
    base, _, surface = region.rpartition("+")
    if region in ("land", "sea") or surface in ("land", "sea"):
        weights = weights * (land if region.endswith("land") else 1 - land)
    latitude, longitude = x.latitude, x.longitude
    match base or region:
        case "tropics":
            weights = weights.where(abs(latitude) <= 20, 0)
        case "extra-tropics":
            weights = weights.where(abs(latitude) >= 20, 0)
        case "europe":
            inside = (latitude >= 35) & (latitude <= 75)
            inside = inside & ((longitude >= 360 - 12.5) | (longitude <= 42.5))
            weights = weights.where(inside, 0)
    return x.weighted(weights).mean(["latitude", "longitude"])


def expected(name: str, f: xr.Dataset, t: xr.Dataset, c: xr.Dataset, average) -> xr.Dataset:
    """Return a score of WeatherBench 2, with the wind vector for rmse."""
    match name:
        case "rmse":
            squares = average((f - t) ** 2)
            squares["wind500"] = squares.u500 + squares.v500
            return np.sqrt(squares.mean("init_time"))
        case "mae":
            return average(abs(f - t)).mean("init_time")
        case "bias":
            return average(f - t).mean("init_time")
        case _:
            assert name == "acc"
            product = average((f - c) * (t - c))
            norm = np.sqrt(average((f - c) ** 2) * average((t - c) ** 2))
            return (product / norm).mean("init_time")


@pytest.fixture(scope="module")
def scored(store, fields) -> xr.Dataset:
    file, opened = ForecastFile(store.parent / "f.nc"), Store(store)
    opened.static["land_fraction"] = torch.from_numpy(fields[3].values)
    truth = Truth(file, opened, References.of_store(opened, file), WEATHERBENCH2)
    return score(truth, parse_regions(REGIONS))


@pytest.mark.parametrize("region", ["global", *REGIONS])
def test_scores_agree_with_the_published_formulas(scored, fields, region):
    forecast, truth, climatology, land = fields
    persistence = truth.isel(lead_time=[0] * (N_STEPS + 1))
    states = {"model": forecast, "persistence": persistence, "climatology": climatology}

    def average(x: xr.Dataset) -> xr.Dataset:
        return spatial_average(x, region, land)

    for label, state in states.items():
        for name in ("rmse", "mae", "bias", "acc"):
            if (label, name) == ("climatology", "acc"):
                continue  # 0 / 0
            found = scored[name].sel(forecast=label, region=region)
            of = expected(name, state, truth, climatology, average)
            for channel in of.data_vars:
                np.testing.assert_allclose(
                    found.sel(channel=channel), of[channel], rtol=1e-6, atol=1e-9
                )
    assert scored.acc.sel(forecast="climatology", region=region).isnull().all()


def test_the_wind_is_scored_as_a_vector(scored):
    of = scored.sel(forecast="model", region="tropics")
    u, v, wind = (of.sel(channel=name) for name in ("u500", "v500", "wind500"))
    np.testing.assert_allclose(wind.rmse, np.hypot(u.rmse, v.rmse), rtol=1e-12)
    np.testing.assert_allclose(wind.activity, np.hypot(u.activity, v.activity), rtol=1e-12)
    assert wind.mae.isnull().all() and wind.bias.isnull().all()
    assert str(wind.channel_long_name.item()) == "Wind at 500 hPa"
    assert str(wind.channel_units.item()) == "m s-1"
    assert 0.5 < float(wind.acc[1]) < 1 and float(wind.relative_l2[1]) > 0


def test_the_table_leaves_scores_out_that_a_vector_has_not(store, tmp_path, run_forecast, capsys):
    words = ["evaluate", store.parent / "f.nc", "--data", store, "--out", tmp_path / "s.nc"]
    assert run_forecast(*words, "--conventions", "weatherbench2") == 0
    row = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("wind500 ("))
    assert "missing" not in row and " - " in row
    with xr.open_dataset(tmp_path / "s.nc") as scores:
        assert scores.attrs["conventions_of_scores"].startswith("weatherbench2: those of")
        assert "persistence keeps the state" in scores.attrs["comment"]


def test_scores_agree_with_the_package_scores(store, fields, tmp_path):
    from scores import continuous

    forecast, truth, _, land = fields
    weights = lat_weights(land.latitude) * xr.ones_like(land)
    found = evaluate(
        store.parent / "f.nc", store, tmp_path / "s.nc", conventions="weatherbench2"
    ).sel(forecast="model", region="global")
    for ours, theirs in (("rmse", "rmse"), ("mae", "mae"), ("bias", "additive_bias")):
        for channel in CHANNELS:
            function = getattr(continuous, theirs)
            of = function(
                forecast[channel], truth[channel], preserve_dims=["lead_time"], weights=weights
            )
            np.testing.assert_allclose(found[ours].sel(channel=channel), of, rtol=1e-6, atol=1e-9)


def test_default_conventions_differ_in_weights_and_persistence(store, tmp_path, scored):
    ours = evaluate(store.parent / "f.nc", store, tmp_path / "s.nc").sel(region="global")
    theirs = scored.sel(region="global")
    difference = abs(ours.rmse / theirs.rmse - 1).isel(lead_time=slice(1, None))
    assert 1e-7 < float(difference.sel(forecast="model").max()) < 0.05
    assert float(difference.sel(forecast="persistence").max()) > 1e-3
    assert ours.attrs["conventions_of_scores"].startswith("default: area weights of the grid's")


@pytest.mark.parametrize("kind", ["equiangular", "cell-centred", "legendre-gauss"])
def test_weights_of_cells_have_mean_one_and_approach_the_area(kind):
    grid = Grid.of(kind, 90, 180)
    weights = cell_weights(np.radians(grid.latitude.numpy()))
    assert weights.mean() == pytest.approx(1, rel=1e-12)
    exact = grid.area_weights.numpy()[:, 0] * grid.nlat * grid.nlon
    np.testing.assert_allclose(weights[5:-5], exact[5:-5], rtol=3e-3)  # second order in spacing
    np.testing.assert_allclose(weights, cell_weights(-np.radians(grid.latitude.numpy()))[::-1])


def test_conventions_need_a_climatology_by_day(make_store, tmp_path):
    monthly = make_store(tmp_path / "s.zarr", "files", n_times=96)
    run_rollout(Turning(monthly), monthly, tmp_path / "f.nc", n_steps=2)
    with pytest.raises(ValueError, match=r"weatherbench2 need a climatology by day .*by=day"):
        evaluate(tmp_path / "f.nc", monthly, tmp_path / "x.nc", conventions="weatherbench2")
    with pytest.raises(ValueError, match="unknown conventions 'wb2'; expected default or weath"):
        evaluate(tmp_path / "f.nc", monthly, tmp_path / "x.nc", conventions="wb2")


def test_all_regions_of_the_evaluation_script_are_named():
    assert set(NAMED) == {
        *("global", "tropics", "extra-tropics", "northern-hemisphere", "southern-hemisphere"),
        *("europe", "north-america", "north-atlantic", "north-pacific", "east-asia", "ausnz"),
        *("arctic", "antarctic"),
    }
