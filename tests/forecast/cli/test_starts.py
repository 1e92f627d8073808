"""Forecasts from gridded files: their states are those of a store that is made of the files."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import xarray as xr

from configs.load import dump_config
from configs.model import ModelConfig
from configs.schema import FilesData, SplitFractions
from data_prep.ingest.run import ingest
from data_prep.store.reader import Store
from forecast.model.forecaster import Forecaster
from forecast.model.package import save_package
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(8, 16)
TIMES = np.datetime64("2001-01-01T00", "ns") + np.arange(16) * np.timedelta64(6, "h")


def gridded(grid: Grid) -> xr.Dataset:
    """Return waves of temperature and pressure that turn with time."""
    latitude, longitude = (np.radians(x.numpy()) for x in (grid.latitude, grid.longitude))
    angle = longitude - 0.3 * np.arange(len(TIMES))[:, None, None]
    wave = np.cos(latitude)[:, None] * np.cos(angle)
    dims = ("time", "latitude", "longitude")
    return xr.Dataset(
        {
            "T2": (dims, (280 + 10 * wave).astype("f4"), {"units": "K"}),
            "msl": (dims, (1e5 + 900 * wave**2).astype("f4"), {"units": "Pa"}),
        },
        {
            "time": TIMES,
            "latitude": ("latitude", grid.latitude.numpy(), {"units": "degrees_north"}),
            "longitude": ("longitude", grid.longitude.numpy(), {"units": "degrees_east"}),
        },
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with files on two grids, a store of the first, and a package."""
    folder = tmp_path_factory.mktemp("starts")
    gridded(GRID).to_netcdf(folder / "era5.nc")
    gridded(GRID).isel(time=slice(2, 3)).to_netcdf(folder / "one.nc")
    gridded(GRID).isel(latitude=slice(None, None, -1)).to_zarr(
        folder / "era5.zarr", consolidated=False
    )
    gridded(Grid.equiangular(13, 24)).to_netcdf(folder / "fine.nc")
    data = FilesData(
        variables=("t2m", "msl"),
        rename={"T2": "t2m"},
        splits=SplitFractions(train=0.5, validation=0.25, test=0.25),
    )
    store = Store(ingest([folder / "era5.nc"], data, folder / "store.zarr"))
    model = ModelConfig(channels=4, blocks=1, branches={"spectral": {"lmax": 4}}, history=2)
    save_package(
        Forecaster.from_store(model, store),
        folder / "package",
        provenance={"configuration": dump_config(data)},
    )
    return folder


@pytest.fixture
def rollout(run_forecast, folder, tmp_path):
    """Return a function that forecasts from files into a file, and returns the exit code."""

    def run(data, out: str, *options: str) -> int:
        data = [word for one in np.atleast_1d(data) for word in ("--data", folder / one)]
        words = ("rollout", folder / "package", *data, "--out", tmp_path / out, "--steps", 3)
        return run_forecast(*words, *options)

    return run


@pytest.mark.parametrize("file", ["era5.nc", "era5.zarr"])
def test_a_forecast_from_a_file_is_that_from_its_store(rollout, tmp_path, file):
    at = ("--init-time", "2001-01-02T00", "--init-time", "2001-01-03T12")
    assert rollout(file, "a.nc", *at) == 0
    assert rollout("store.zarr", "b.nc", *at) == 0
    with xr.open_dataset(tmp_path / "a.nc") as a, xr.open_dataset(tmp_path / "b.nc") as b:
        assert a.sizes["init_time"] == 2
        xr.testing.assert_allclose(a.drop_attrs(), b.drop_attrs(), rtol=1e-6)
        assert file.split(".")[0] in a.attrs["history"]


def test_members_that_start_earlier_find_their_states_in_the_files(rollout, tmp_path):
    lagged = ("--members", 2, "--perturb", "lagged:interval=12h", "--perturb", "bred:cycles=1")
    at = ("--init-time", "2001-01-02T12")  # 1 January at 12, with a history, to 2 January
    for file, out in (("era5.nc", "a.nc"), ("store.zarr", "b.nc")):
        assert rollout(file, out, *lagged, *at) == 0
    with xr.open_dataset(tmp_path / "a.nc") as a, xr.open_dataset(tmp_path / "b.nc") as b:
        assert a.sizes["member"] == 2
        xr.testing.assert_allclose(a.drop_attrs(), b.drop_attrs(), rtol=1e-6)


def test_the_files_give_the_history_of_the_later_model_of_a_cascade(run_forecast, folder, tmp_path):
    model = ModelConfig(channels=4, blocks=1, branches={"spectral": {"lmax": 4}}, history=4)
    later = Forecaster.from_store(model, Store(folder / "store.zarr"))
    torch.nn.init.normal_(later.network.decoder.weight, std=0.5)
    save_package(later, tmp_path / "later")
    cascade = f"{folder / 'package'},12h,{tmp_path / 'later'}"
    at = ("--init-time", "2001-01-02T12", "--steps", 3)
    for file, out in (("era5.nc", "a.nc"), ("store.zarr", "b.nc")):
        words = ("rollout", cascade, "--data", folder / file, "--out", tmp_path / out)
        assert run_forecast(*words, *at) == 0
    with xr.open_dataset(tmp_path / "a.nc") as a, xr.open_dataset(tmp_path / "b.nc") as b:
        xr.testing.assert_allclose(a.drop_attrs(), b.drop_attrs(), rtol=1e-6)
        change = abs(a.t2m.diff("lead_time")).max(("latitude", "longitude")).values.ravel()
        assert change[1] < 1e-3 < change[2]  # the first model has not been trained


def test_without_initial_times_all_times_with_a_history_are_taken(rollout, tmp_path):
    assert rollout("era5.nc", "f.nc") == 0
    with xr.open_dataset(tmp_path / "f.nc") as file:
        np.testing.assert_array_equal(file.init_time, TIMES[1:])


def test_files_on_another_grid_are_regridded_to_that_of_the_package(rollout, tmp_path):
    at = ("--init-time", "2001-01-02T00")
    assert rollout("fine.nc", "a.nc", *at) == 0
    assert rollout("era5.nc", "b.nc", *at) == 0
    with xr.open_dataset(tmp_path / "a.nc") as a, xr.open_dataset(tmp_path / "b.nc") as b:
        assert a.sizes["latitude"] == GRID.nlat
        assert float(np.abs(a.t2m - b.t2m).max()) < 1.0  # of waves of 10 K
    own = ("--transfer", "operators")
    assert rollout("fine.nc", "c.nc", *at, *own) == 0
    with xr.open_dataset(tmp_path / "c.nc") as file:
        assert dict(file.sizes)["latitude"] == 13


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        (
            "era5.nc",
            ("--init-time", "2002-01-01"),
            "with 2 states .*no fields at 2001-12-31T18:00",
        ),
        ("one.nc", ("--init-time", "2001-01-01T12"), "no fields at 2001-01-01T06:00"),
        ("era5.nc", ("data.rename.T2=skt",), "t2m .* is not in the files"),
        ("package", ("data.regriding=auto",), "unknown key data.regriding"),
        ("none.nc", (), "none.nc"),
        ("store.zarr", ("data.rename.T2=t2m",), "is a store, and data.rename.T2=t2m is a setting"),
        ("none.zarr", (), "no store at"),
    ],
)
def test_what_a_file_lacks_is_named_with_the_file(rollout, tmp_path, capfd, file, options, message):
    data = "era5.nc" if file == "package" else file
    assert rollout(data, "f.nc", *options) == 2
    error = capfd.readouterr().err
    assert re.search(message, error.replace("\n", " ")), error
    assert file in error
    assert not list(tmp_path.iterdir())


def test_several_files_may_hold_the_variables(rollout, folder):
    gridded(GRID)[["T2"]].to_netcdf(folder / "t.nc")
    gridded(GRID)[["msl"]].to_netcdf(folder / "p.nc")
    at = ("--init-time", "2001-01-02T00")
    assert rollout(["t.nc", "p.nc"], "f.nc", *at) == 0
