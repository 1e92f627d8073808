"""Spectral branch: a global convolution with one channel matrix per degree."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sphere_ops.branches.layer import Branch
from sphere_ops.grid import Grid, whole_number


class SpectralConv(Branch):
    """Global branch: the coefficients of each degree are multiplied by a channel matrix.

    Args:
        in_channels: Number of input channels, c.
        out_channels: Number of output channels, o.
        grid: Grid of the input.
        lmax: Degrees kept, exclusive.
        complex: True for complex weights; the layer then commutes only with rotations about the
            axis.
        grid_out: Grid of the output; that of the input if not given.
        device: Device of the weights.
        dtype: Type of the weights.

    Attributes:
        weight: Weights, (o, c, lmax), or (o, c, lmax, 2) if complex. Initial values are real.
        complex_weights: Names of weights with real and imaginary parts in their last dimension.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Grid,
        *,
        lmax: int,
        complex: bool = False,
        grid_out: Grid | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        lmax, most = whole_number("lmax", lmax), min(grid.nlat, (grid_out or grid).nlat)
        if not 1 <= lmax <= most:
            raise ValueError(
                f"lmax {lmax} from the grid {grid} to {grid_out or grid}; expected 1 to {most}"
            )
        super().__init__(in_channels, out_channels, grid, grid_out, lmax=lmax)
        self.complex = complex
        shape = (out_channels, in_channels, lmax) + (2,) * complex
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.complex_weights = ("weight",) * complex
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw real weights with which the output has about the variance of the input."""
        weight = torch.randn_like(self.weight[..., 0] if self.complex else self.weight)
        weight /= math.sqrt(self.in_channels)
        if self.complex:
            weight = torch.stack((weight, torch.zeros_like(weight)), dim=-1)
        self.weight.copy_(weight)

    def degree_matrices(self) -> Tensor:
        """Return the matrices of all degrees, (lmax, c, o), or (lmax, 2c, 2o) if complex."""
        # A layer on a coarser grid may share a weight with more degrees than its lmax.
        weight = self.weight[:, :, : self.lmax]
        if not self.complex:
            return weight.permute(2, 1, 0)
        real, imag = weight.permute(2, 1, 0, 3).unbind(-1)
        top = torch.cat((real, imag), dim=2)
        return torch.cat((top, torch.cat((-imag, real), dim=2)), dim=1)

    def extra_repr(self) -> str:
        """Show the channels, the grids and the settings in the printed module."""
        return f"{super().extra_repr()}, lmax={self.lmax}, complex={self.complex}"
