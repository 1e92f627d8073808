"""Layers that act at every point alone: linear maps of the channels, and products of these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import own_rows

_GATE_LIMIT = 3.0
"""Bound of the gates, in units of the standard deviation of their first values."""
_PIECE = 1 << 18
"""Values of both factors and their product that a thread takes together: 1 MiB."""


class Pointwise(nn.Module):
    """A linear map of the channels at every point."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Draw weights that keep the variance of the input."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels) / in_channels**0.5)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to (b, o, h, w)."""
        y = torch.baddbmm(self.bias[:, None], self.weight.expand(len(x), -1, -1), x.flatten(2))
        return y.unflatten(2, x.shape[-2:])  # (b, o, h, w)


class Gated(nn.Module):
    """Two linear maps of the channels, a product of these, and a linear map of that.

    Classes that are derived from it give the product. The bias of the second factor depends on
    latitude.
    """

    latitude: Tensor

    def __init__(self, channels: int, hidden: int, grid: Grid) -> None:
        """Channels in and out, number of products, and the grid that the latitude is taken from."""
        super().__init__()
        self.factors = Pointwise(channels, 2 * hidden)
        self.by_latitude = nn.Parameter(torch.randn(hidden, 2) / channels**0.5)
        self.mix = Pointwise(hidden, channels)
        angle = torch.deg2rad(grid.latitude[own_rows(grid)])
        latitude = torch.stack([torch.sin(angle), torch.cos(angle)]).float()
        self.register_buffer("latitude", latitude, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to the same shape."""
        first, second = self.factors(x).chunk(2, dim=1)  # (b, hidden, h, w)
        return self.mix(self.product(first, second + self.row_bias()[:, :, None].to(second)))

    def row_bias(self) -> Tensor:
        """Return the bias of the second factor in each row, (hidden, h)."""
        return self.by_latitude @ self.latitude.to(self.by_latitude)

    def product(self, first: Tensor, second: Tensor) -> Tensor:
        """Return a product of the factors, each (b, hidden, h, w)."""
        raise NotImplementedError


class GatedMLP(Gated):
    """Products of two linear maps of the channels, of which one is bounded.

    Advection multiplies fields, and the Coriolis force multiplies them by the sine of latitude, on
    which the bias of the second factor depends: what takes a GELU many channels is exact in the
    limit of small fields. The second factor, the gate, is bounded by ± 3, so that no field grows
    faster than linearly. Gated linear units are compared by Shazeer (arXiv 2002.05202).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to the same shape; on a CPU by pieces that its cache holds."""
        by_pieces = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        if not by_pieces or torch.compiler.is_compiling():
            return super().forward(x)
        found: Tensor = _GatedByPieces.apply(
            x, self.factors.weight, self.factors.bias, self.row_bias(), self.mix.weight,
            self.mix.bias,
        )  # fmt: skip
        return found

    def product(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the product of the first factor and the gate."""
        return first * bounded(second, _GATE_LIMIT)


def bounded(x: Tensor, limit: float) -> Tensor:
    """Return x / (1 + (x / limit)²)^½, which is x where it is small, and stays within ± limit."""
    return x * torch.rsqrt(1 + (x / limit).square())


class _GatedByPieces(torch.autograd.Function):
    """`GatedMLP` with all steps for some rows at a time, so that nothing between leaves the cache.

    The whole of the factors is 3 · `mlp_ratio` times the input and more than a cache holds. The
    backward pass computes them again instead of reading them.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, row_bias: Tensor, mix: Tensor,
        mix_bias: Tensor,
    ) -> Tensor:  # fmt: skip
        """Map (b, c, h, w) to the same shape."""
        ctx.save_for_backward(x, weight, bias, row_bias, mix)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        for sample, rows in _pieces(x, len(mix[0])):
            points = x[sample, :, rows].flatten(1)
            first, second, root = _factors(points, weight, bias, row_bias[:, rows])
            product = root.mul_(second).mul_(first)
            mixed = torch.addmm(mix_bias[:, None], mix, product)
            out[sample, :, rows] = mixed.unflatten(1, (-1, x.shape[-1]))
        return out

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of the arguments of `forward`."""
        (gradient,) = given
        x, weight, bias, row_bias, mix = ctx.saved_tensors
        of_x, of_weight, of_bias, of_row_bias, of_mix, of_mix_bias = (
            torch.empty_like(x), *(torch.zeros_like(t) for t in (weight, bias, row_bias, mix)),
            mix.new_zeros(len(mix)),
        )  # fmt: skip
        for sample, rows in _pieces(x, len(mix[0])):
            points, of_mixed = (t[sample, :, rows].flatten(1) for t in (x, gradient))
            first, second, root = _factors(points, weight, bias, row_bias[:, rows])
            of_product = mix.T @ of_mixed
            gate = second * root
            of_mix.addmm_(of_mixed, (first * gate).T)
            of_mix_bias += of_mixed.sum(1)
            # The derivative of the gate is root³: of s / (1 + s² / 9)^½.
            of_second = root.pow_(3).mul_(first).mul_(of_product)
            both = torch.cat([gate.mul_(of_product), of_second])
            of_weight.addmm_(both, points.T)
            of_bias += both.sum(1)
            of_row_bias[:, rows] += of_second.unflatten(1, (-1, x.shape[-1])).sum(2)
            of_x[sample, :, rows] = (weight.T @ both).unflatten(1, (-1, x.shape[-1]))
        return of_x, of_weight, of_bias, of_row_bias, of_mix, of_mix_bias


def _pieces(x: Tensor, hidden: int) -> Iterator[tuple[int, slice]]:
    """Yield sample and rows of each piece."""
    rows = max(1, _PIECE * torch.get_num_threads() // (3 * hidden * x.shape[-1]))
    for sample in range(len(x)):
        for first in range(0, x.shape[-2], rows):
            yield sample, slice(first, min(first + rows, x.shape[-2]))


def _factors(
    points: Tensor, weight: Tensor, bias: Tensor, row_bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return first and second factor, and the gate over the second, (hidden, points)."""
    first, second = torch.mm(weight, points).chunk(2)
    of_first, of_second = bias[:, None].chunk(2)
    first.add_(of_first)
    second.unflatten(1, (row_bias.shape[1], -1)).add_((row_bias + of_second)[:, :, None])
    one = torch.ones((), dtype=second.dtype)
    return first, second, torch.addcmul(one, second, second, value=_GATE_LIMIT**-2).rsqrt_()
