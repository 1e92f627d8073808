"""The spectral branch: a global convolution, one matrix for every degree."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sphere_ops.branches.layer import Layer, check_channels
from sphere_ops.engine.plan import ConvolutionSpec
from sphere_ops.grid import Grid, whole_number


class SpectralConv(Layer):
    """The global branch: every degree's coefficients mixed by a matrix of their own.

    Args:
        in_channels: c.
        out_channels: o.
        grid: of the input.
        lmax: degrees kept, exclusive.
        complex: complex weights; the layer then commutes with rotations about the axis only.
        grid_out: of the output; the input's if not given.

    Attributes:
        weight: (o, c, lmax), or (o, c, lmax, 2) if complex. It starts real either way.
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
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        grid_out, lmax = grid_out or grid, whole_number("lmax", lmax)
        if not 1 <= lmax <= min(grid.nlat, grid_out.nlat):
            raise ValueError(
                f"lmax {lmax} from the grid {grid} to {grid_out}; expected 1 to "
                f"{min(grid.nlat, grid_out.nlat)}"
            )
        self.lmax, self.complex = lmax, complex
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, lmax))
        if complex:
            self.weight = nn.Parameter(
                torch.stack((self.weight.detach(), torch.zeros_like(self.weight)), dim=-1)
            )
        with torch.no_grad():
            self.weight.div_(math.sqrt(in_channels))
        self._prepare(
            ConvolutionSpec(grid, grid_out, lmax, ()), torch.empty(0, 0), torch.empty(0, 0)
        )

    def degree_matrices(self) -> Tensor:
        """Matrices of all degrees, (lmax, c, o), or (lmax, 2c, 2o) of real and imaginary parts."""
        # A layer on a coarser grid may share a weight that has degrees beyond its own.
        weight = self.weight[:, :, : self.lmax]
        if not self.complex:
            return weight.permute(2, 1, 0)
        real, imag = weight.permute(2, 1, 0, 3).unbind(-1)
        top = torch.cat((real, imag), dim=2)
        return torch.cat((top, torch.cat((-imag, real), dim=2)), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x of shape (b, c, nlat, nlon)."""
        return self._convolve(x, self.degree_matrices(), [])
