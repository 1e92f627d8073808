"""Options of `forecast rollout` on what is written, and its exit codes."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import xarray as xr

from configs.model import ModelConfig
from data_prep.store.reader import Store
from forecast.model.forecaster import Forecaster
from forecast.model.package import save_package

MODEL = ModelConfig(channels=4, blocks=1, branches={"spectral": {"lmax": 4}}, spectral_limit=None)


@pytest.fixture(scope="module")
def folder(make_store, tmp_path_factory):
    """Return a folder with a store, a package that keeps the state, and one that amplifies it."""
    folder = tmp_path_factory.mktemp("options")
    store = Store(make_store(folder / "store.zarr"))
    forecaster = Forecaster.from_store(MODEL, store)
    save_package(forecaster, folder / "steady")
    torch.manual_seed(0)
    with torch.no_grad():
        forecaster.network.decoder.weight.normal_(0, 30)
    save_package(forecaster, folder / "growing")
    return folder


@pytest.fixture
def rollout(run_forecast, folder, tmp_path):
    """Return a function that forecasts into a file, and returns the exit code."""

    def run(package: str, *options) -> int:
        words = ("--data", folder / "store.zarr", "--out", tmp_path / "f.nc", "--steps", 4)
        return run_forecast("rollout", folder / package, *words, *options)

    return run


def test_variables_derived_fields_and_means_are_written(rollout, tmp_path):
    options = ("--derive", "winds", "--derive", "wind_speed", "--variables", "vorticity,wind_speed")
    assert rollout("steady", *options, "--variables", "eastward_wind", "--mean", "2h") == 0
    with xr.open_dataset(tmp_path / "f.nc") as file:
        names = {"vorticity", "wind_speed", "eastward_wind"}
        statistics = {f"{n}_{s}" for n in names for s in ("mean", "std", "min", "max")}
        assert set(file.data_vars) == {"n_steps", "period_bounds"} | names | statistics
        assert file.attrs["channels"] == "vorticity"
        assert file.n_steps.values.tolist() == [[2, 2, 1]]


def test_implausible_values_have_their_own_exit_code(rollout, tmp_path, capfd):
    assert rollout("growing") == 4
    warning = capfd.readouterr().err
    assert "is not plausible: " in warning
    assert "at step " in warning
    assert "plausible are " in warning
    with xr.open_dataset(tmp_path / "f.nc") as file:
        assert np.isfinite(file.vorticity).all()
        assert "last_step" not in file


def test_implausible_forecasts_are_stopped_on_request(rollout, tmp_path, capfd):
    assert rollout("growing", "--stop-implausible") == 4
    assert "what came before is kept" in capfd.readouterr().err
    with xr.open_dataset(tmp_path / "f.nc") as file:
        last = int(file.last_step[0])
        assert last < 4
        finite = np.isfinite(file.vorticity[0]).all(["latitude", "longitude"]).values
        assert finite.tolist() == [step <= last for step in range(5)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--derive", "wind"), "unknown derived field 'wind'; expected one of winds"),
        (("--derive", "vorticity"), "vorticity does not follow from a forecast of geopotential"),
        (("--variables", "vortcity"), "'vortcity'.*nearest: vorticity"),
        (("--mean", "1week"), "period '1week'; expected a whole number of hours, days"),
        (("--no-snapshots",), "leaves nothing to write without --mean"),
        (("--layout", "weatherbench2"), "these are from trajectories"),
    ],
)
def test_options_that_make_no_sense_leave_nothing(folder, refused, tmp_path, options, message):
    out = tmp_path / "f.nc"
    words = ("rollout", folder / "steady", "--data", folder / "store.zarr", "--out", out)
    assert re.search(message, refused(*words, *options))
    assert not list(tmp_path.iterdir())
