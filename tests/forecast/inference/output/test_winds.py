"""Winds in a forecast file: they have the vorticity and the divergence of the forecast."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from configs.variables import Variable, variable
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.output.derived import Sphere
from forecast.inference.output.options import OutputOptions
from forecast.inference.output.selection import OutputFields
from forecast.inference.reader import ForecastFile
from forecast.plotting.maps import plot_map
from forecast.verification.evaluate import evaluate
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample
from sphere_ops.harmonics.winds import vorticity_divergence, wind_lmax
from tests.forecast.stand_in import Turning

GRID = Grid.legendre_gauss(16, 32)
WINDS = OutputOptions(derive=("winds",))


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("winds") / "store.zarr", nlat=16, nlon=32)


def channel(name: str) -> Variable:
    return Variable(name, name, "s-1")


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_winds_have_the_vorticity_and_divergence_of_the_forecast(store, tmp_path, suffix):
    path = tmp_path / f"forecast.{suffix}"
    run_rollout(Turning(store), store, path, n_steps=3, output=WINDS)
    file = ForecastFile(path)
    assert file.channel_names == ("geopotential", "vorticity", "divergence")
    data = file.dataset
    for name, direction in (("eastward_wind", "Eastward"), ("northward_wind", "Northward")):
        assert data[name].attrs["standard_name"] == name
        assert data[name].attrs["units"] == "m s-1"
        assert direction in data[name].attrs["long_name"]
        assert data[name].dims == data["vorticity"].dims
    u, v = (torch.from_numpy(data[f"{name}ward_wind"].values) for name in ("east", "north"))
    found = vorticity_divergence(u, v, GRID, Store(store).attributes["radius"])
    for values, name in zip(found, ("vorticity", "divergence"), strict=True):
        expected = torch.from_numpy(data[name].values)
        expected = resample(expected, GRID, GRID, lmax=wind_lmax(GRID))  # what the grid resolves
        expected -= (expected * GRID.area_weights).sum((-2, -1), keepdim=True).float()
        torch.testing.assert_close(
            values, expected, rtol=0, atol=1e-5 * float(expected.abs().max())
        )


def test_a_forecast_with_winds_has_the_scores_of_one_without(store, tmp_path):
    scores = []
    for name, options in (("with", WINDS), ("without", OutputOptions())):
        run_rollout(
            Turning(store),
            store,
            tmp_path / f"{name}.nc",
            n_steps=2,
            output=options,
        )
        out = tmp_path / f"{name}_scores.nc"
        scores.append(evaluate(tmp_path / f"{name}.nc", store, out))
    xr.testing.assert_equal(scores[0].drop_attrs(), scores[1].drop_attrs())


def test_winds_of_a_forecast_that_ended_are_missing(store, tmp_path):
    model = Turning(store)
    model.fails = {0: 2}
    ended = run_rollout(
        model,
        store,
        tmp_path / "forecast.nc",
        split="train",
        n_steps=3,
        output=WINDS,
    )
    assert [e.step for e in ended] == [2]
    with xr.open_dataset(tmp_path / "forecast.nc") as data:
        finite = np.isfinite(data.eastward_wind.values).all((-2, -1))
    np.testing.assert_array_equal(finite[0], [True, True, False, False])
    assert finite[1:].all()


def test_a_map_of_a_wind_is_drawn_without_a_truth(store, tmp_path):
    path, out = tmp_path / "forecast.nc", tmp_path / "map.png"
    run_rollout(Turning(store), store, path, n_steps=2, output=WINDS)
    plot_map(path, "eastward_wind", out)
    assert out.stat().st_size > 0
    with pytest.raises(ValueError, match="eastward_wind.* was computed.*geopotential, vorticity"):
        plot_map(path, "eastward_wind", tmp_path / "other.png", truth=store)


def test_each_level_with_both_fields_and_no_winds_gives_winds():
    names = ("vo500", "t850", "d500", "vo850", "d200", "vo200", "u200", "v200", "d10")
    output = OutputFields([channel(name) for name in names], Sphere(GRID), ["winds"])
    assert output.derived == (variable("u500"), variable("v500"))
    fields = torch.randn(2, len(names), *GRID.shape, generator=torch.Generator().manual_seed(0))
    u, v = output(fields)[:, -2:].unbind(1)
    vorticity, _ = vorticity_divergence(u, v, GRID)
    expected = resample(fields[:, 0], GRID, GRID, lmax=wind_lmax(GRID))
    assert (vorticity - expected).std() < 0.1 * expected.std()  # but for the mean
