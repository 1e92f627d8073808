"""Sixty years of observed sea surface temperature through the whole workflow, on a coarser grid."""

from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

from benchmarks.accuracy.sst.bands import measure_bands
from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile

FILE = "sst/cobe2_sst_monthly_1950-2009_2deg.nc"
COARSER = (
    "data.grid={kind: cell-centred, nlat: 45, nlon: 90}",
    "model.branches.integral.theta_cutoff=0.2",
    "model.branches.spectral.lmax=15",
    "training.steps=80",
    "training.validate_every=40",
    "tracking.enabled=false",
)


@pytest.mark.data
@pytest.mark.slow
def test_sea_surface_temperature_is_forecast_with_skill(
    data_folder: Path, tmp_path: Path, run_forecast: Callable[..., int]
) -> None:
    """Compare with persistence, a strong baseline up to two months, and then climatology."""
    store, run = tmp_path / "store.zarr", tmp_path / "run"
    forecast, scores, picture = (tmp_path / name for name in ("f.nc", "s.nc", "map.png"))
    words = ("data", "ingest", "sst", data_folder / FILE, "--out", store, COARSER[0])
    assert run_forecast(*words) == 0
    assert run_forecast("train", "sst", "--data", store, "--out", run, *COARSER) == 0
    words = ("rollout", run / "best", "--data", store, "--out", forecast, "--steps", 12)
    assert run_forecast(*words) == 0
    assert run_forecast("evaluate", forecast, "--data", store, "--out", scores) == 0
    with xr.open_dataset(scores, engine="netcdf4", decode_timedelta=False) as result:
        rmse = result.rmse.sel(channel="sst", region="global").load()
    months = {name: rmse.sel(forecast=name) for name in ("model", "persistence", "climatology")}
    # What the reference of this data set says of the two baselines, on twice as fine a grid.
    assert months["climatology"][1:].values == pytest.approx(0.61, abs=0.02)
    assert months["persistence"][[1, 3, 6]].values == pytest.approx([0.32, 0.54, 0.63], abs=0.02)
    for lead in (1, 3):
        assert months["model"][lead] < months["climatology"][lead]
    for lead in (3, 6):
        assert months["model"][lead] < months["persistence"][lead]
    _degrees_beyond_the_spectral_branch_are_damped_too(forecast, store)
    words = ("--variable", "sst", "--lead", "3mo", "--truth", store, "--out", picture)
    assert run_forecast("plot", "map", forecast, *words) == 0


def _degrees_beyond_the_spectral_branch_are_damped_too(forecast: Path, store: Path) -> None:
    """Compare with the power of a regression on the initial state in degrees 15 to 22."""
    beyond = measure_bands(ForecastFile(forecast), Store(store), ((15, 23),))["15 to 22"]
    for power, of_regression in zip(beyond["power"], beyond["power_of_regression"], strict=True):
        assert power < 2 * of_regression
