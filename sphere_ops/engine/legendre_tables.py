"""Products with Legendre functions: hemispheric parity and the triangle of degrees l ≥ m.

P_lm is even about the equator where l − m is even and odd where it is odd, so that sums and
differences of the two hemispheres serve half the degrees each. Orders are taken in blocks, so that
the degrees below a block's first order are never touched. Hemispheres are folded for one block at a
time where a cache holds it, for all together where launches count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from sphere_ops.engine.layout import bmm_into, prefers_small_blocks
from sphere_ops.grid import Grid
from sphere_ops.kernels.legendre import Function, legendre
from sphere_ops.parallel.partition import Orders

_ORDERS_PER_BLOCK, _MOST_LARGE_BLOCKS = 32, 4
_TINY = 1e-30  # below it products would be denormal


@dataclass(frozen=True)
class Part:
    """Orders and degrees of one parity each, within a block of orders.

    Attributes:
        orders: slice of the orders by their places among those kept, step 2.
        degrees: slice of the degrees, step 2.
        even: whether these functions are even about the equator.
        table: (orders, degrees, north rows).
    """

    orders: slice
    degrees: slice
    even: bool
    table: Tensor

    def orders_from(self, first: int) -> slice:
        """Their places, counted from `first`."""
        return slice(self.orders.start - first, self.orders.stop - first, self.orders.step)


@dataclass(frozen=True)
class Block:
    """Neighbouring orders whose degrees begin at the same place.

    Attributes:
        first: place of the first order among those kept.
        last: exclusive.
        lowest: the first order.
        parts: one of each parity of order and degree.
    """

    first: int
    last: int
    lowest: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class LegendreTables:
    """Legendre functions of a grid, cut by parity and in blocks of orders.

    Attributes:
        nlat: rows of the grid.
        lmax: degrees, exclusive.
        orders: those that are kept: of one process, all below mmax.
        folds: blocks of orders whose hemispheres are folded together.
        quadrature: 2π q of the north rows, (north,).
    """

    nlat: int
    lmax: int
    orders: Orders
    folds: tuple[tuple[Block, ...], ...]
    quadrature: Tensor

    @property
    def mmax(self) -> int:
        """Number of the orders."""
        return self.orders.count

    @property
    def north(self) -> int:
        """Rows of the northern hemisphere, the equator included."""
        return (self.nlat + 1) // 2

    @property
    def blocks(self) -> Iterator[Block]:
        """All blocks of orders."""
        return (block for blocks in self.folds for block in blocks)

    @property
    def halved_equator(self) -> Tensor:
        """Weights (north,) of rows that are added to their mirror images: ½ on the equator."""
        weights = torch.ones_like(self.quadrature)
        if self.nlat % 2:
            weights[-1] = 0.5
        return weights

    @property
    def halved_quadrature(self) -> Tensor:
        """2π q of rows that are added to their mirror images, (north,)."""
        return self.quadrature * self.halved_equator

    def analyse(self, body: Tensor, *, quadrature: bool = True) -> Tensor:
        """Contract latitude: c_lm = Σ_h 2π q_h P_lm(h) z_m(h).

        Args:
            body: (2, b, orders, nlat, c) of a `ZonalLayout`, whose first orders are these.
            quadrature: with weights; without them it is the adjoint of `synthesise`.

        Returns:
            (lmax, orders, b, 2, c); entries with degree below the order are 0.
        """
        parts_re_im, b, _, nlat, c = body.shape
        coeffs = body.new_empty(self.lmax, self.mmax, b, parts_re_im, c)
        weights = self.halved_quadrature if quadrature else self.halved_equator
        weighted = quadrature or bool(nlat % 2)
        for blocks in self.folds:
            first, last = blocks[0].first, blocks[-1].last
            rows = body[:, :, first:last].permute(2, 3, 1, 0, 4)  # (m, h, b, 2, c)
            top, bottom = rows[:, : self.north], rows[:, nlat - self.north :].flip(1)
            even, odd = body.new_empty(2, *top.shape)
            torch.add(top, bottom, out=even)
            torch.sub(top, bottom, out=odd)
            even, odd = even.flatten(2), odd.flatten(2)  # (m, h, n)
            if weighted:
                even *= weights[:, None]
                odd *= weights[:, None]
            for block in blocks:
                # What the parts below do not write.
                coeffs[: block.lowest + 1, block.first : block.last] = 0
                for part in block.parts:
                    folded = (even if part.even else odd)[part.orders_from(first)]
                    target = coeffs[part.degrees, part.orders].flatten(2)  # (l, m, n)
                    bmm_into(part.table, folded, target.transpose(0, 1))
        return coeffs

    def synthesise(self, coeffs: Tensor, body: Tensor, *, quadrature: bool = False) -> None:
        """Contract degrees: z_m(h) = Σ_l P_lm(h) c_lm.

        Args:
            coeffs: (lmax, orders, b, 2, c).
            body: (2, b, orders, nlat, c) of a `ZonalLayout`; the rows of these orders, its
                first, are overwritten.
            quadrature: times 2π q_h; it is then the adjoint of `analyse`.
        """
        b, c = coeffs.shape[2], coeffs.shape[4]
        flat = coeffs.flatten(2)  # (l, m, n)
        south = self.nlat - self.north
        for blocks in self.folds:
            first, last = blocks[0].first, blocks[-1].last
            sums = coeffs.new_zeros(2, last - first, self.north, flat.shape[2])
            for part in (part for block in blocks for part in block.parts):
                degrees = flat[part.degrees, part.orders].transpose(0, 1)  # (m, l, n)
                target = sums[0 if part.even else 1, part.orders_from(first)]
                bmm_into(part.table.mT, degrees, target)
            if quadrature:
                sums *= self.quadrature[:, None]
            even, odd = sums.unflatten(3, (b, 2, c))  # (m, h, b, 2, c)
            rows = body[:, :, first:last].permute(2, 3, 1, 0, 4)
            torch.add(even, odd, out=rows[:, : self.north])
            rows[:, self.north :] = (even - odd)[:, :south].flip(1)


@lru_cache(maxsize=32)
def legendre_tables(
    grid: Grid,
    lmax: int,
    orders: Orders,
    dtype: torch.dtype,
    device: torch.device,
    function: Function = "P",
) -> LegendreTables:
    """Tables of a grid, built in float64, kept in dtype on the device, shared by all who ask."""
    north = (grid.nlat + 1) // 2
    blocks: list[Block] = []
    for there, here in orders.slots():
        values = legendre(grid, lmax, there.stop, function, north, there.start)  # (m, l, north)
        values = torch.where(values.abs() < _TINY, 0.0, values).to(device=device, dtype=dtype)
        size = len(values)
        count = max(1, round(size / _ORDERS_PER_BLOCK))
        if not prefers_small_blocks(device):
            count = min(count, _MOST_LARGE_BLOCKS)
        edges = [round(i * size / count) for i in range(count + 1)]
        for first, last in zip(edges, edges[1:], strict=False):
            lowest = there.start + first
            parts = []
            for place in range(first, min(first + 2, last)):
                for difference in (0, 1):  # l − m modulo 2
                    degrees = slice(lowest + (place + difference - first) % 2, lmax, 2)
                    table = values[place:last:2, degrees].contiguous()
                    even = (difference == 0) == (function != "dP/dθ")
                    if table.numel():
                        of = slice(here.start + place, here.start + last, 2)
                        parts.append(Part(of, degrees, even, table))
            blocks.append(Block(here.start + first, here.start + last, lowest, tuple(parts)))
    folds: tuple[tuple[Block, ...], ...] = tuple((block,) for block in blocks)
    if blocks and not prefers_small_blocks(device):
        folds = (tuple(blocks),)
    weights = (4 * torch.pi * grid.nlon * grid.area_weights[:north, 0]).to(
        device=device, dtype=dtype
    )
    return LegendreTables(grid.nlat, lmax, orders, folds, weights)
