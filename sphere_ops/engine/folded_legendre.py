"""The spectral branch of large grids, and on a GPU: products with the hemispheres folded.

Between its transforms every degree's channels are mixed by its own matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sphere_ops.engine.layout import bmm_into, prefers_small_blocks
from sphere_ops.engine.legendre_tables import LegendreTables
from sphere_ops.parallel.partition import Orders


@dataclass(frozen=True)
class FoldedLegendre:
    """Legendre functions of input and output grid, and the products with them.

    Attributes:
        analysis: of the input grid.
        synthesis: of the output grid.
        scale: factor of the branch.
    """

    analysis: LegendreTables
    synthesis: LegendreTables
    scale: float

    @property
    def orders(self) -> Orders:
        """Those that are kept."""
        return self.analysis.orders

    @staticmethod
    def shape(orders: Orders, lmax: int, b: int, c: int) -> tuple[int, ...]:
        """Of the coefficients."""
        return lmax, orders.count, b, 2, c

    def forward(self, z: Tensor, kappa: Tensor, y: Tensor) -> Tensor:
        """As of `DenseLegendre`."""
        coeffs = self.analysis.analyse(z[..., : self.analysis.nlat, :])
        mixed = channel_matmul_per_degree(coeffs, kappa * self.scale, self.orders)
        self.synthesis.synthesise(mixed, y[..., : self.synthesis.nlat, :])
        return coeffs

    def backward(self, coeffs: Tensor, dy: Tensor, kappa: Tensor, dz: Tensor) -> Tensor:
        """As of `DenseLegendre`."""
        dmixed = self.synthesis.analyse(dy[..., : self.synthesis.nlat, :], quadrature=False)
        dkappa = (
            channel_matmul_per_degree_weight_gradient(coeffs, dmixed, kappa.shape, self.orders)
            * self.scale
        )
        dcoeffs = channel_matmul_per_degree(dmixed, kappa.mT * self.scale, self.orders)
        self.analysis.synthesise(dcoeffs, dz[..., : self.analysis.nlat, :], quadrature=True)
        return dkappa


def _degree_blocks(coeffs: Tensor, orders: Orders) -> list[tuple[int, int, int]]:
    """Blocks of degrees [first, last) and how many orders are among theirs."""
    lmax = len(coeffs)
    size = 16 if prefers_small_blocks(coeffs.device) else math.ceil(lmax / 4)
    edges = [(a, min(a + size, lmax)) for a in range(0, lmax, size)]
    return [(first, last, orders.count_below(last)) for first, last in edges]


def channel_matmul_per_degree(coeffs: Tensor, kappa: Tensor, orders: Orders) -> Tensor:
    """Mix the channels of every degree: (l, m, b, 2, c) with (l, c, o) to (l, m, b, 2, o)."""
    lmax, mmax, b, _, c = coeffs.shape
    per_order = b * 2 * c // kappa.shape[1]
    # (l, m·b·2, c), or 2c for a complex kernel
    rows = coeffs.view(lmax, mmax * per_order, kappa.shape[1])
    out = coeffs.new_empty(lmax, rows.shape[1], kappa.shape[2])
    for first, last, count in _degree_blocks(coeffs, orders):
        n = count * per_order
        bmm_into(rows[first:last, :n], kappa[first:last], out[first:last, :n])
        # The synthesis multiplies these by zero, which memory with a NaN in it would survive.
        out[first:last, n:].zero_()
    return out.view(lmax, mmax, b, 2, kappa.shape[2] * c // kappa.shape[1])


def channel_matmul_per_degree_weight_gradient(
    coeffs: Tensor, dmixed: Tensor, shape: torch.Size, orders: Orders
) -> Tensor:
    """Gradient of the weights of every degree; an order m > 0 stands for −m too."""
    lmax, mmax, b, _, c = coeffs.shape
    per_order = b * 2 * c // shape[1]
    a = coeffs.view(lmax, mmax * per_order, shape[1])
    d = dmixed.view(lmax, mmax * per_order, shape[2])
    single = orders.count_below(1) * per_order
    out = coeffs.new_empty(shape)
    for first, last, count in _degree_blocks(coeffs, orders):
        n = count * per_order
        block_a, block_d = a[first:last, :n], d[first:last, :n]
        total = torch.bmm(block_a.mT, block_d) * 2
        zero = torch.bmm(block_a[:, :single].mT, block_d[:, :single])
        out[first:last] = total - zero
    return out
