"""Finite volumes for steady Darcy flow, an independent solver for comparison."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sphere_ops.grid import Grid


def solve_finite_volume(permeability: Tensor, source: Tensor, tolerance: float = 1e-9) -> Tensor:
    """Solve −∇·(a∇u) = f on the unit sphere by five-point finite volumes, float64.

    The permeability of a face is the harmonic mean of its two cells. Faces at the poles have no
    length. The system is solved by conjugate gradients, preconditioned by that of a = 1, which is
    tridiagonal for each zonal wavenumber.

    Args:
        permeability: a at the cell centres of a cell-centred grid, (n, 2n).
        source: f there, with mean 0.
        tolerance: Largest residual relative to f.

    Returns:
        u with mean 0, (n, 2n).
    """
    n = len(permeability)
    step = math.pi / n  # of latitude and of longitude
    centre = Grid.cell_centred(n, 2 * n).colatitude
    edge = step * torch.arange(1, n, dtype=torch.float64)
    east = 1 / torch.sin(centre)[:, None]  # width of a face over the distance of its two cells
    north = torch.sin(edge)[:, None]
    area = step * (torch.cos(centre - step / 2) - torch.cos(centre + step / 2))[:, None]

    def apply(u: Tensor, to_east: Tensor, to_north: Tensor) -> Tensor:
        flux = to_east * (u - u.roll(-1, -1))
        out = flux - flux.roll(1, -1)
        flux = to_north * (u[:-1] - u[1:])
        out[:-1] += flux
        out[1:] -= flux
        return out

    a_east = east * _harmonic_mean(permeability, permeability.roll(-1, -1))
    a_north = north * _harmonic_mean(permeability[1:], permeability[:-1])
    factors = torch.linalg.lu_factor(_zonal_blocks(east[:, 0], north[:, 0], step))

    def inverse(r: Tensor) -> Tensor:
        z = torch.linalg.lu_solve(*factors, torch.fft.rfft(r).T[..., None])[..., 0].T
        return without_mean(torch.fft.irfft(z, n=2 * n))

    def without_mean(x: Tensor) -> Tensor:
        return x - (x * area).sum() / (area.sum() * 2 * n)

    residual = without_mean(source) * area
    u, wanted = torch.zeros_like(residual), tolerance * residual.norm()
    direction = inverse(residual)
    product = (residual * direction).sum()
    while residual.norm() > wanted:
        image = apply(direction, a_east, a_north)
        length = product / (direction * image).sum()
        u, residual = u + length * direction, residual - length * image
        descent = inverse(residual)
        previous, product = product, (residual * descent).sum()
        direction = descent + product / previous * direction
    return without_mean(u)


def _harmonic_mean(x: Tensor, y: Tensor) -> Tensor:
    return 2 * x * y / (x + y)


def _zonal_blocks(east: Tensor, north: Tensor, step: float) -> Tensor:
    """Return the matrices of a = 1 of each zonal wavenumber, (m, nlat, nlat) complex128.

    That of wavenumber 0 is singular; a small multiple of the identity is added to it.
    """
    n = len(east)
    order = torch.arange(n + 1, dtype=torch.float64)
    zonal = (2 - 2 * torch.cos(order * step))[:, None] * east  # (m, nlat)
    sides = torch.nn.functional.pad(north, (1, 1))
    blocks = torch.diag_embed(zonal + sides[1:] + sides[:-1])
    blocks = blocks - torch.diag(north, 1) - torch.diag(north, -1)
    blocks[0] += 1e-6 * torch.eye(n, dtype=torch.float64)
    return blocks.to(torch.complex128)
