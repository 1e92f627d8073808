"""The network: blocks of parallel global and local branches. It knows no units and no time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from forecast.model.gated import GatedMLP, Pointwise
from sphere_ops.branches.block import BRANCHES, LocalSphericalConv
from sphere_ops.grid import Grid

Branches = Mapping[str, Mapping[str, Any]]
MakeMLP = Callable[[int, int, Grid], nn.Module]
"""Function of channels, hidden channels and grid that makes the pointwise layers of a block. The
last of their children is the layer that writes their output."""

_RESIDUAL_SCALE = 0.2
"""Initial scale of the residual branches."""
_TOGETHER = 1 << 20
"""Values of all channels that a thread of a CPU takes together without gradients: 4 MiB."""


class Block(nn.Module):
    """x ← x + conv(x), then x ← x + MLP(x): a skip around the branches, and one around the MLP."""

    def __init__(
        self, channels: int, grid: Grid, branches: Branches, mlp: MakeMLP, mlp_ratio: float
    ) -> None:
        """Make the branches and the MLP; see `LocalSFNO`."""
        super().__init__()
        self.conv = LocalSphericalConv(channels, channels, grid, branches=branches)
        self.mlp = mlp(channels, round(mlp_ratio * channels), grid)
        *_, last = self.mlp.children()
        with torch.no_grad():
            for parameter in [*self.conv.parameters(), *last.parameters()]:
                parameter.mul_(_RESIDUAL_SCALE)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to the same shape."""
        x = x + self.conv(x)
        return x + self.mlp(x)


class Modulation(nn.Module):
    """Scale and shift of the channels at every point, linear functions of the noise there.

    x ← x (1 + S z) + T z. Both matrices start at zero, so that a network starts as the one without
    noise. AIFS-CRPS (arXiv 2412.15832) conditions its normalisation layers in this way.
    """

    def __init__(self, noise_channels: int, channels: int) -> None:
        """Make the matrices S and T."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2 * channels, noise_channels))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Map (b, c, h, w), with noise (b, n, h, w), to the same shape."""
        y = self.weight.expand(len(x), -1, -1) @ noise.flatten(2)
        scale, shift = y.unflatten(2, x.shape[-2:]).chunk(2, dim=1)  # (b, c, h, w)
        return x + x * scale + shift


class LocalSFNO(nn.Module):
    """Spherical Fourier neural operator with local branches in every block.

    Encoder and decoder are linear maps of the channels at every point, so that linear dynamics
    take a linear path through the network. The decoder sees the network's input beside the last
    block and starts at zero: as a residual model, the network starts as persistence, or as what
    `start_from` sets.

    Attributes:
        grid: the grid of inputs and outputs.
        inner_grid: the grid of the blocks.
        modulations: of a network with noise, the scale and shift before each block.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Grid,
        branches: Branches,
        *,
        channels: int = 32,
        blocks: int = 4,
        mlp: MakeMLP = GatedMLP,
        mlp_ratio: float = 1.5,
        inner_grid: Grid | None = None,
        noise_channels: int = 0,
        checkpoint_blocks: bool = False,
    ) -> None:
        """Build the network.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            grid: grid of both.
            branches: by name (`spectral`, `integral`, `differential`), the settings of the
                branches in every block; see `LocalSphericalConv`.
            channels: channels between encoder and decoder.
            blocks: number of blocks.
            mlp: function that makes the pointwise layers after the branches of a block.
            mlp_ratio: hidden channels of an MLP over `channels`.
            inner_grid: grid of the blocks, if it is another one: the encoder's and the decoder's
                own spectral and integral branches lead there and back.
            noise_channels: channels of the noise that every block gets; 0 for none.
            checkpoint_blocks: recompute the blocks in the backward pass instead of keeping what
                is inside them.

        Raises:
            ValueError: if the grid is to change and only a differential branch is there, or the
                settings of a branch do not fit the grid.
        """
        super().__init__()
        self.grid = grid
        self.checkpoint_blocks = checkpoint_blocks
        self._settings: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "branches": branches,
            "channels": channels,
            "blocks": blocks,
            "mlp": mlp,
            "mlp_ratio": mlp_ratio,
            "inner_grid": inner_grid,
            "noise_channels": noise_channels,
            "checkpoint_blocks": checkpoint_blocks,
        }
        self.inner_grid = inner = inner_grid or grid
        self.encoder = Pointwise(in_channels, channels)
        self.coarsen = _change_of_grid(channels, grid, inner, branches)
        self.blocks = nn.ModuleList(
            Block(channels, inner, branches, mlp, mlp_ratio) for _ in range(blocks)
        )
        if noise_channels:
            self.modulations = nn.ModuleList(
                Modulation(noise_channels, channels) for _ in range(blocks)
            )
        self.refine = _change_of_grid(channels, inner, grid, branches)
        self.decoder = Pointwise(channels + in_channels, out_channels)
        nn.init.zeros_(self.decoder.weight)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Map (b, in_channels, nlat, nlon) to (b, out_channels, nlat, nlon).

        Args:
            x: the inputs.
            noise: (b, noise_channels, nlat, nlon) on the inner grid, for a network with noise.
        """
        if x.device.type != "cpu" or torch.is_grad_enabled():
            return self._map(x, noise)
        together = _TOGETHER * torch.get_num_threads()
        n = max(1, together // (self._settings["channels"] * x.shape[-2] * x.shape[-1]))
        noises = [None] * len(x) if noise is None else noise.split(n)
        return torch.cat([self._map(*part) for part in zip(x.split(n), noises, strict=False)])

    def _map(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """Return the output of samples; see `forward`."""
        # The skips carry full precision under autocast, too: rounded there, a trained model's error
        # grows by a quarter; rounded inside the MLPs alone, hardly at all.
        in_full = torch.autocast(x.device.type, enabled=False)
        with in_full:
            y = self.coarsen(self.encoder(x))
        for i, block in enumerate(self.blocks):
            if noise is not None:
                y = self.modulations[i](y, noise)
            if self.checkpoint_blocks and torch.is_grad_enabled():
                y = checkpoint(block, y, use_reentrant=False)
            else:
                y = block(y)
        with in_full:
            return self.decoder(torch.cat([self.refine(y), x], dim=1))

    @torch.no_grad()
    def start_from(self, weights: Tensor) -> None:
        """Start as a linear map of the first inputs at every point, with these weights (o, n)."""
        channels, n = self._settings["channels"], weights.shape[1]
        self.decoder.weight[:, channels : channels + n] = weights

    def on_grid(self, grid: Grid) -> LocalSFNO:
        """The same operator discretised on another grid; it shares this one's parameters.

        A spectral branch keeps the degrees that the grid resolves; an inner grid changes in the
        same proportion.
        """
        inner, resolved = self._settings["inner_grid"], grid.nlat
        if inner is not None:
            nlat = round(inner.nlat * grid.nlat / self.grid.nlat)
            nlon = round(inner.nlon * grid.nlon / self.grid.nlon)
            inner, resolved = Grid.of(inner.kind, nlat, nlon), min(nlat, resolved)
        branches = {name: dict(settings) for name, settings in self._settings["branches"].items()}
        if "spectral" in branches:
            branches["spectral"]["lmax"] = min(branches["spectral"]["lmax"], resolved)
        changed = {"branches": branches, "inner_grid": inner}
        other = LocalSFNO(grid=grid, **self._settings | changed)
        share_parameters(self, other)
        return other

    def parameter_counts(self) -> dict[str, int]:
        """Number of parameters of each kind of branch, and of the pointwise layers."""
        counts: dict[str, int] = {}
        for name, p in self.named_parameters():
            kinds = [kind for kind in self._settings["branches"] if f".{kind}." in name]
            kind = kinds[0] if kinds else "pointwise"
            counts[kind] = counts.get(kind, 0) + p.numel()
        return counts


def _change_of_grid(channels: int, grid: Grid, grid_out: Grid, branches: Branches) -> nn.Module:
    """Return the branches that can change the grid; the identity if the grids are the same."""
    if grid == grid_out:
        return nn.Identity()
    leading = {name: s for name, s in branches.items() if BRANCHES[name].changes_grid}
    if not leading:
        raise ValueError(
            f"blocks on another grid ({grid} to {grid_out}) have only {', '.join(branches)} "
            "branches, which cannot change the grid; name a spectral or an integral branch too"
        )
    return LocalSphericalConv(channels, channels, grid, leading, grid_out=grid_out)


def share_parameters(source: nn.Module, target: nn.Module) -> None:
    """Let `target` use the very parameters of `source`; both have the same names."""
    parameters = dict(source.named_parameters())
    for name, _ in list(target.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        setattr(target.get_submodule(owner), leaf, parameters[name])
