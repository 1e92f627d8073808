"""Spectral branch on wavenumbers: Legendre products around a channel matrix per degree."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sphere_ops.engine.legendre_tables import (
    Block,
    LegendreTables,
    Part,
    fold,
    order_blocks,
    unfold,
)
from sphere_ops.engine.products import channel_matmul, channel_matmul_weight_gradient
from sphere_ops.parallel.partition import Orders


@dataclass(frozen=True)
class SpectralProducts:
    """Legendre tables of input and output grid, and the products with them.

    Attributes:
        analysis: Tables of the input grid.
        synthesis: Tables of the output grid.
        scale: Factor applied to the output when nlon changes.
    """

    analysis: LegendreTables
    synthesis: LegendreTables
    scale: float

    def forward(self, z: Tensor, kappa: Tensor, y: Tensor) -> Tensor:
        """Apply the branch.

        Args:
            z: Input, (2, b, orders, nlat, c), in a `ZonalLayout` whose first orders are those of
                the tables.
            kappa: Weights, (lmax, c, o), or (lmax, 2c, 2o) if complex.
            y: Output, (2, b, orders, nlat_out, o); rows of the tables' orders are overwritten.

        Returns:
            Coefficients of all blocks, concatenated, (rows, c), for `backward`.
        """
        b, c = z.shape[1], z.shape[4]
        pairs = sum(math.prod(p.table.shape[:2]) for x in self.analysis.blocks for p in x.parts)
        coeffs = z.new_empty(2 * b * pairs, c)
        weights = self.analysis.quadrature * self.analysis.equator * self.scale
        for block, parts in self._blocks(coeffs, b):
            folded = fold(_rows(z, block), block.lowest)
            sums = _empty_fold(folded, y.shape[4], self.synthesis)
            for here, there, a in parts:
                here.contract_latitude(folded.flatten(3), a.flatten(2), weights)
                there.contract_degrees(_mix(a, kappa[here.degrees]).flatten(2), sums.flatten(3))
            unfold(sums, block.lowest, _rows(y, block))
        return coeffs

    def backward(self, coeffs: Tensor, dy: Tensor, kappa: Tensor, dz: Tensor) -> Tensor:
        """Write the gradient of z to dz, and return that of kappa in at least float32.

        Args:
            coeffs: Result of `forward`.
            dy: Gradient of the output, (2, b, orders, nlat_out, o).
            kappa: Weights of `forward`.
            dz: Gradient of the input, (2, b, orders, nlat, c); rows of the tables' orders are
                overwritten.
        """
        dkappa = torch.zeros_like(kappa, dtype=torch.promote_types(kappa.dtype, torch.float32))
        weights = self.analysis.quadrature * self.scale
        for block, parts in self._blocks(coeffs, dy.shape[1]):
            folded = fold(_rows(dy, block), block.lowest)
            sums = _empty_fold(folded, dz.shape[4], self.analysis)
            for here, there, a in parts:
                d = a.new_empty(*a.shape[:4], dy.shape[4])
                there.contract_latitude(folded.flatten(3), d.flatten(2), self.synthesis.equator)
                part = kappa[here.degrees]
                dkappa[here.degrees] += _mix_weight_gradient(a, d, part, block.lowest == 0)
                here.contract_degrees(_mix(d, part.mT).flatten(2), sums.flatten(3), weights)
            unfold(sums, block.lowest, _rows(dz, block))
        return dkappa

    def _blocks(
        self, coeffs: Tensor, b: int
    ) -> Iterator[tuple[Block, list[tuple[Part, Part, Tensor]]]]:
        """Yield blocks, with the parts of both grids and their coefficients, (l, m, b, 2, c)."""
        first, c = 0, coeffs.shape[1]
        for here, there in zip(self.analysis.blocks, self.synthesis.blocks, strict=True):
            parts = []
            for p, q in zip(here.parts, there.parts, strict=True):
                m, l, _ = p.table.shape
                last = first + l * m * b * 2
                parts.append((p, q, coeffs[first:last].view(l, m, b, 2, c)))
                first = last
            yield here, parts


def coefficient_rows(orders: Orders, lmax: int, b: int, device: torch.device) -> int:
    """Return the number of rows of the coefficients that `SpectralProducts.forward` returns."""
    blocks = order_blocks(orders, device)
    return 2 * b * sum((slots.stop - slots.start) * (lmax - low) for slots, low in blocks)


def _rows(z: Tensor, block: Block) -> Tensor:
    """Return the rows of a block in z (2, b, orders, h, c), as a view (m, h, b, 2, c)."""
    return z[:, :, block.slots].permute(2, 3, 1, 0, 4)


def _mix(coeffs: Tensor, kappa: Tensor) -> Tensor:
    """Multiply the channels of every degree by kappa: (l, m, b, 2, c) to (l, m, b, 2, o)."""
    l, m, b, _, c = coeffs.shape
    mixed = channel_matmul(_by_degree(coeffs, kappa.shape[1]), kappa)
    return mixed.view(l, m, b, 2, kappa.shape[2] * c // kappa.shape[1])


def _mix_weight_gradient(a: Tensor, d: Tensor, kappa: Tensor, from_zero: bool) -> Tensor:
    """Return the gradient of kappa in `_mix`. An order m > 0 represents −m too."""
    x, dy = _by_degree(a, kappa.shape[1]), _by_degree(d, kappa.shape[2])
    gradient = 2 * channel_matmul_weight_gradient(x, dy)
    if from_zero:
        n = x.shape[1] // a.shape[1]
        gradient -= channel_matmul_weight_gradient(x[:, :n], dy[:, :n])
    return gradient


def _by_degree(coeffs: Tensor, channels: int) -> Tensor:
    """View (l, m, b, 2, c) as (l, rows, channels); a complex kappa acts on 2c channels."""
    l, m, b, _, c = coeffs.shape
    return coeffs.view(l, m * b * 2 * c // channels, channels)


def _empty_fold(like: Tensor, channels: int, tables: LegendreTables) -> Tensor:
    """Allocate the fold of a block on another grid, (2, m, northern rows, b, 2, channels)."""
    return like.new_empty(2, like.shape[1], len(tables.quadrature), *like.shape[3:5], channels)
