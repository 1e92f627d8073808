"""Linear dynamics of a resting, rotating layer, and their exact propagation in time.

Linearised about rest and the mean geopotential Φ̄, the equations are, per order m,

    ∂ζ/∂t = iωR ζ − 2Ω (ε_{l+1} l/(l+1) δ_{l+1} + ε_l (l+1)/l δ_{l−1}) − r_ζ ζ
    ∂δ/∂t = iωR δ + 2Ω (ε_{l+1} l/(l+1) ζ_{l+1} + ε_l (l+1)/l ζ_{l−1}) + l(l+1)/a² φ − r_δ δ
    ∂φ/∂t = −Φ̄ δ − r_φ φ

with ωR = 2Ωm / (l(l+1)) and ε_l = sqrt((l² − m²) / (4l² − 1)). Gravity couples δ and φ of one
degree; rotation couples ζ and δ of neighbouring degrees. Hence each order splits into two uncoupled
parts, the flow that is symmetric about the equator and the flow that is antisymmetric, and e^{hL}
is a small dense matrix for each. Inertia-gravity and Rossby waves of any speed are exact and do not
limit the time step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_GROUPS = 8  # groups of orders; matrices are padded to the largest of their group
_TAYLOR_TERMS = 16  # accurate to rounding in float64 for a norm of at most 1


def coupling(lmax: int, mmax: int) -> Tensor:
    """Return ε_lm = sqrt((l² − m²) / (4l² − 1)), 0 for m > l, (lmax, mmax) float64."""
    degree = torch.arange(lmax, dtype=torch.float64)[:, None]
    order = torch.arange(mmax, dtype=torch.float64)
    return ((degree**2 - order**2).clamp(min=0) / (4 * degree**2 - 1).clamp(min=1)).sqrt()


@dataclass(frozen=True)
class Damping:
    """Decay rates of the coefficients of the three fields, s⁻¹, each (lmax, lmax) float64."""

    vorticity: Tensor
    divergence: Tensor
    geopotential: Tensor


class LinearWaves:
    """Matrices L of the linear dynamics, and e^{hL} with its integral.

    Args:
        lmax: Truncation, exclusive.
        radius: Radius of the sphere, m.
        rotation: Angular velocity Ω about the axis of the grid, s⁻¹.
        mean_geopotential: Geopotential Φ̄ of the resting layer, m² s⁻².
        damping: Decay rate of each degree and order.
        gravity: True if the pressure gradient accelerates the flow.
    """

    def __init__(
        self,
        lmax: int,
        *,
        radius: float,
        rotation: float,
        mean_geopotential: float,
        damping: Damping,
        gravity: bool = True,
    ) -> None:
        self.lmax = lmax
        self.radius, self.rotation = radius, rotation
        self.mean_geopotential, self.damping, self.gravity = mean_geopotential, damping, gravity
        edges = [round(i * lmax / _GROUPS) for i in range(_GROUPS + 1)]
        self._groups = [
            self._group(range(first, last))
            for first, last in zip(edges[:-1], edges[1:], strict=True)
            if last > first
        ]

    def propagator(self, duration: float, dtype: torch.dtype, device: torch.device) -> Propagator:
        """Return the operators of the exact solution after a time.

        Args:
            duration: Time, s.
            dtype: Complex type of the states.
            device: Device of the states.
        """
        index, states, tendencies = [], [], []
        for where, matrices in self._groups:
            unit = self._unit(where)
            scale = unit[:, :, None] / unit[:, None, :]
            exponential, integral = _exponential_and_integral(matrices * duration)
            index.append(where.to(device))
            states.append((scale * exponential).to(device=device, dtype=dtype))
            tendencies.append((scale * integral * duration).to(device=device, dtype=dtype))
        return Propagator(tuple(index), tuple(states), tuple(tendencies))

    def frequencies(self, order: int) -> Tensor:
        """Return the real frequencies ω of the waves e^{i(mλ + ωt)} of an order, s⁻¹, sorted."""
        found = []
        for where, matrices in self._groups:
            for row, matrix in zip(where, matrices, strict=True):
                real = row != self._nowhere
                if not real.any() or int(row[real][0] % self.lmax) != order:
                    continue
                found.append(torch.linalg.eigvals(matrix[real][:, real]).imag)
        return torch.cat(found).sort().values

    @property
    def _nowhere(self) -> int:
        """Index of a coefficient outside the triangle (l = 0, m = lmax − 1), which is always 0."""
        return self.lmax - 1

    def _group(self, orders: range) -> tuple[Tensor, Tensor]:
        """Return indices of coefficients, (2·orders, n), and L, (2·orders, n, n), padded with 0.

        In the units of `_unit` L is balanced: its norm is close to its largest frequency.
        """
        parts = [self._part(m, parity) for m in orders for parity in (0, 1)]
        n = max(len(where) for where, _ in parts)
        index = torch.full((len(parts), n), self._nowhere)
        matrices = torch.zeros(len(parts), n, n, dtype=torch.complex128)
        for i, (where, matrix) in enumerate(parts):
            index[i, : len(where)] = where
            unit = self._unit(where)
            matrices[i, : len(where), : len(where)] = matrix * unit / unit[:, None]
        return index, matrices

    def _unit(self, where: Tensor) -> Tensor:
        """Return the unit of each coefficient: a sqrt(Φ̄ / (l(l+1))) for φ, 1 for ζ and δ."""
        degree = where % self.lmax**2 // self.lmax
        depth = max(self.mean_geopotential, 1.0)
        unit = self.radius * (depth / (degree * (degree + 1)).clamp(min=1).double()).sqrt()
        return torch.where(where >= 2 * self.lmax**2, unit, 1.0)

    def _part(self, m: int, parity: int) -> tuple[Tensor, Tensor]:
        """Return indices and L of one order and symmetry; `parity` is that of l − m of δ and φ."""
        degree = torch.arange(m, self.lmax)
        divergence_degrees, vorticity_degrees = degree[parity::2], degree[1 - parity :: 2]
        where = (
            torch.cat(
                (
                    vorticity_degrees,
                    self.lmax + divergence_degrees,
                    2 * self.lmax + divergence_degrees,
                )
            )
            * self.lmax
            + m
        )
        nz, nd = len(vorticity_degrees), len(divergence_degrees)
        zeta, delta, phi = slice(0, nz), slice(nz, nz + nd), slice(nz + nd, nz + 2 * nd)

        matrix = torch.zeros(nz + 2 * nd, nz + 2 * nd, dtype=torch.complex128)
        rossby = 2j * self.rotation * m
        d = self.damping
        matrix[zeta, zeta] = torch.diag(
            rossby * _inverse_eigenvalue(vorticity_degrees) - d.vorticity[vorticity_degrees, m]
        )
        matrix[delta, delta] = torch.diag(
            rossby * _inverse_eigenvalue(divergence_degrees) - d.divergence[divergence_degrees, m]
        )
        matrix[phi, phi] = torch.diag(-d.geopotential[divergence_degrees, m] + 0j)
        matrix[delta, phi] = torch.diag(
            self.gravity * (divergence_degrees * (divergence_degrees + 1)).double() / self.radius**2
            + 0j
        )
        matrix[phi, delta] = torch.diag(
            -self.mean_geopotential * (divergence_degrees > 0).double() + 0j
        )
        matrix[zeta, delta] = -self._coriolis(vorticity_degrees, divergence_degrees, m)
        matrix[delta, zeta] = self._coriolis(divergence_degrees, vorticity_degrees, m)
        return where, matrix

    def _coriolis(self, to: Tensor, of: Tensor, m: int) -> Tensor:
        """Return 2Ω ε_{l+1} l/(l+1) where `of` is l + 1, and 2Ω ε_l (l+1)/l where it is l − 1."""
        eps = coupling(self.lmax + 1, m + 1)[:, m]
        degree, other = to[:, None], of[None, :]
        above = eps[degree + 1] * degree / (degree + 1) * (other == degree + 1)
        below = eps[degree] * (degree + 1) / degree.clamp(min=1) * (other == degree - 1)
        moving = (degree > 0) & (other > 0)  # degree 0 of ζ and δ is always 0
        return (2 * self.rotation * (above + below) * moving).to(torch.complex128)


@dataclass(frozen=True)
class Propagator:
    """e^{hL} and ∫₀ʰ e^{sL} ds, by groups of orders.

    Attributes:
        index: Indices of the coefficients of a group in a flat state, (2·orders, n).
        states: Matrices e^{hL}, (2·orders, n, n).
        tendencies: Matrices ∫₀ʰ e^{sL} ds, (2·orders, n, n).
    """

    index: tuple[Tensor, ...]
    states: tuple[Tensor, ...]
    tendencies: tuple[Tensor, ...]

    def propagate(self, state: Tensor) -> Tensor:
        """Return e^{hL} x for x of shape (..., 3, lmax, mmax)."""
        return self._apply(self.states, state)

    def accumulate(self, tendency: Tensor) -> Tensor:
        """Return ∫₀ʰ e^{sL} ds y for a constant tendency y of shape (..., 3, lmax, mmax)."""
        return self._apply(self.tendencies, tendency)

    def _apply(self, matrices: tuple[Tensor, ...], x: Tensor) -> Tensor:
        columns = x.reshape(-1, x.shape[-3:].numel()).t().contiguous()  # (3·l·m, b)
        out = torch.zeros_like(columns)
        for where, matrix in zip(self.index, matrices, strict=True):
            out[where] = torch.bmm(matrix, columns[where])  # (2·orders, n, b)
        return out.t().reshape(x.shape)


def _inverse_eigenvalue(degree: Tensor) -> Tensor:
    """Return 1 / (l(l+1)), and 0 for l = 0."""
    return torch.where(degree > 0, 1 / (degree * (degree + 1)).clamp(min=1).double(), 0.0)


def _exponential_and_integral(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return e^z and φ₁(z) = (e^z − 1)/z of matrices (..., n, n), by Taylor series and doubling."""
    norm = float(z.abs().sum(dim=-2).amax()) if z.numel() else 0.0
    doublings = max(0, math.ceil(math.log2(max(norm, 1e-300))))
    z = z / 2**doublings
    one = torch.eye(z.shape[-1], dtype=z.dtype).expand_as(z)
    phi = one / math.factorial(_TAYLOR_TERMS)
    for k in range(_TAYLOR_TERMS - 1, 0, -1):
        phi = one / math.factorial(k) + z @ phi
    exponential = one + z @ phi
    for _ in range(doublings):
        phi = (exponential @ phi + phi) / 2
        exponential = exponential @ exponential
    return exponential, phi
