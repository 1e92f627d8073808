"""The integral branch: a local convolution whose kernel keeps its size when the grid changes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sphere_ops.branches.layer import Layer, check_channels, working_dtype
from sphere_ops.engine.plan import ConvolutionSpec, IntegralFilter
from sphere_ops.grid import Grid
from sphere_ops.kernels.disco import Normalization, check_settings


class IntegralConv(Layer):
    """The local integral branch (DISCO): a kernel on a disc of fixed angular radius.

    y(x) = ∫ κ(x, x') u(x') dx' over the disc, κ = Σ_k W_k ψ_k, with the filter bases and the
    normalisation of torch-harmonics' `DiscreteContinuousConvS2`.

    Args:
        in_channels: c.
        out_channels: o.
        grid: of the input.
        theta_cutoff: radius of the disc, radians; it stays when the grid changes.
        kernel_shape: radial (and angular) number of basis functions; of "zernike" one number.
        basis_type: "piecewise linear", "harmonic", "zernike" or "fourier-bessel".
        normalization: `basis_norm_mode` of torch-harmonics.
        grid_out: of the output; the input's if not given.

    Attributes:
        weight: (o, c, k), basis functions in the order of torch-harmonics.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Grid,
        *,
        theta_cutoff: float,
        kernel_shape: int | Sequence[int] = (3, 3),
        basis_type: str = "piecewise linear",
        normalization: Normalization = "nodal",
        grid_out: Grid | None = None,
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        shape = check_settings(kernel_shape, basis_type, normalization)
        if not 0 < theta_cutoff <= math.pi:
            raise ValueError(f"theta_cutoff {theta_cutoff}; expected an angle in (0, π] radians")
        self.filter = IntegralFilter(theta_cutoff, shape, basis_type, normalization)
        grid_out = grid_out or grid
        self.k = self._prepare_filter(ConvolutionSpec(grid, grid_out, 0, (self.filter,)))
        self.weight = nn.Parameter(
            torch.randn(out_channels, in_channels, self.k) / math.sqrt(in_channels * self.k)
        )

    def filter_weights(self, dtype: torch.dtype) -> Tensor:
        """Weights of the filters, (o, c, k)."""
        return self.weight.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x of shape (b, c, nlat, nlon)."""
        return self._convolve(x, None, [self.filter_weights(working_dtype(x))])
