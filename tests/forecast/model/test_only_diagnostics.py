"""Models whose channels are all diagnostic: a map from given fields, without feedback."""

from pathlib import Path

import numpy as np
import pytest
import torch

from configs.variables import variable
from data_prep.store.reader import Store
from data_prep.store.spec import StoreSpec, Trajectories
from data_prep.store.writer import StoreWriter
from forecast.model.forecaster import Forecaster
from forecast.model.state import State
from sphere_ops.grid import Grid
from tests.forecast.small_run import config


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Store of samples: a given field, and one to predict, which is 0 at first."""
    spec = StoreSpec(
        Grid.legendre_gauss(8, 16),
        (variable("hydraulic_head"), variable("permeability")),
        np.datetime64("2000-01-01", "ns") + np.arange(2) * np.timedelta64(1, "h"),
        "1h", ["train"] * 3, "Samples", "a test", "",
        trajectories=Trajectories(np.arange(3), ("a",) * 3),
    )  # fmt: skip
    fields = np.random.default_rng(0).standard_normal((3, 1, 2, 8, 16)).repeat(2, axis=1)
    fields[:, 0, 0] = 0
    with StoreWriter(tmp_path / "s.zarr", spec) as writer:
        for i, sample in enumerate(fields):
            writer.write_trajectory(i, sample)
        return Store(writer.finalise())


def test_a_model_without_prognostic_channels_maps_given_fields(store: Store) -> None:
    part = store.select(channels=["hydraulic_head"], forcing=["permeability"])
    forecaster = Forecaster.from_store(config().model, part).eval()
    assert forecaster.limiter is None
    head, given = store.state(0)[None].split(1, dim=1)
    made = forecaster.step(State(head, store.time[:1]), given).fields
    other = forecaster.step(State(head + 5, store.time[:1]), given).fields
    torch.testing.assert_close(made, other)
