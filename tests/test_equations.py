"""Each equation set as a user meets it: a store, a training, a forecast and its scores."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import xarray as xr

from data_prep.store.reader import Store
from forecast.model.package import load_package
from forecast.model.state import State

DATA = [
    "data.grid={nlat: 16, nlon: 32}", "data.lmax=11",
    "data.trajectories={train: 4, validation: 2, test: 2}",
]  # fmt: skip
MODEL = [
    "model.branches={spectral: {lmax: 8}, differential: {order: 1}}", "model.channels=4",
    "model.blocks=1", "model.dealias_lmax=null", "training.steps=4", "training.batch_size=2",
    "training.validate_every=2", "training.validation_rollout=1", "tracking.enabled=false",
]  # fmt: skip
OWN = {
    "barotropic": ["data.n_steps=3", "data.spin_up=6h"],
    "reaction": ["data.n_steps=3"],
    "darcy": ["data.parameters.length=0.5"],
}


@pytest.fixture(scope="module", params=OWN)
def folder(
    request: pytest.FixtureRequest,
    run_forecast: Callable[..., int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Folder of a store, a model, a forecast and its scores."""
    name = request.param
    folder = tmp_path_factory.mktemp(name) / name
    folder.mkdir()
    settings = [*DATA, *OWN[name]]
    store, run, forecast = folder / "store.zarr", folder / "run", folder / "forecast.nc"
    assert run_forecast("data", "solve", name, *settings, "--out", store) == 0
    assert run_forecast("train", name, *settings, *MODEL, "--data", store, "--out", run) == 0
    words = ("--data", store, "--out", forecast, "--steps", 1)
    assert run_forecast("rollout", run / "best", *words) == 0
    assert run_forecast("evaluate", forecast, "--data", store, "--out", folder / "scores.nc") == 0
    return folder


def test_a_model_is_trained_and_scored(folder: Path) -> None:
    with xr.open_dataset(folder / "scores.nc") as scores:
        assert (scores.rmse.isel(lead_time=-1) > 0).all()


def test_the_head_depends_on_the_permeability_alone(folder: Path) -> None:
    if folder.name != "darcy":
        pytest.skip("of Darcy flow")
    forecaster, store = load_package(folder / "run" / "best"), Store(folder / "store.zarr")
    assert forecaster.channel_names == ("hydraulic_head",)
    head, permeability = store.state(0)[None].split(1, dim=1)
    time = store.time[:1]
    made = forecaster.step(State(head, time), permeability).fields
    torch.testing.assert_close(forecaster.step(State(head + 1, time), permeability).fields, made)
    other = forecaster.step(State(head, time), store.state(1)[None, 1:]).fields
    assert (other - made).abs().max() > 0
