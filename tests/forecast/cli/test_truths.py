"""Truth of a forecast from gridded files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_prep.store.export import export_netcdf
from forecast.inference.forecast import run_rollout
from tests.forecast.stand_in import Turning

Run = Callable[..., int]


@pytest.fixture(scope="module")
def folder(make_store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a store, its netCDF file, and a forecast from it."""
    folder = tmp_path_factory.mktemp("truths")
    options = {"channels": ("sst", "t2m"), "time_step": "6h", "n_times": 32}
    store = make_store(folder / "s.zarr", "files", mask=True, **options)
    export_netcdf(store, folder / "truth.nc")
    run_rollout(Turning(store, 0.9), store, folder / "f.nc", n_steps=3)
    return folder


def test_files_give_the_scores_of_a_store_with_the_same_states(
    folder: Path, run_forecast: Run, tmp_path: Path
) -> None:
    for truth, out in (("s.zarr", "a.nc"), ("truth.nc", "b.nc")):
        words = ("--truth", folder / truth, "--climatology", folder / "s.zarr")
        assert run_forecast("evaluate", folder / "f.nc", *words, "--out", tmp_path / out) == 0
    with xr.open_dataset(tmp_path / "a.nc") as a, xr.open_dataset(tmp_path / "b.nc") as b:
        assert set(a.data_vars) == set(b.data_vars)
        for name in ("rmse", "acc", "n_points", "n_forecasts"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-9)
        assert float(b.rmse.sel(channel="t2m", forecast="model")[0, 2]) > 0


def test_files_without_a_truth_are_refused(
    folder: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    with xr.open_dataset(folder / "truth.nc") as data:
        data[["sst"]].to_netcdf(tmp_path / "sst.nc")
    words = ("--truth", tmp_path / "sst.nc", "--out", tmp_path / "x.nc")
    line = refused("evaluate", folder / "f.nc", *words)
    assert f"no truth of {folder / 'f.nc'} from {tmp_path / 'sst.nc'}" in line and "t2m" in line
    assert not list(tmp_path.glob("x.*"))
