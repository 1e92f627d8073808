"""Banded matrices over latitude, one per wavenumber, applied as batched products of blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = 8  # output rows of a block: measured fastest of 8, 16 and 32 for bands of 5 to 9 rows
_TINY = 1e-30  # values are of order 1; products of smaller ones would be denormal


@dataclass(frozen=True)
class Blocks:
    """Partition of the rows of both grids into the same number of blocks.

    Attributes:
        count: Number of blocks per wavenumber.
        rows_in: Input rows per block.
        rows_out: Output rows per block.
        offset: Number of input rows that a block reads before its own.
        window: Number of input rows that a block reads.
        offset_t: Number of output rows that a block reads before its own in the transposed product.
        window_t: Number of output rows that a block reads in the transposed product.
    """

    count: int
    rows_in: int
    rows_out: int
    offset: int
    window: int
    offset_t: int
    window_t: int

    @staticmethod
    def of(first_row: Tensor, band: int, nlat_in: int) -> Blocks:
        """Return the blocks for bands that start at first_row (nlat_out,), `band` rows wide."""
        nlat_out = len(first_row)
        count = max(1, round(nlat_out / _BLOCK))
        common = [d for d in range(1, count + 4) if nlat_in % d == 0 and nlat_out % d == 0]
        if max(common) > count / 2:  # no padding where a block of 4 to 16 rows divides the grids
            count = max(common)
        rows_in, rows_out = math.ceil(nlat_in / count), math.ceil(nlat_out / count)
        block_out = torch.arange(nlat_out) // rows_out
        offset = int((block_out * rows_in - first_row).max())
        window = int((first_row + band - block_out * rows_in).max()) + offset
        # Transposed product: input row r is read by the output rows whose band contains it.
        row = (first_row[:, None] + torch.arange(band)).flatten()
        reader = torch.arange(nlat_out)[:, None].expand(-1, band).flatten()
        start = (row // rows_in) * rows_out
        offset_t = int((start - reader).max())
        window_t = int((reader - start).max()) + 1 + offset_t
        return Blocks(count, rows_in, rows_out, offset, window, offset_t, window_t)

    @property
    def halo_in(self) -> int:
        """Number of rows by which windows exceed the input rows of the outer wavenumbers."""
        return max(0, self.offset, self.window - self.rows_in - self.offset)

    @property
    def halo_out(self) -> int:
        """Number of rows by which transposed windows exceed the output rows."""
        return max(0, self.offset_t, self.window_t - self.rows_out - self.offset_t)


@dataclass(frozen=True)
class Banded:
    """Banded matrices of K filters per wavenumber, which act on rows of a `ZonalLayout`.

    Attributes:
        matrix: Blocks, (orders·count, rows_out, window·K); column r·K + j for input row r, filter
            j.
        transposed: Blocks of the transposed product, (orders·count, rows_in·K, window_t); row
            r·K + j.
        blocks: Partition of the rows into blocks.
        k: Number of filters.
    """

    matrix: Tensor
    transposed: Tensor
    blocks: Blocks
    k: int

    @staticmethod
    def of(
        values: Tensor, first_row: Tensor, blocks: Blocks, dtype: torch.dtype, device: torch.device
    ) -> Banded | None:
        """Arrange symbols (K, nlat_out, band, orders) in blocks; return None if K is 0."""
        k, nlat_out, band, orders = values.shape
        if k == 0:
            return None
        b = blocks
        values = torch.where(values.abs() < _TINY, 0.0, values).to(dtype)
        row_out = torch.arange(nlat_out)[:, None].expand(-1, band)
        row_in = first_row[:, None] + torch.arange(band)
        block, r_out = row_out // b.rows_out, row_out % b.rows_out
        r = row_in - block * b.rows_in + b.offset
        matrix = torch.zeros(b.count, b.rows_out, b.window, k, orders, dtype=dtype)
        matrix[block, r_out, r] = values.permute(1, 2, 0, 3)
        block, r_in = row_in // b.rows_in, row_in % b.rows_in
        r = row_out - block * b.rows_out + b.offset_t
        transposed = torch.zeros(b.count, b.rows_in, b.window_t, k, orders, dtype=dtype)
        transposed[block, r_in, r] = values.permute(1, 2, 0, 3)
        return Banded(
            matrix.permute(4, 0, 1, 2, 3)
            .reshape(orders * b.count, b.rows_out, b.window * k)
            .to(device),
            transposed.permute(4, 0, 1, 3, 2)
            .reshape(orders * b.count, b.rows_in * k, b.window_t)
            .to(device),
            b,
            k,
        )

    def apply(self, v: Tensor, first: int, out: Tensor, add: bool, sign: float) -> None:
        """Compute out (+)= sign · Σ_j A_j v_j for the wavenumbers from `first` on.

        Args:
            v: Input, (rows, k·o) contiguous; row 0 is `offset` rows before those of order `first`.
            first: First wavenumber.
            out: Output, (orders', padded_out, o) contiguous.
            add: True to add to out instead of overwriting it.
            sign: 1 or −1.
        """
        b = self.blocks
        _windowed_product(
            self.matrix, v, b.count * first, b.window * self.k, b.rows_in * self.k, out, add, sign
        )

    def apply_transposed(self, y: Tensor, first: int, out: Tensor, sign: float) -> None:
        """Compute out = sign · A_jᵀ y for the wavenumbers from `first` on.

        Args:
            y: Input, (rows, o) contiguous; row 0 is `offset_t` rows before those of order `first`.
            first: First wavenumber.
            out: Output, (orders', padded_in, k·o) contiguous.
            sign: 1 or −1.
        """
        b = self.blocks
        o = y.shape[1]
        rows = out.view(out.shape[0], -1, o)  # (orders', padded_in·k, o)
        _windowed_product(
            self.transposed, y, b.count * first, b.window_t, b.rows_out, rows, False, sign
        )


def _windowed_product(
    matrix: Tensor,
    v: Tensor,
    start: int,
    window: int,
    step: int,
    out: Tensor,
    add: bool,
    sign: float,
) -> None:
    """Multiply blocks by overlapping windows of v, which are views of it."""
    o = out.shape[-1]
    target = out.view(-1, matrix.shape[1], o)
    batch = len(target)
    windows = v.as_strided((batch, window, o), (step * o, o, 1), v.storage_offset())
    blocks = matrix[start : start + batch]
    if add or sign != 1:
        torch.baddbmm(target, blocks, windows, beta=float(add), alpha=sign, out=target)
    else:
        torch.bmm(blocks, windows, out=target)
