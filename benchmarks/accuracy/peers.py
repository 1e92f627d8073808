"""Networks of torch-harmonics in place of ours inside a `Forecaster`.

All that is around the network is the same as for ours: inputs, scaling, residual, truncation of the
tendency, conservation, limiter, training. A configuration gives their size: `model.channels`,
`model.blocks` and `model.mlp_ratio`; its branches are those of our network, and not used.
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from configs.model import ModelConfig
from forecast.model.build import BuildNetwork
from sphere_ops.grid import Grid

PEERS = {"sfno": "SphericalFourierNeuralOperator", "lsno": "LocalSphericalNeuralOperator"}
"""Classes of `torch_harmonics.examples.models`, by the name of a row."""


class RealParts(nn.Module):
    """Complex weight from a real one, whose last dimension has real and imaginary part.

    Fused optimisers, checkpoints and packages take real tensors only. The optimisers of a training
    change it as a complex one.
    """

    def forward(self, parts: Tensor) -> Tensor:
        """Return the complex weight."""
        return torch.view_as_complex(parts)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor]:
        """Return the parts of a complex weight; in a tuple they may have another type."""
        return (torch.view_as_real(weight).clone(),)


class PeerNetwork(nn.Module):
    """Network of another library with what training uses of a `LocalSFNO`.

    Attributes:
        network: The network of the other library. Its complex weights become real ones.
        complex_weights: Names of these.
        checkpoint_blocks: Setting of the training that has no effect here.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.checkpoint_blocks = network, False
        self.complex_weights: list[str] = []
        for path, module in list(self.named_modules()):
            for name, weight in list(module.named_parameters(recurse=False)):
                if weight.is_complex():
                    parametrize.register_parametrization(module, name, RealParts())
                    self.complex_weights.append(f"{path}.parametrizations.{name}.original0")

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, in_channels, nlat, nlon) to (b, out_channels, nlat, nlon)."""
        return self.network(x)

    def parameter_counts(self) -> dict[str, int]:
        """Return the number of real parameters; a complex one counts twice."""
        return {"peer": sum(p.numel() for p in self.parameters())}


def peer_builder(peer: str) -> BuildNetwork:
    """Return the function that builds a network of torch-harmonics.

    Args:
        peer: Name, from `PEERS`.
    """

    def build(config: ModelConfig, in_channels: int, out_channels: int, grid: Grid) -> Any:
        return PeerNetwork(peer_network(peer, config, in_channels, out_channels, grid))

    return cast(BuildNetwork, build)


def peer_network(
    peer: str, config: ModelConfig, in_channels: int, out_channels: int, grid: Grid
) -> nn.Module:
    """Return a network with blocks on the grid of the data and all degrees that it resolves."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="torch_harmonics")
        from torch_harmonics.examples import models

        network: nn.Module = getattr(models, PEERS[peer])(
            img_size=grid.shape,
            grid=grid.kind,
            grid_internal=grid.kind,
            scale_factor=1,
            in_chans=in_channels,
            out_chans=out_channels,
            embed_dim=config.channels,
            num_layers=config.blocks,
            mlp_ratio=config.mlp_ratio,
        )
    return network
