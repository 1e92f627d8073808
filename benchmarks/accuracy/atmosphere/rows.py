"""Rows of the forecasts of an atmosphere: our network without some branches, and peers."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.accuracy.peers import PEERS, peer_builder
from configs.load import load_config
from configs.schema import Config
from forecast.model.build import BuildNetwork, build_network

ABSENT = {
    "global": ("integral", "differential"),
    "integral": ("differential",),
    "differential": ("integral",),
    "all": (),
}
ROWS = (*ABSENT, *PEERS, *(f"{peer}-time" for peer in PEERS))
"""Peers have about as many parameters as `all`, or the same time of a training step."""


def peer_of(row: str) -> str | None:
    """Return the peer of a row; None for one of our networks."""
    name = row.removesuffix("-time")
    return name if name in PEERS else None


def config_of(preset: str, row: str, seed: int, overrides: Sequence[str]) -> Config:
    """Return the configuration of a run."""
    words = [*overrides, f"training.seed={seed}", "tracking.enabled=false"]
    words += [f"model.branches.{branch}=null" for branch in ABSENT.get(row, ABSENT["global"])]
    if row == "global":
        words.append("model.branches.spectral.complex=true")
    return load_config(preset, words)


def build_of(row: str) -> BuildNetwork:
    """Return the function that builds the network of a row."""
    peer = peer_of(row)
    return build_network if peer is None else peer_builder(peer)
