"""What keeps products of fields from putting power in degrees that the data do not have."""

from __future__ import annotations

from torch import Tensor, nn

from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT


class Truncation(nn.Module):
    """Drops the degrees of a field from `lmax` on."""

    def __init__(self, grid: Grid, lmax: int) -> None:
        """Prepare the transforms."""
        super().__init__()
        mmax = min(lmax, grid.nlon // 2 + 1)
        self.analysis = RealSHT(grid, lmax=lmax, mmax=mmax)
        self.synthesis = InverseRealSHT(grid, lmax=lmax, mmax=mmax)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., nlat, nlon) to the same shape."""
        return self.synthesis(self.analysis(x))
