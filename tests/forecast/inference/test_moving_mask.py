"""Forecasts of channels that are missing at points which change with time."""

import shutil

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from configs.model import ModelConfig
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.model.forecaster import Forecaster
from forecast.model.package import save_package
from forecast.verification.evaluate import evaluate
from tests.forecast.stand_in import Turning

CONFIG = {"branches": {"spectral": {"lmax": 6}}, "channels": 4, "blocks": 1, "history": 2}


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    path = tmp_path_factory.mktemp("moving") / "store.zarr"
    return make_store(path, "files", mask=True, moving_mask=True)


def package(store, path, **model):
    torch.manual_seed(0)
    config = ModelConfig.model_validate(CONFIG | model)
    forecaster = Forecaster.from_store(config, Store(store))
    with torch.no_grad():
        forecaster.network.decoder.weight.normal_(std=0.3)
    save_package(forecaster, path)
    return path


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_initial_states_keep_their_missing_points_and_later_steps_have_values_there(
    store, run_forecast, tmp_path, suffix
):
    model, out = package(store, tmp_path / "p", baseline="climatology"), tmp_path / f"f.{suffix}"
    assert run_forecast("rollout", model, "--data", store, "--out", out, "--steps", 3) == 0
    source = Store(store)
    with ForecastFile(out).dataset as file:
        assert file.attrs["moving_mask"] == "sst"
        starts = source.split_indices("test")
        assert len(file.init_time) == len(starts)
        for i, start in enumerate(starts):
            state = source.state(int(start)).numpy()
            for c, name in enumerate(("sst", "t2m")):
                np.testing.assert_array_equal(file[name].values[i, 0], state[c])
                finite = np.isfinite(file[name].values[i, 1:])
                mask = np.broadcast_to(source.mask[c].numpy(), finite.shape)
                np.testing.assert_array_equal(finite, mask)


def test_the_mask_of_a_file_is_that_of_its_predictions(store, tmp_path):
    run_rollout(Turning(store), store, tmp_path / "f.nc", n_steps=2)
    file = ForecastFile(tmp_path / "f.nc")
    np.testing.assert_array_equal(file.mask, Store(store).mask)
    first = file.states(0, slice(0, 1))[0]
    assert (np.isnan(first) & file.mask).any()
    file.check_initial(first, 0)
    with pytest.raises(ValueError, match="t2m of the forecast from .* has missing values"):
        file.check_initial(np.where(first == first[1, 2, 2], np.nan, first), 0)


def test_a_file_of_forecasts_that_end_at_once_has_no_mask_to_go_by(store, tmp_path):
    model = Turning(store)
    model.fails = {i: 1 for i in range(2)}
    times = ["2003-01", "2003-02"]
    run_rollout(model, store, tmp_path / "f.nc", init_times=times, n_steps=2)
    assert ForecastFile(tmp_path / "f.nc").mask[0].all()


def test_a_model_of_complete_states_refuses_a_store_with_missing_points(
    store, make_store, tmp_path, refused
):
    model = package(make_store(tmp_path / "whole.zarr", "files", mask=True), tmp_path / "p")
    zarr.open_group(shutil.copytree(store, tmp_path / "s.zarr"))["mask"][0] = (
        Store(tmp_path / "whole.zarr").mask[0].numpy()
    )
    line = refused("rollout", model, "--data", tmp_path / "s.zarr", "--out", tmp_path / "f.nc")
    assert "missing values of sst" in line and "data.moving_mask" in line


def test_a_state_without_any_value_of_a_channel_is_refused(store, tmp_path):
    path = shutil.copytree(store, tmp_path / "s.zarr")
    zarr.open_group(path)["fields"][40, 0] = np.nan
    with pytest.raises(ValueError, match="missing values of sst at 2003-05-01"):
        run_rollout(package(store, tmp_path / "p"), path, tmp_path / "f.nc", n_steps=2)


def test_missing_points_of_other_channels_are_refused(store, tmp_path):
    path = shutil.copytree(store, tmp_path / "s.zarr")
    zarr.open_group(path)["fields"][40, 1, 3, 3] = np.nan
    with pytest.raises(ValueError, match="missing values of t2m at 2003-05-01"):
        run_rollout(package(store, tmp_path / "p"), path, tmp_path / "f.nc", n_steps=2)


def test_a_store_may_have_a_smaller_moving_mask_than_that_of_training(store, tmp_path):
    """Use a store in which the ice never leaves one more point."""
    path = shutil.copytree(store, tmp_path / "s.zarr")
    group = zarr.open_group(path)
    assert group["mask"][0, 1, 9] == 1
    group["mask"][0, 1, 9] = 0
    group["fields"][:, 0, 1, 9] = np.nan
    run_rollout(package(store, tmp_path / "p"), path, tmp_path / "f.nc", n_steps=2)
    with xr.open_dataset(tmp_path / "f.nc") as file:
        assert file.sst[:, 0, 1, 9].isnull().all() and file.sst[:, 1:, 1, 9].notnull().all()
    scores = evaluate(tmp_path / "f.nc", path, tmp_path / "s.nc")
    assert scores.rmse[..., 1].notnull().all()


def test_a_channel_that_has_values_everywhere_at_some_time_needs_no_mask(make_store, tmp_path):
    path = make_store(tmp_path / "s.zarr", "files", moving_mask=True)
    assert Store(path).mask[0].all()
    for kept in (True, False):
        out = tmp_path / f"{kept}.nc"
        run_rollout(package(path, tmp_path / "p"), path, out, n_steps=2)
        group = zarr.open_group(path)
        if kept:
            del group["mask"]
    with xr.open_dataset(tmp_path / "True.nc") as a, xr.open_dataset(tmp_path / "False.nc") as b:
        xr.testing.assert_equal(a, b)
        assert a.sst[:, 0].isnull().any() and a.sst[:, 1:].notnull().all()
