"""Measurements of long rollouts: integrals, range, spectra, and steps in which the limiter acts."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.accuracy.stability.measure import climate, integrals, measured
from configs.model import ModelConfig
from data_prep.store.reader import Store
from forecast.model.forecaster import Forecaster
from forecast.model.limiter import SpectralLimiter
from tests.forecast.conftest import build_store

LMAX = 6


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(build_store(tmp_path_factory.mktemp("t") / "store.zarr", n_times=9))


def forecaster(store: Store, growth: float = 0.0) -> Forecaster:
    """Return persistence, or a model whose fields grow by this share of themselves in a step."""
    config = ModelConfig.model_validate({"branches": {"spectral": {"lmax": 8}}, "blocks": 1})
    model = Forecaster.from_store(config, store).eval()
    scale = model.normalizer.step_scale

    class Growing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return growth * x[:, :3] / scale

    model.network = Growing()
    return model


def test_integrals_of_solid_rotation_are_exact(store):
    """The wind u = U cos φ has the vorticity 2 U sin φ / a, and the mean energy U² / 3."""
    radius, speed = float(store.attributes["radius"]), 30.0
    sine = torch.sin(torch.deg2rad(store.grid.latitude)).float()[:, None].expand(store.grid.shape)
    vorticity = 2 * speed * sine / radius
    state = torch.stack([torch.full_like(sine, 7e4), vorticity, torch.zeros_like(sine)])[None]
    found = integrals(state, store)[0].tolist()
    enstrophy = (2 * speed / radius) ** 2 / 3 / 2
    assert found == pytest.approx([7e4, speed**2 / 3, enstrophy], rel=1e-5)


def test_persistence_stays_in_range_and_has_the_spectrum_of_its_state(store):
    model = forecaster(store)
    truth = climate(store, model, LMAX)
    found = measured(model, store, truth, 8, limited=False)
    assert found["steps"] == 8 and found["left the widened range at"] is None
    assert (torch.tensor(found["highest"]) <= truth.high + 1e-5).all()
    index = list(store.split).index("validation")
    # The fields of a trajectory rotate: their spectrum does not change.
    expected = truth.of_trajectory[index] / truth.power
    torch.testing.assert_close(
        torch.tensor(found["spectral ratio"])[:, 1:3], expected[:, 1:3].float(), rtol=1e-3, atol=0
    )
    assert truth.largest_factor() >= found["largest factor"] / 1.001 >= 1


def test_a_growing_model_leaves_the_range_and_the_limiter_acts_on_it(store):
    model = forecaster(store, growth=0.1)
    truth = climate(store, model, LMAX)
    free = measured(model, store, truth, 80, limited=False)
    assert 1 < free["left the widened range at"] < 40
    assert free["steps"] < 80 and "largest factor" not in free
    held = measured(model, store, truth, 80, limited=True)
    assert held["steps"] == 80
    assert 0.5 < held["limiter"]["share of steps"] <= 1
    assert isinstance(model.limiter, SpectralLimiter)


def test_the_factor_is_symmetric_in_forecast_and_truth(store):
    truth = climate(store, forecaster(store), LMAX)
    each = truth.of_trajectory[:, :, 1:3] / truth.power[:, None].transpose(0, 1)[:, :, 1:3]
    largest = math.exp(np.abs(each.log().numpy()).max())
    assert truth.largest_factor() == pytest.approx(largest, rel=1e-6)
