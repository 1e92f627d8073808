"""The spectral branch of small grids on a CPU: dense Legendre products, block of orders by block.

On all rows, without a fold of the hemispheres, there are twice the operations and half the passes
over memory: every product reads a `ZonalLayout`, or writes it, as it is. The coefficients of
a block of orders, from its first order's degree on, are mixed while a cache holds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.kernels.legendre import legendre
from sphere_ops.parallel.partition import Orders

_ORDERS_PER_BLOCK = 32
_TINY = 1e-30  # below it products would be denormal


@dataclass(frozen=True)
class Block:
    """Neighbouring orders and the degrees from the first of them on.

    Attributes:
        places: of the orders among those kept.
        lowest: the first order, and degree.
        lmax: degrees, exclusive.
    """

    places: slice
    lowest: int
    lmax: int

    @property
    def orders(self) -> int:
        """Number of the orders."""
        return self.places.stop - self.places.start

    @property
    def lines(self) -> int:
        """Degrees that are stored, an odd number: lines of a power of two would share cache sets.

        The one beyond lmax, if there is one, is 0.
        """
        return (self.lmax - self.lowest) | 1

    def size(self, b: int) -> int:
        """Rows of channels of the coefficients of b fields."""
        return 2 * b * self.orders * self.lines


def blocks_of(orders: Orders, lmax: int) -> tuple[Block, ...]:
    """Cut orders in blocks of about equal size."""
    blocks = []
    for there, here in orders.slots():
        size = there.stop - there.start
        count = max(1, round(size / _ORDERS_PER_BLOCK))
        edges = [round(i * size / count) for i in range(count + 1)]
        for first, last in zip(edges, edges[1:], strict=False):
            places = slice(here.start + first, here.start + last)
            blocks.append(Block(places, there.start + first, lmax))
    return tuple(blocks)


@dataclass(frozen=True)
class DenseLegendre:
    """Legendre functions of input and output grid, and the products with them.

    Attributes:
        orders: those that are kept.
        blocks: of the orders.
        analysis: of each block, (orders, lines, padded rows), with the weights of the quadrature.
        synthesis: of each block, (orders, lines, padded rows).
    """

    orders: Orders
    blocks: tuple[Block, ...]
    analysis: tuple[Tensor, ...]
    synthesis: tuple[Tensor, ...]

    @staticmethod
    def shape(orders: Orders, lmax: int, b: int, c: int) -> tuple[int, int]:
        """Of the coefficients of all blocks, one after another."""
        return sum(block.size(b) for block in blocks_of(orders, lmax)), c

    def forward(self, z: Tensor, kappa: Tensor, y: Tensor) -> Tensor:
        """The branch.

        Args:
            z: (2, b, orders, padded rows, c) in the layout of `ZonalLayout`, whose first orders are
                these.
            kappa: weights (lmax, c, o) or, complex, (lmax, 2c, 2o).
            y: (2, b, orders, padded rows, o); the rows of these orders are overwritten.

        Returns:
            The coefficients, for `backward`.
        """
        b, c = z.shape[1], z.shape[4]
        coeffs = z.new_empty(sum(block.size(b) for block in self.blocks), c)
        for block, table_in, table_out, a in self._parts(coeffs, b):
            _analyse(table_in, z[:, :, block.places], a)
            _synthesise(table_out, _mix(a, kappa[block.lowest :]), y[:, :, block.places])
        return coeffs

    def backward(self, coeffs: Tensor, dy: Tensor, kappa: Tensor, dz: Tensor) -> Tensor:
        """Gradients by z, in dz, and by kappa, returned in at least float32.

        Args:
            coeffs: of `forward`.
            dy: (2, b, orders, padded rows, o) in the layout of `ZonalLayout`.
            kappa: as in `forward`.
            dz: (2, b, orders, padded rows, c); the rows of these orders are overwritten.
        """
        dkappa = torch.zeros_like(kappa, dtype=torch.promote_types(kappa.dtype, torch.float32))
        for block, table_in, table_out, a in self._parts(coeffs, dy.shape[1]):
            d = dy.new_empty(*a.shape[:4], dy.shape[4])
            _analyse(table_out, dy[:, :, block.places], d)
            # An order m > 0 stands for −m too.
            dkappa[block.lowest :].add_(_outer(a, d, kappa[block.lowest :]), alpha=2)
            if block.lowest == 0:
                dkappa -= _outer(a[:, :, :1], d[:, :, :1], kappa)
            _synthesise(table_in, _mix(d, kappa[block.lowest :].mT), dz[:, :, block.places])
        return dkappa

    def _parts(self, coeffs: Tensor, b: int) -> Iterator[tuple[Block, Tensor, Tensor, Tensor]]:
        """Every block, both its tables and its coefficients, (2, b, orders, lines, c)."""
        split = coeffs.split([block.size(b) for block in self.blocks])
        for block, table_in, table_out, part in zip(
            self.blocks, self.analysis, self.synthesis, split, strict=True
        ):
            shape = (2, b, block.orders, block.lines, coeffs.shape[1])
            yield block, table_in, table_out, part.view(shape)


def _analyse(table: Tensor, z: Tensor, out: Tensor) -> None:
    """Rows (2, b, m, h, c) to coefficients (2, b, m, l, c)."""
    for i in range(z.shape[1]):
        for part in (0, 1):
            torch.bmm(table, z[part, i], out=out[part, i])


def _synthesise(table: Tensor, coeffs: Tensor, y: Tensor) -> None:
    """Coefficients (2, b, m, l, c) to rows (2, b, m, h, c)."""
    functions = table[:, : coeffs.shape[3]].mT
    for i in range(y.shape[1]):
        for part in (0, 1):
            torch.bmm(functions, coeffs[part, i], out=y[part, i])


def _mix(coeffs: Tensor, kappa: Tensor) -> Tensor:
    """Mix the channels of every degree: (2, b, m, l, c) with (l, c, o) to (2, b, m, l, o)."""
    _, b, m, _, c = coeffs.shape
    mixed = torch.bmm(_by_degree(coeffs, kappa, 1), kappa)
    if kappa.shape[1] == c:
        return mixed.view(len(kappa), 2, b, m, kappa.shape[2]).permute(1, 2, 3, 0, 4)
    return mixed.view(len(kappa), b, m, 2, kappa.shape[2] // 2).permute(3, 1, 2, 0, 4)


def _outer(a: Tensor, d: Tensor, kappa: Tensor) -> Tensor:
    """Sums over fields and orders of the outer products, of the shape of kappa."""
    return torch.bmm(_by_degree(a, kappa, 1).mT, _by_degree(d, kappa, 2))


def _by_degree(coeffs: Tensor, kappa: Tensor, side: int) -> Tensor:
    """Coefficients (2, b, m, l, c) as matrices of the degrees of kappa, (l, rows, c).

    A complex kappa has on its sides 1 and 2 real and imaginary part side by side: (l, rows, 2c).
    """
    if kappa.shape[side] != coeffs.shape[4]:
        coeffs = torch.cat((coeffs[:1], coeffs[1:]), dim=4)
    return coeffs.flatten(0, 2).transpose(0, 1)[: len(kappa)]


@lru_cache(maxsize=32)
def functions(
    grid: Grid,
    lmax: int,
    orders: Orders,
    padded: int,
    quadrature: float,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, ...]:
    """Tables of a grid, built in float64, shared by all who ask.

    Args:
        grid: whose rows are meant.
        lmax: degrees, exclusive.
        orders: to keep.
        padded: rows to store; those beyond the grid's are 0.
        quadrature: factor of the weights 2π q_h; 0 for the functions without weights.
        dtype: of the result.
        device: of the result.

    Returns:
        Of each block, (orders, lines, padded).
    """
    blocks = blocks_of(orders, lmax)
    last = max((block.lowest + block.orders for block in blocks), default=0)
    values = legendre(grid, lmax, last)  # (m, l, h)
    if quadrature:
        values = values * (quadrature * 4 * torch.pi * grid.nlon * grid.area_weights[:, 0])
    values = torch.where(values.abs() < _TINY, 0.0, values).to(device=device, dtype=dtype)
    tables = []
    for block in blocks:
        table = values.new_zeros(block.orders, block.lines, padded)
        kept = slice(block.lowest, block.lowest + block.orders)
        table[:, : lmax - block.lowest, : grid.nlat] = values[kept, block.lowest :]
        tables.append(table)
    return tuple(tables)
