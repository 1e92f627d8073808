"""Peers inside a forecaster: output, training and weights are those of their library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.accuracy.peers import PEERS, PeerNetwork, peer_builder, peer_network
from data_prep.store.reader import Store
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package
from forecast.model.state import State
from forecast.training.optimizer import make_optimizer
from forecast.training.train import train
from sphere_ops.grid import Grid
from tests.forecast.conftest import build_store
from tests.forecast.small_run import config

GRID = Grid.legendre_gauss(8, 16)


MODEL = {"blocks": 2}  # of LSNO, the second block is the spectral one


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def build(peer: str) -> Any:
    return peer_builder(peer)


@pytest.fixture
def networks(peer: str, build: Any) -> tuple[nn.Module, PeerNetwork]:
    """Return a network as its library makes it, and the same one inside the adapter."""
    torch.manual_seed(0)
    plain = peer_network(peer, config(MODEL).model, 5, 3, GRID)
    torch.manual_seed(0)
    return plain, build(config(MODEL).model, 5, 3, GRID)


def test_the_adapter_gives_the_output_of_the_peer(networks: tuple[nn.Module, PeerNetwork]) -> None:
    plain, inside = networks
    x = torch.randn(2, 5, *GRID.shape)
    assert type(plain).__name__ in PEERS.values()
    assert torch.equal(plain(x), inside(x))
    assert plain(x).std() > 0.01


def test_real_weights_are_trained_as_the_complex_ones(
    networks: tuple[nn.Module, PeerNetwork],
) -> None:
    plain, inside = networks
    x, y = torch.randn(2, 5, *GRID.shape), torch.randn(2, 3, *GRID.shape)
    for network, fused in ((plain, False), (inside, True)):
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, fused=fused)
        for _ in range(3):
            optimizer.zero_grad()
            (network(x) - y).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(plain(x), inside(x), rtol=1e-4, atol=1e-4)
    assert any(p.is_complex() for p in plain.parameters())
    assert not any(p.is_complex() for p in inside.parameters())
    real = sum(p.numel() * (2 if p.is_complex() else 1) for p in plain.parameters())
    assert inside.parameter_counts() == {"peer": real}


def test_muon_takes_the_weights_of_peers_for_matrices(
    networks: tuple[nn.Module, PeerNetwork],
) -> None:
    plain, inside = networks
    optimizer, _ = make_optimizer("muon", inside, 1e-2)
    kinds = {id(p): g["matrices"] for g in optimizer.param_groups for p in g["params"]}
    complex_ones = [id(p) for p in inside.parameters() if kinds[id(p)] == "complex"]
    assert len(complex_ones) == sum(p.is_complex() for p in plain.parameters()) > 0
    assert sum(kind == "real" for kind in kinds.values()) >= 6


def test_a_step_of_the_forecaster_is_that_of_its_peer(build: Any, tmp_path: Path) -> None:
    store = Store(build_store(tmp_path / "s.zarr"))
    changes = {**MODEL, "conserve": False, "spectral_limit": None}
    model = Forecaster.from_store(config(changes).model, store, build).eval()
    state = State(store.state(0)[None], store.time[:1])
    (after,) = rollout(model, state, 1)
    mean, std = (store.statistics[name][:, None, None].float() for name in ("mean", "std"))
    present = (state.fields - mean) / std
    with torch.no_grad():
        change = model.network(torch.cat([present, model.static[None]], dim=1))
    expected = (present + change * model.normalizer.step_scale) * std + mean
    torch.testing.assert_close(after.fields, expected)


def test_a_trained_peer_is_loaded_with_its_weights(build: Any, tmp_path: Path) -> None:
    data = build_store(tmp_path / "s.zarr")
    train(config(MODEL, steps=2, ema_decay=0.9), data, tmp_path / "run", build=build)
    state = State(Store(data).state(0)[None], Store(data).time[:1])
    first, again = (load_package(tmp_path / "run", build=build).step(state) for _ in range(2))
    untrained = Forecaster.from_store(config(MODEL).model, Store(data), build).step(state)
    assert torch.equal(first.fields, again.fields)
    assert not torch.allclose(first.fields, untrained.fields)
