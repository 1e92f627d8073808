"""Exact interpolation from equally spaced rows to Gaussian latitudes.

The quadrature of equally spaced rows is exact for half as many degrees as the rows resolve. A field
of all these degrees is a trigonometric polynomial along each great circle through the poles. It is
sampled at Gaussian latitudes, whose quadrature is exact for it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import check_on_grid, own_rows
from sphere_ops.parallel.mesh import current


def resolved_lmax(grid: Grid) -> int:
    """Return the lmax (exclusive) of the fields that `to_gaussian_rows` interpolates exactly."""
    # A row at the pole cannot tell sin((nlat − 1) θ) from zero.
    return grid.nlat - 1 if grid.kind == "equiangular" else grid.nlat


def to_gaussian_rows(x: Tensor, grid: Grid, *, vector: bool = False) -> Tensor:
    """Sample fields at the Gaussian latitudes of a grid of the same size.

    Args:
        x: Fields, (..., nlat, nlon), on equally spaced rows; in a mesh this rank's rows, and no
            gradient.
        grid: Grid of x.
        vector: True for components of vectors, which change their sign across a pole.

    Returns:
        Fields of the same shape on `Grid.legendre_gauss(nlat, nlon)`, in longitudes as before.
    """
    check_on_grid(x, grid)
    x = current().gather_rows(x, grid.nlat, everywhere=True)
    spectrum = torch.fft.rfft(x)  # (..., h, m)
    out = spectrum.new_empty(*x.shape[:-2], len(_matrices(grid)[0]), spectrum.shape[-1])
    # Half a turn away an order m has the sign (−1)^m, times that of the component.
    for first, matrix in zip((1, 0) if vector else (0, 1), _matrices(grid), strict=True):
        out[..., first::2] = matrix.to(spectrum) @ spectrum[..., first::2]
    return torch.fft.irfft(out, n=grid.nlon)[..., own_rows(grid), :]


@lru_cache(maxsize=4)
def _matrices(grid: Grid) -> tuple[Tensor, Tensor]:
    """Return the interpolation of even and of odd functions of θ, (nlat, nlat) float64 each."""
    nodes = grid.colatitude
    wanted = Grid.legendre_gauss(grid.nlat, grid.nlon).colatitude
    highest = grid.nlat - 1 if grid.kind == "equiangular" else grid.nlat
    wavenumber = torch.arange(highest + 1, dtype=torch.float64)
    weight = torch.full_like(wavenumber, 1 / highest)
    weight[[0, -1]] /= 2
    weight = weight.expand(grid.nlat, -1).clone()  # (node, wavenumber)
    if grid.kind == "equiangular":
        weight[[0, -1]] /= 2  # a pole is its own mirror image
    cos = [torch.cos(torch.outer(angle, wavenumber)) for angle in (wanted, nodes)]
    sin = [torch.sin(torch.outer(angle, wavenumber)) for angle in (wanted, nodes)]
    # D(θ − θ_j) ± D(θ + θ_j) with Dirichlet's kernel D.
    return 2 * cos[0] @ (weight * cos[1]).T, 2 * sin[0] @ (weight * sin[1]).T
