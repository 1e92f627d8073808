"""Trained operators on other grids than that of training, against the solver."""

from pathlib import Path

import numpy as np
import pytest
import torch

from configs.load import load_config
from configs.schema import Config
from data_prep.shallow_water.generate import generate_shallow_water
from data_prep.store.reader import Store
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import State
from forecast.training.train import train
from sphere_ops.harmonics.resample import resample
from sphere_ops.parallel.fields import area_mean

SMALL = (
    "data.lmax=11",
    "data.n_steps=5",
    "model.branches.spectral.lmax=16",
    "model.branches.integral.theta_cutoff=0.6",
    "model.dealias_lmax=11",
    "model.channels=12",
    "model.blocks=2",
    "training.steps=150",
    "training.learning_rate=4e-2",
    "training.validate_every=150",
    "training.validation_rollout=2",
    "training.device=cpu",
    "tracking.enabled=false",
)
# All hold the 11 degrees of the solver, so that their states are the same fields.
GRIDS = {
    "finer": ("legendre-gauss", 24, 48),
    "with rows at the poles": ("equiangular", 25, 48),
    "cell-centred": ("cell-centred", 24, 48),
    "coarser": ("legendre-gauss", 12, 24),
}


def settings(kind: str, nlat: int, nlon: int, n_train: int) -> Config:
    grid = f"data.grid={{kind: {kind}, nlat: {nlat}, nlon: {nlon}}}"
    counts = f"data.trajectories={{train: {n_train}, validation: 1, test: 3}}"
    return load_config("swe", [*SMALL, grid, counts])


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Forecaster, Store]:
    """Forecaster trained for some seconds, and its store."""
    folder = tmp_path_factory.mktemp("trained")
    config = settings("legendre-gauss", 16, 32, n_train=24)
    store = generate_shallow_water(config.data, folder / "store.zarr")
    train(config, store, folder / "run")
    return load_package(folder / "run" / "package"), Store(store)


@pytest.fixture(scope="module", params=GRIDS)
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return the same test trajectories on another grid."""
    folder: Path = tmp_path_factory.mktemp("other")
    config = settings(*GRIDS[request.param], n_train=1)
    return Store(generate_shallow_water(config.data, folder / "store.zarr"))


def states(store: Store, step: int) -> torch.Tensor:
    return torch.stack([store.state(i, step) for i in store.split_indices("test")])


def errors(model: Forecaster | ResamplingForecaster, store: Store) -> np.ndarray:
    """Return root-mean-square errors of a forecast and of persistence, (5 steps, 2, channel)."""
    start = states(store, 0)
    time = np.full(len(start), store.valid_time(0))
    found = []
    for n, state in enumerate(rollout(model, State(start, time), 5), start=1):
        truth = states(store, n)
        squares = [(x - truth).double().square() for x in (state.fields, start)]
        found.append([area_mean(s, store.grid).mean(0).sqrt().numpy() for s in squares])
    return np.array(found)


def test_on_its_own_grid_the_trained_model_is_far_better_than_persistence(trained):
    forecaster, store = trained
    model, persistence = errors(forecaster, store).swapaxes(0, 1)
    assert (model[0] < 0.1 * persistence[0]).all()
    assert (model[4] < 0.3 * persistence[4]).all()


def test_trained_operators_forecast_on_another_grid_about_as_well(trained, other):
    forecaster, store = trained
    own = errors(forecaster, store)[:, 0]
    found, persistence = errors(forecaster.on_grid(other.grid), other).swapaxes(0, 1)
    assert (found < 0.3 * persistence).all()
    # 1.03 at most was seen, and 1.7 on the coarser grid: the local kernel was trained with three
    # rows to each side, and has two there.
    assert (found < (2.2 if other.grid.nlat < store.grid.nlat else 1.1) * own).all()


def test_fields_taken_to_the_own_grid_and_back_are_forecast_as_well(trained, other):
    forecaster, store = trained
    scale = states(store, 0).abs().amax((0, 2, 3))[:, None, None]
    there = resample(states(other, 0), other.grid, store.grid)
    torch.testing.assert_close(there / scale, states(store, 0) / scale, rtol=0, atol=2e-6)
    own = errors(forecaster, store)[:, 0]
    found = errors(ResamplingForecaster(forecaster, other.grid), other)[:, 0]
    np.testing.assert_allclose(found, own, rtol=1e-3)
