"""Store and models for the tests of ensembles."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from configs.model import ModelConfig
from data_prep.store.reader import Store
from forecast.inference.ensemble.perturbation import Setup
from forecast.model.forecaster import Forecaster
from forecast.model.normalizer import Normalizer
from tests.forecast.small_run import BASE


def make_forecaster(store: Path, seed: int = 0, **model: object) -> Forecaster:
    """Return a model with random weights, whose steps differ from the identity."""
    torch.manual_seed(seed)
    config = ModelConfig.model_validate(BASE["model"] | model)
    forecaster = Forecaster.from_store(config, Store(store)).eval()
    with torch.no_grad():
        forecaster.network.decoder.weight.normal_(std=0.5)
    return forecaster


def setup_of(store: Path) -> Setup:
    """Return what perturbations of the states of a store are built for."""
    found = Store(store)
    normalizer = Normalizer.from_store(found, "mean")
    return Setup(found.grid, found.channels, found.time_step, normalizer, store=found)


@pytest.fixture(scope="package")
def store(make_store, tmp_path_factory) -> Path:
    """Trajectories of geopotential, vorticity and divergence, all conserved."""
    return make_store(tmp_path_factory.mktemp("trajectories") / "store.zarr", n_times=10)


@pytest.fixture(scope="package")
def series(make_store, tmp_path_factory) -> Path:
    """Monthly series of sea surface temperature, with a mask, and temperature at 2 m."""
    return make_store(tmp_path_factory.mktemp("series") / "store.zarr", "files", mask=True)
