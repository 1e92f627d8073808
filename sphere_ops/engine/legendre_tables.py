"""Tables of Legendre functions by parity and block of orders, and products with them.

P_lm is even about the equator if l − m is even, and odd if l − m is odd. The sum of the hemispheres
thus contributes to half the degrees, their difference to the other half. A `fold` holds both,
sorted by the parity of these degrees: [l mod 2, order, northern row, ...]. Orders are grouped in
blocks, so that degrees below the first order of a block are skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sphere_ops.engine.products import bmm_into, prefers_small_blocks
from sphere_ops.engine.tables import shared
from sphere_ops.grid import Grid
from sphere_ops.kernels.legendre import Function, legendre
from sphere_ops.parallel.partition import Orders, split_evenly

_ORDERS_PER_BLOCK, _MOST_LARGE_BLOCKS = 32, 4
_TINY = 1e-30  # products of smaller values would be denormal


@dataclass(frozen=True)
class Part:
    """Legendre functions of a block of orders and of the degrees of one parity.

    Attributes:
        degrees: Slice of the degrees, step 2.
        index: Index along the first dimension of a fold on which these functions act.
        table: Values, (orders, degrees, northern rows).
    """

    degrees: slice
    index: int
    table: Tensor

    def contract_latitude(
        self, folded: Tensor, coeffs: Tensor, weights: Tensor | None = None
    ) -> None:
        """Compute c_lm = Σ_h P_lm(h) w_h z_m(h).

        Args:
            folded: Fold, (2, orders, northern rows, n).
            coeffs: Output, (degrees, orders, n), overwritten.
            weights: Weights w, (northern rows,); 1 if not given.
        """
        bmm_into(self._weighted(weights), folded[self.index], coeffs.transpose(0, 1))

    def contract_degrees(
        self, coeffs: Tensor, folded: Tensor, weights: Tensor | None = None, *, add: bool = False
    ) -> None:
        """Compute z_m(h) = w_h Σ_l P_lm(h) c_lm.

        Args:
            coeffs: Coefficients, (degrees, orders, n).
            folded: Output, (2, orders, northern rows, n); the part of these degrees is overwritten.
            weights: Weights w, (northern rows,); 1 if not given.
            add: True to add to the output instead of overwriting it.
        """
        table = self._weighted(weights).mT
        bmm_into(table, coeffs.transpose(0, 1), folded[self.index], add=add)

    def _weighted(self, weights: Tensor | None) -> Tensor:
        return self.table if weights is None else self.table * weights


@dataclass(frozen=True)
class Block:
    """Tables of consecutive orders, for all degrees from the lowest order on.

    Attributes:
        slots: Positions of the orders among those of this rank.
        lowest: Lowest order of the block.
        parts: Tables of each parity.
    """

    slots: slice
    lowest: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, eq=False)
class LegendreTables:
    """Legendre functions on a grid.

    Attributes:
        blocks: Blocks of the orders of this rank.
        quadrature: Quadrature weights 2π q of the northern rows, (north,).
        equator: Factors of the northern rows, (north,): ½ on an equator row, which is its own
            mirror image, 1 elsewhere.
    """

    blocks: tuple[Block, ...]
    quadrature: Tensor
    equator: Tensor


def fold(rows: Tensor, lowest: int) -> Tensor:
    """Return sums and differences of rows and their mirror images.

    Args:
        rows: Rows of consecutive orders, (orders, nlat, ...).
        lowest: Lowest order.

    Returns:
        Fold, (2, orders, northern rows, ...). A row on the equator is counted twice.
    """
    north = (rows.shape[1] + 1) // 2
    top, bottom = rows[:, :north], rows[:, rows.shape[1] - north :].flip(1)
    folded = rows.new_empty(2, *top.shape)
    for first in (0, 1):
        even = (lowest + first) % 2
        torch.add(top[first::2], bottom[first::2], out=folded[even, first::2])
        torch.sub(top[first::2], bottom[first::2], out=folded[1 - even, first::2])
    return folded


def unfold(folded: Tensor, lowest: int, rows: Tensor) -> None:
    """Compute rows from their even and odd parts.

    Args:
        folded: Fold of consecutive orders, (2, orders, northern rows, ...).
        lowest: Lowest order.
        rows: Output, (orders, nlat, ...), overwritten.
    """
    north = folded.shape[2]
    south = rows.shape[1] - north
    for first in (0, 1):
        index = (lowest + first) % 2
        even, odd = folded[index, first::2], folded[1 - index, first::2]
        torch.add(even, odd, out=rows[first::2, :north])
        rows[first::2, north:] = (even - odd)[:, :south].flip(1)


def order_blocks(orders: Orders, device: torch.device) -> list[tuple[slice, int]]:
    """Return blocks of consecutive orders: slots among `orders`, and the lowest order of each."""
    blocks = []
    for there, here in orders.slots():
        count = max(1, round((there.stop - there.start) / _ORDERS_PER_BLOCK))
        if not prefers_small_blocks(device):
            count = min(count, _MOST_LARGE_BLOCKS)
        for slots in split_evenly(here.start, here.stop, count):
            blocks.append((slots, there.start + slots.start - here.start))
    return blocks


@shared
def legendre_tables(
    grid: Grid,
    lmax: int,
    orders: Orders,
    dtype: torch.dtype,
    device: torch.device,
    function: Function,
) -> LegendreTables:
    """Build tables of a grid in float64, and store them in dtype on the device."""
    north = (grid.nlat + 1) // 2
    blocks = []
    for slots, lowest in order_blocks(orders, device):
        values = legendre(grid, lmax, lowest + slots.stop - slots.start, function, north, lowest)
        values = torch.where(values.abs() < _TINY, 0.0, values).to(device=device, dtype=dtype)
        parts = []
        for first in (lowest, lowest + 1):  # (m, l, north) of every second degree
            index = (first + (function == "dP/dθ")) % 2  # ∂_θ turns even functions into odd ones
            table = values[:, first:lmax:2].contiguous()
            parts.append(Part(slice(first, lmax, 2), index, table))
        blocks.append(Block(slots, lowest, tuple(parts)))
    quadrature = 4 * torch.pi * grid.nlon * grid.area_weights[:north, 0]
    equator = torch.ones_like(quadrature)
    if grid.nlat % 2:
        equator[-1] = 0.5
    return LegendreTables(tuple(blocks), quadrature.to(device, dtype), equator.to(device, dtype))
