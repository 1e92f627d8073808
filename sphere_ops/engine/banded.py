"""Banded matrices over latitude, one per wavenumber, as batched products of their blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = 8  # output rows of a block: measured best of 8, 16 and 32 for bands of 5 to 9 rows
_TINY = 1e-30  # relative to order one; below it products would be denormal


@dataclass(frozen=True)
class Blocks:
    """Cut of the rows of both grids into the same number of blocks.

    Attributes:
        count: blocks of a wavenumber.
        rows_in: input rows from one block to the next.
        rows_out: output rows of a block.
        offset: input rows that a block reads before its own.
        window: input rows that a block reads.
        offset_t: output rows that a block of input rows reads before its own, transposed.
        window_t: output rows that a block of input rows reads, transposed.
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
        """Cut bands that start at first_row (nlat_out,) and are `band` rows wide."""
        nlat_out = len(first_row)
        count = max(1, round(nlat_out / _BLOCK))
        common = [d for d in range(1, count + 4) if nlat_in % d == 0 and nlat_out % d == 0]
        if max(common) > count / 2:  # no padding where a block of 4 to 16 rows divides the grids
            count = max(common)
        rows_in, rows_out = math.ceil(nlat_in / count), math.ceil(nlat_out / count)
        block_out = torch.arange(nlat_out) // rows_out
        offset = int((block_out * rows_in - first_row).max())
        window = int((first_row + band - block_out * rows_in).max()) + offset
        # Transposed: input row r is read by the output rows whose band holds it.
        row = (first_row[:, None] + torch.arange(band)).flatten()
        reader = torch.arange(nlat_out)[:, None].expand(-1, band).flatten()
        start = (row // rows_in) * rows_out
        offset_t = int((start - reader).max())
        window_t = int((reader - start).max()) + 1 + offset_t
        return Blocks(count, rows_in, rows_out, offset, window, offset_t, window_t)

    @property
    def halo_in(self) -> int:
        """Rows that windows reach beyond the input rows of the first or last wavenumber."""
        return max(0, self.offset, self.window - self.rows_in - self.offset)

    @property
    def halo_out(self) -> int:
        """Rows that transposed windows reach beyond the output rows of the first or last one."""
        return max(0, self.offset_t, self.window_t - self.rows_out - self.offset_t)


@dataclass(frozen=True)
class Banded:
    """K banded matrices per wavenumber, that act on rows of the layout of `ZonalLayout`.

    Attributes:
        matrix: (orders·count, rows_out, window·K), column r·K + j for input row r, filter j.
        transposed: (orders·count, rows_in·K, window_t), row r·K + j.
        blocks: the cut.
        k: filters.
    """

    matrix: Tensor
    transposed: Tensor
    blocks: Blocks
    k: int

    @staticmethod
    def of(
        values: Tensor, first_row: Tensor, blocks: Blocks, dtype: torch.dtype, device: torch.device
    ) -> Banded | None:
        """Arrange symbols (K, nlat_out, band, orders) in blocks; None where there are none."""
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
        """Out (+)= sign · Σ_j A_j v_j for the wavenumbers from `first` on.

        Args:
            v: (rows, k·o) contiguous; its row 0 is `offset` rows before those of order `first`.
            first: the first wavenumber.
            out: (orders', padded_out, o) contiguous.
            add: add to out instead of overwriting it.
            sign: 1 or −1.
        """
        b = self.blocks
        _windowed_product(
            self.matrix, v, b.count * first, b.window * self.k, b.rows_in * self.k, out, add, sign
        )

    def apply_transposed(self, y: Tensor, first: int, out: Tensor, sign: float) -> None:
        """Out = sign · A_jᵀ y for the wavenumbers from `first` on.

        Args:
            y: (rows, o) contiguous; its row 0 is `offset_t` rows before those of order `first`.
            first: the first wavenumber.
            out: (orders', padded_in, k·o) contiguous.
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
    """Products of blocks with overlapping windows of v, which are views of it."""
    o = out.shape[-1]
    target = out.view(-1, matrix.shape[1], o)
    batch = len(target)
    windows = v.as_strided((batch, window, o), (step * o, o, 1), v.storage_offset())
    blocks = matrix[start : start + batch]
    if add or sign != 1:
        torch.baddbmm(target, blocks, windows, beta=float(add), alpha=sign, out=target)
    else:
        torch.bmm(blocks, windows, out=target)
