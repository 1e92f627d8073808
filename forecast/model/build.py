"""Construction of a network from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from configs.model import BranchesConfig, ModelConfig
from forecast.model.gated import GatedMLP
from forecast.model.network import LocalSFNO, MakeMLP
from sphere_ops.grid import Grid

BuildNetwork = Callable[[ModelConfig, int, int, Grid], LocalSFNO]
"""Function that builds a network from its configuration, numbers of input and output channels, and
grid. Of a network in place of a `LocalSFNO`, training uses the call, `checkpoint_blocks` and
`parameter_counts`; with `model.baseline=climatology` also `start_from`, with noise into the blocks
`inner_grid` and the call with noise, and on another grid `on_grid`."""

_UNRESOLVED_LMAX = 32
"""Degree whose scale derivatives refer to where no spectral branch sets one."""


def build_network(
    config: ModelConfig,
    in_channels: int,
    out_channels: int,
    grid: Grid,
    mlp: MakeMLP = GatedMLP,
) -> LocalSFNO:
    """Build the network of a configuration, or one with other layers after the branches."""
    inner, noise = config.grid, config.noise
    return LocalSFNO(
        in_channels,
        out_channels,
        grid,
        branch_settings(config.branches),
        channels=config.channels,
        blocks=config.blocks,
        mlp=mlp,
        mlp_ratio=config.mlp_ratio,
        inner_grid=None if inner is None else Grid.of(inner.kind, inner.nlat, inner.nlon),
        noise_channels=noise.total_channels if noise is not None and noise.into == "blocks" else 0,
    )


def branch_settings(branches: BranchesConfig) -> dict[str, dict[str, Any]]:
    """Return the settings of the branches that exist, by name."""
    settings: dict[str, dict[str, Any]] = branches.model_dump(exclude_none=True)
    if "differential" in settings:
        lmax = branches.spectral.lmax if branches.spectral is not None else _UNRESOLVED_LMAX
        settings["differential"].setdefault("length_scale", 1 / lmax)
    return settings
