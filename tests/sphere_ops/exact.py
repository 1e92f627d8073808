"""Spherical harmonics and their derivatives in closed form, by scipy; limits at the poles."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import sph_harm_y
from torch import Tensor

from sphere_ops.grid import Grid

KINDS = ("legendre-gauss", "equiangular", "cell-centred")

# One harmonic for every kind of behaviour at the poles, on the axis and off it.
DEGREES_AND_ORDERS = (
    (1, 0),
    (1, 1),
    (2, 1),
    (2, 2),
    (3, 2),
    (4, 0),
    (5, 1),
    (6, 4),
    (8, 0),
    (8, 5),
)


def harmonic(grid: Grid, l: int, m: int) -> Tensor:
    """Return Re Y_lm on a grid, (nlat, nlon) float64."""
    theta, longitude = _angles(grid)
    return torch.from_numpy(sph_harm_y(l, m, theta[:, None], longitude).real)


def derivatives(grid: Grid, l: int, m: int) -> Tensor:
    """Return covariant ∂_east, ∂_north, ∂_ee, ∂_en, ∂_nn of Re Y_lm, (5, nlat, nlon) float64.

    ∂_east = (1/sin θ) ∂_λ and ∂_north = −∂_θ. Second derivatives are those of the Hessian:
    H_ee = ∂_λλ/sin²θ + cot θ ∂_θ, H_en = −∂_λ(∂_θ − cot θ)/sin θ, H_nn = ∂_θθ. On a pole row east
    and north are those of the meridian of the point; there only the orders 0, 1 and 2 have limits
    other than 0.
    """
    theta, longitude = _angles(grid)
    p, first, second = (
        d.real for d in sph_harm_y(l, m, theta, np.zeros_like(theta), diff_n=2)
    )  # at longitude 0
    first, second = first[..., 0], second[..., 0, 0]  # by θ
    sin, cos = np.sin(theta), np.cos(theta)
    pole = sin < 1e-9
    sin = np.where(pole, 1, sin)
    side = np.sign(cos)  # north is towards the north pole: away from the south pole
    gradient_quotient = np.where(pole, (m == 1) * side * first, m * p / sin)
    h_ee = np.where(pole, ((m == 0) - (m == 2)) * second, -((m / sin) ** 2) * p + cos / sin * first)
    h_en = np.where(pole, -(m == 2) * side * second, m * (cos / sin**2 * p - first / sin))
    h_nn = np.where(pole, (m in (0, 2)) * second, second)
    turn = np.exp(1j * m * longitude)
    rows = (1j * gradient_quotient, -first, h_ee, 1j * h_en, h_nn)
    return torch.from_numpy(np.stack([(row[:, None] * turn).real for row in rows]))


def field(coeffs: Tensor, theta: Tensor, longitude: Tensor) -> Tensor:
    """Return the real field of complex coefficients (lmax, mmax) at any points."""
    total = torch.zeros(torch.broadcast_shapes(theta.shape, longitude.shape), dtype=torch.float64)
    for l in range(coeffs.shape[0]):
        for m in range(min(l + 1, coeffs.shape[1])):
            y = torch.from_numpy(np.asarray(sph_harm_y(l, m, theta.numpy(), longitude.numpy())))
            total += (1 if m == 0 else 2) * (coeffs[l, m] * y).real
    return total


def on_grid(coeffs: Tensor, grid: Grid) -> Tensor:
    """Return the real field of coefficients (..., lmax, mmax), (..., nlat, nlon) float64."""
    theta, longitude = (torch.from_numpy(angle) for angle in _angles(grid))
    flat = coeffs.reshape(-1, *coeffs.shape[-2:])
    fields = [field(c, theta[:, None], longitude) for c in flat]
    return torch.stack(fields).reshape(*coeffs.shape[:-2], *grid.shape)


def random_coeffs(*shape: int, seed: int = 0) -> Tensor:
    """Return coefficients (..., lmax, mmax) of real fields: real for m = 0, and 0 for l < m."""
    generator = torch.Generator().manual_seed(seed)
    coeffs = torch.randn(*shape, dtype=torch.complex128, generator=generator)
    coeffs[..., 0].imag.zero_()
    return coeffs.tril()


def _angles(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    return grid.colatitude.numpy(), 2 * np.pi / grid.nlon * np.arange(grid.nlon)
