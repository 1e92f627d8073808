"""The differential branch: a learned combination of derivatives on the sphere."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from sphere_ops.branches.layer import Layer, check_channels, working_dtype
from sphere_ops.engine.plan import ConvolutionSpec, DifferentialFilter
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import check_on_grid


class DifferentialConv(Layer):
    """The local differential branch: a learned combination of covariant derivatives.

    Args:
        in_channels: c.
        out_channels: o.
        grid: of input and output.
        order: 1 for the gradient, 2 for the second derivatives too.
        length_scale: radians; derivatives are taken per this length, so that those of fields with
            this scale are of order one. It belongs to the model and stays when the grid changes.
        grid_out: must be the grid of the input.

    Attributes:
        weight: (o, c, k), k = east, north[, east-east, east-north, north-north].
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Grid,
        *,
        order: Literal[1, 2] = 1,
        length_scale: float = 1.0,
        grid_out: Grid | None = None,
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        if order not in (1, 2):
            raise ValueError(f"derivatives of order {order}; expected 1 or 2")
        if not 0 < length_scale < math.inf:
            raise ValueError(f"length_scale {length_scale}; expected a positive angle in radians")
        if grid_out is not None and grid_out != grid:
            raise ValueError(
                f"a differential branch from {grid} to {grid_out}: stencils stay on their grid; "
                "use the spectral or the integral branch to change it"
            )
        self.grid, self.order, self.length_scale = grid, order, length_scale
        self.filter = DifferentialFilter(order)
        self.k = self._prepare_filter(ConvolutionSpec(grid, grid, 0, (self.filter,)))
        self.weight = nn.Parameter(
            torch.randn(out_channels, in_channels, self.k) / math.sqrt(in_channels * self.k)
        )

    def filter_weights(self, dtype: torch.dtype) -> Tensor:
        """Weights of the filters, (o, c, k), in derivatives per radian."""
        first, second = self.weight.to(dtype).tensor_split([2], dim=2)
        return torch.cat((first * self.length_scale, second * self.length_scale**2), dim=2)

    def derivatives(self, x: Tensor) -> Tensor:
        """Derivatives of x (b, c, nlat, nlon) per radian: (b, c, k, nlat, nlon)."""
        check_on_grid(x, self.grid)
        alone = torch.eye(self.k, dtype=working_dtype(x), device=x.device)[:, None]  # (k, 1, k)
        fields = x.reshape(-1, 1, *x.shape[-2:])  # (b c, 1, h, w)
        return self._sum_of_branches(fields, None, [alone]).unflatten(0, x.shape[:2])

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x of shape (b, c, nlat, nlon)."""
        return self._convolve(x, None, [self.filter_weights(working_dtype(x))])
