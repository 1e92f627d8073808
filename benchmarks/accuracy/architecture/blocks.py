"""Pointwise layers of a block, to compare: what follows the branches.

All but `gelu` are gates: two linear maps of the channels, a function of each, and a linear map of
their products. The bias of the second factor depends on latitude.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from configs.model import ModelConfig
from forecast.model.build import BuildNetwork, build_network
from forecast.model.gated import Gated, GatedMLP, Pointwise, bounded
from forecast.model.network import LocalSFNO, MakeMLP
from sphere_ops.grid import Grid

Function = Callable[[Tensor], Tensor]


def identity(x: Tensor) -> Tensor:
    """Return x."""
    return x


def half_gelu(x: Tensor) -> Tensor:
    """Return the GELU of the second half of the channels, and the first half as it is."""
    linear, bent = x.tensor_split(2, dim=1)
    return torch.cat([linear, gelu(bent)], dim=1)


def leaky_gelu(x: Tensor) -> Tensor:
    """Return the mean of x and its GELU, whose slope grows from one half to one."""
    return (x + gelu(x)) / 2


class Gelu(nn.Sequential):
    """Two pointwise layers with a GELU between them."""

    def __init__(self, channels: int, hidden: int, grid: Grid) -> None:
        super().__init__(Pointwise(channels, hidden), nn.GELU(), Pointwise(hidden, channels))


class Gate(Gated):
    """Products of functions of two linear maps."""

    def __init__(
        self, channels: int, hidden: int, grid: Grid, *, first: Function, second: Function
    ) -> None:
        super().__init__(channels, hidden, grid)
        self.first, self.second = first, second

    def product(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the product of the two functions."""
        return self.first(first) * self.second(second)


class NormalizedGate(Gate):
    """A gate after a division by the root mean square of all channels over the sphere."""

    area: Tensor

    def __init__(
        self, channels: int, hidden: int, grid: Grid, *, first: Function, second: Function
    ) -> None:
        super().__init__(channels, hidden, grid, first=first, second=second)
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.register_buffer("area", grid.area_weights.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to the same shape."""
        mean = (x.square().mean(1, keepdim=True) * self.area).sum((-2, -1), keepdim=True)
        return super().forward(x * torch.rsqrt(mean + 1e-6) * self.scale)


@dataclass(frozen=True)
class BlockKind:
    """Layers after the branches of a block.

    Attributes:
        make: Makes the layers.
        ratio: Hidden channels over channels: about as many parameters for all kinds.
    """

    make: MakeMLP
    ratio: float


def _gate(first: Function, second: Function) -> MakeMLP:
    return cast(MakeMLP, partial(Gate, first=first, second=second))


_WIDE, _NARROW = partial(bounded, limit=3.0), partial(bounded, limit=1.0)
BLOCKS = {
    "gelu": BlockKind(Gelu, 2.0),
    "products": BlockKind(_gate(identity, identity), 1.5),
    "geglu": BlockKind(_gate(gelu, identity), 1.5),
    "limit 1": BlockKind(_gate(identity, _NARROW), 1.5),
    "limit 3": BlockKind(GatedMLP, 1.5),
    "normalized": BlockKind(
        cast(MakeMLP, partial(NormalizedGate, first=identity, second=identity)), 1.5
    ),
    "geglu limit 3": BlockKind(_gate(gelu, _WIDE), 1.5),
    "leaky gelu limit 3": BlockKind(_gate(leaky_gelu, _WIDE), 1.5),
    "half gelu limit 3": BlockKind(_gate(half_gelu, _WIDE), 1.5),
}


def builder(kind: str) -> BuildNetwork:
    """Return the function that builds our network with a kind of block."""

    def build(config: ModelConfig, in_channels: int, out_channels: int, grid: Grid) -> LocalSFNO:
        return build_network(config, in_channels, out_channels, grid, BLOCKS[kind].make)

    return cast(BuildNetwork, build)
