"""Spherical harmonic transforms of scalars and of tangential vectors, and what follows from them.

Coefficients are orthonormal with the Condon-Shortley phase, as in torch-harmonics: a real field is
f(θ, λ) = Σ_m Σ_{l ≥ m} c_lm P_lm(cos θ) e^{imλ} over both signs of m, of which only m ≥ 0 is kept.
In a mesh a rank has its own rows of fields, and of coefficients its own orders, in `orders`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from sphere_ops.engine.tables import table_set
from sphere_ops.grid import Grid, whole_number
from sphere_ops.harmonics import operations as transform
from sphere_ops.kernels.legendre import Function
from sphere_ops.parallel.fields import check_on_grid
from sphere_ops.parallel.mesh import current
from sphere_ops.parallel.partition import Orders


class _Transform(nn.Module):
    """The grid, the truncation and the check of both that all transforms share."""

    functions: tuple[Function, ...] = ("P",)

    def __init__(self, grid: Grid, lmax: int | None = None, mmax: int | None = None) -> None:
        super().__init__()
        lmax = grid.exact_lmax if lmax is None else whole_number("lmax", lmax)
        mmax = min(lmax, (grid.nlon + 1) // 2) if mmax is None else whole_number("mmax", mmax)
        if not 1 <= lmax <= grid.nlat:
            raise ValueError(
                f"lmax {lmax} on the grid {grid}; expected 1 to {grid.nlat} (exclusive degrees; "
                "more cannot be told apart on its rows)"
            )
        if not 1 <= mmax <= min(lmax, grid.nlon // 2 + 1):
            raise ValueError(
                f"mmax {mmax} on the grid {grid} with lmax {lmax}; expected 1 to "
                f"{min(lmax, grid.nlon // 2 + 1)} (exclusive orders)"
            )
        self.grid, self.lmax, self.mmax = grid, lmax, mmax
        self._spec = transform.TransformSpec(grid, lmax, mmax, self.functions)
        self._tables = table_set(self._spec.name)

    @property
    def orders(self) -> Orders:
        """The orders of the coefficients that this process has: all, unless it is in a mesh."""
        return current().latitude.orders(self.mmax)

    def _analyse(self, x: Tensor) -> Tensor:
        """In float64 for float64, else in float32, under autocast too."""
        check_on_grid(x, self.grid)
        if not x.is_floating_point():
            raise ValueError(
                f"a field of type {x.dtype}; expected a real floating-point one: convert it first"
            )
        return transform.analyse(x if x.dtype == torch.float64 else x.float(), self._spec)

    def _check_coeffs(self, coeffs: Tensor) -> None:
        expected = self.lmax, self.orders.count
        if coeffs.shape[-2:] != expected or not coeffs.is_complex():
            raise ValueError(
                f"coefficients of shape {tuple(coeffs.shape)} and type {coeffs.dtype}; expected "
                f"complex (..., {expected[0]}, {expected[1]})"
            )

    def _check_components(self, v: Tensor) -> None:
        if v.dim() < 3 or v.shape[-3] != 2:
            raise ValueError(
                f"shape {tuple(v.shape)}; expected two components in the third dimension from the "
                f"end, (..., 2, {v.shape[-2]}, {v.shape[-1]})"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Drop the tables made for the device and dtype that the transform leaves."""
        super()._apply(fn, recurse)
        self._tables.follow(fn)
        return self

    def extra_repr(self) -> str:
        """Show the grid and the truncation in the printed module."""
        return f"{self.grid}, lmax={self.lmax}, mmax={self.mmax}"


class RealSHT(_Transform):
    """Analysis of a real field: (..., nlat, nlon) -> (..., lmax, mmax) complex.

    c_lm = 2π Σ_h q_h P_lm(h) X_m(h), with X the Fourier coefficients of each row. Exact where the
    field is band-limited and the grid's quadrature exact: see `Grid.exact_lmax`.

    Args:
        grid: grid of the field.
        lmax: degrees kept, exclusive; `grid.exact_lmax` if not given.
        mmax: orders kept, exclusive; those of lmax below the Nyquist order if not given.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Transform x of shape (..., nlat, nlon), float64 in float64, all others in float32."""
        return self._analyse(x)[0]


class InverseRealSHT(_Transform):
    """Synthesis of a real field: (..., lmax, mmax) complex -> (..., nlat, nlon).

    Args:
        grid: grid of the field.
        lmax: degrees of the coefficients, exclusive; `grid.exact_lmax` if not given.
        mmax: orders of the coefficients, exclusive; those of lmax below the Nyquist order if not
            given.
    """

    def forward(self, coeffs: Tensor) -> Tensor:
        """Transform coefficients of shape (..., lmax, mmax), complex64 or complex128."""
        self._check_coeffs(coeffs)
        return transform.synthesise(coeffs[None], self._spec)


class RealVectorSHT(_Transform):
    """Analysis of a tangential vector field in spheroidal and toroidal coefficients.

    The field is ∇s + ∇×(t e_r) on the unit sphere; input and output are those of torch-harmonics:
    components (v_θ, v_λ), southward and eastward; coefficients (s, t).

    Args:
        grid: grid of the field.
        lmax: degrees kept, exclusive; `grid.exact_lmax` if not given.
        mmax: orders kept, exclusive; those of lmax below the Nyquist order if not given.
    """

    functions = ("dP/dθ", "mP/sinθ")

    def forward(self, v: Tensor) -> Tensor:
        """Transform v of shape (..., 2, nlat, nlon) to (..., 2, lmax, mmax) complex."""
        self._check_components(v)
        derivative, quotient = self._analyse(v)
        south_d, east_d = derivative.unbind(-3)
        south_q, east_q = quotient.unbind(-3)
        potentials = torch.stack((south_d - 1j * east_q, -east_d - 1j * south_q), dim=-3)
        return -inverse_laplacian(potentials)


class InverseRealVectorSHT(_Transform):
    """Synthesis of a tangential vector field: the inverse of `RealVectorSHT`.

    Args:
        grid: grid of the field.
        lmax: degrees of the coefficients, exclusive; `grid.exact_lmax` if not given.
        mmax: orders of the coefficients, exclusive; those of lmax below the Nyquist order if not
            given.
    """

    functions = ("dP/dθ", "mP/sinθ")

    def forward(self, coeffs: Tensor) -> Tensor:
        """Transform (..., 2, lmax, mmax) complex to (..., 2, nlat, nlon): v_θ and v_λ."""
        self._check_coeffs(coeffs)
        self._check_components(coeffs)
        s, t = coeffs.unbind(-3)
        derivative = torch.stack((s, -t), dim=-3)
        quotient = torch.stack((1j * t, 1j * s), dim=-3)
        return transform.synthesise(torch.stack((derivative, quotient)), self._spec)


def laplacian(coeffs: Tensor, radius: float = 1.0) -> Tensor:
    """Multiply coefficients (..., lmax, mmax) by the eigenvalues −l(l+1)/radius²."""
    degree = torch.arange(coeffs.shape[-2], dtype=coeffs.real.dtype, device=coeffs.device)
    return coeffs * (-degree * (degree + 1) / radius**2)[:, None]


def inverse_laplacian(coeffs: Tensor, radius: float = 1.0) -> Tensor:
    """Solve ∇²f = g for coefficients (..., lmax, mmax); the mean of f is 0."""
    degree = torch.arange(coeffs.shape[-2], dtype=coeffs.real.dtype, device=coeffs.device)
    eigenvalue = -(degree * (degree + 1)).clamp(min=1) / radius**2
    return coeffs * torch.where(degree > 0, 1 / eigenvalue, 0.0)[:, None]


def wind_from_vorticity_divergence(
    inverse: InverseRealVectorSHT, vorticity: Tensor, divergence: Tensor, radius: float
) -> Tensor:
    """Wind of given vorticity and divergence: Helmholtz's theorem.

    Args:
        inverse: the transform, on the grid where the wind is wanted.
        vorticity: coefficients (..., lmax, mmax), s⁻¹.
        divergence: coefficients (..., lmax, mmax), s⁻¹.
        radius: radius of the sphere, m.

    Returns:
        (..., 2, nlat, nlon): eastward and northward wind, m s⁻¹.
    """
    potentials = torch.stack((divergence, -vorticity), dim=-3)
    south, east = inverse(inverse_laplacian(potentials) * radius).unbind(-3)
    return torch.stack((east, -south), dim=-3)


def vorticity_divergence_from_wind(
    analysis: RealVectorSHT, wind: Tensor, radius: float
) -> tuple[Tensor, Tensor]:
    """Vorticity and divergence of a wind.

    Args:
        analysis: the transform, on the grid of the wind.
        wind: (..., 2, nlat, nlon), eastward and northward, m s⁻¹.
        radius: radius of the sphere, m.

    Returns:
        Coefficients of vorticity and of divergence, both (..., lmax, mmax), s⁻¹.
    """
    east, north = wind.unbind(-3)
    potentials = analysis(torch.stack((-north, east), dim=-3))
    divergence, vorticity = (laplacian(potentials) / radius).unbind(-3)
    return -vorticity, divergence


def gradient(inverse: InverseRealVectorSHT, coeffs: Tensor, radius: float = 1.0) -> Tensor:
    """Gradient of a scalar given by its coefficients.

    Args:
        inverse: the transform, on the grid where the gradient is wanted.
        coeffs: (..., lmax, mmax).
        radius: radius of the sphere; the result is per unit of it.

    Returns:
        (..., 2, nlat, nlon): eastward and northward derivative.
    """
    potentials = torch.stack((coeffs, torch.zeros_like(coeffs)), dim=-3)
    south, east = inverse(potentials / radius).unbind(-3)
    return torch.stack((east, -south), dim=-3)


def power_spectrum(coeffs: Tensor) -> Tensor:
    """Power per degree, Σ_m |c_lm|² over both signs of m, divided by 4π.

    The sum over degrees is the area mean of the squared field (Parseval).

    Args:
        coeffs: (..., lmax, mmax), any unit; in a mesh own orders.

    Returns:
        (..., lmax), in the unit of the field squared; in a mesh of all orders.
    """
    return sum_orders(coeffs.real.square() + coeffs.imag.square()) / (4 * math.pi)


def sum_orders(x: Tensor) -> Tensor:
    """Sum over the orders of both signs of what is the same for m and −m: (..., m) -> (...)."""
    mesh = current()
    zero = mesh.latitude.orders(1).count  # the first order is 0 on one rank only
    return mesh.sum_rows(2 * x.sum(dim=-1) - x[..., :zero].sum(dim=-1))
