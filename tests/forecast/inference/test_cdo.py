"""Forecast files in cdo, with the commands of docs/forecast_files.md."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import xarray as xr

from forecast.inference.forecast import run_rollout
from tests.forecast.stand_in import Turning


@pytest.fixture(scope="module")
def forecasts(make_store, tmp_path_factory):
    """Forecast files of both kinds."""
    folder = tmp_path_factory.mktemp("cdo")
    for kind, options in (("files", {"time_step": "6h"}), ("trajectory", {})):
        store = make_store(folder / f"{kind}.zarr", kind, **options)
        run_rollout(Turning(store), store, folder / f"{kind}.nc", n_steps=4)
    return folder


def cdo(*arguments):
    if shutil.which("cdo") is None:
        pytest.skip("cdo is not installed")
    done = subprocess.run(["cdo", "-s", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("kind", "leads"), [("files", "0 6 12 18 24"), ("trajectory", "0 1 2 3 4")]
)
def test_a_level_of_cdo_is_a_lead_time(forecasts, tmp_path, kind, leads):
    path = forecasts / f"{kind}.nc"
    said = cdo("showlevel", path)
    assert {line.strip() for line in said.splitlines()} == {leads}
    lead = leads.split()[2]
    cdo(f"sellevel,{lead}", path, tmp_path / "level.nc")
    with xr.open_dataset(path) as file, xr.open_dataset(tmp_path / "level.nc") as level:
        for name in file.attrs["channels"].split():
            np.testing.assert_array_equal(level[name][:, 0], file[name][:, 2])
        assert level.lead_time.item() == file.lead_time[2].item()


def test_a_time_step_of_cdo_is_a_forecast(forecasts, tmp_path):
    cdo("seltimestep,2", forecasts / "files.nc", tmp_path / "second.nc")
    with (
        xr.open_dataset(forecasts / "files.nc") as file,
        xr.open_dataset(tmp_path / "second.nc") as second,
    ):
        np.testing.assert_array_equal(second.t2m[0], file.t2m[1])
        np.testing.assert_array_equal(second.init_time, file.init_time[1:2])


@pytest.mark.parametrize(("kind", "dim"), [("files", "init_time"), ("trajectory", "trajectory")])
def test_a_forecast_with_its_valid_time_as_dim_is_a_time_series(forecasts, tmp_path, kind, dim):
    path = tmp_path / "series.nc"
    with xr.open_dataset(forecasts / f"{kind}.nc") as file:
        one = file.isel({dim: 0})
        one.swap_dims(lead_time="valid_time").to_netcdf(path)
        expected = one.valid_time.values
    said = cdo("sinfon", path)
    assert "valid_time : 5 steps" in said and "surface" in said
    start = str(expected[0].astype("datetime64[s]"))
    assert f"ForecastRefTime =  {start}" in said
    said = cdo("showtimestamp", path)
    assert said.split() == [str(t) for t in expected.astype("datetime64[s]")]
