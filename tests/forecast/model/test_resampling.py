"""A forecaster for states on another grid: the forecast of its own, brought there."""

import numpy as np
import pytest
import torch
import xarray as xr

from configs.model import ModelConfig
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.package import save_package
from forecast.model.resampling import Resampled
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample

BRANCHES = {"spectral": {"lmax": 8}, "integral": {"theta_cutoff": 1.2}}


def trained(path) -> tuple[Store, Forecaster]:
    """A store, and a forecaster of it that changes the fields."""
    torch.manual_seed(0)
    store = Store(path)
    config = ModelConfig.model_validate({"branches": BRANCHES, "channels": 4, "blocks": 1})
    forecaster = Forecaster.from_store(config, store).eval()
    with torch.no_grad():
        forecaster.network.decoder.weight.normal_(std=0.3)
    return store, forecaster


@pytest.mark.parametrize("nlat", [16, 11])
def test_on_a_finer_grid_it_is_the_forecast_of_the_own_grid(make_store, tmp_path, nlat):
    store, forecaster = trained(make_store(tmp_path / "store.zarr"))
    state, time = store.state(0)[None], np.array([store.valid_time(0)])
    fine = Grid.of("legendre-gauss", nlat, 2 * nlat)
    there = Resampled(forecaster, fine)
    *_, (_, own) = rollout(forecaster, state, time, 3)
    *_, (_, found) = rollout(there, resample(state, store.grid, fine), time, 3)
    expected = resample(own, store.grid, fine)
    assert not torch.allclose(own, state, rtol=0.01)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=float(expected.abs().max()) * 1e-5)


def test_a_rollout_takes_either_way_to_the_grid_of_the_store(make_store, tmp_path):
    _, forecaster = trained(make_store(tmp_path / "store.zarr"))
    save_package(forecaster, tmp_path / "package")
    other = make_store(tmp_path / "other.zarr", nlat=12, nlon=24)
    found = {}
    for transfer in ("operators", "fields"):
        out = tmp_path / f"{transfer}.nc"
        run_rollout(tmp_path / "package", other, out, n_steps=2, transfer=transfer)
        with xr.open_dataset(out) as forecast:
            found[transfer] = forecast.load()
    grid = Store(other).grid
    for forecast in found.values():
        assert forecast.sizes["latitude"] == grid.nlat
        assert all(np.isfinite(field).all() for field in forecast.data_vars.values())
    assert not found["operators"].equals(found["fields"])


def test_a_masked_model_is_refused(make_store, tmp_path):
    path = make_store(tmp_path / "store.zarr", "files", mask=True)
    config = ModelConfig.model_validate({"branches": {"spectral": {"lmax": 6}}, "blocks": 1})
    masked = Forecaster.from_store(config, Store(path))
    with pytest.raises(ValueError, match="cannot be resampled to .* take --transfer operators"):
        Resampled(masked, Grid.of("legendre-gauss", 16, 32))
