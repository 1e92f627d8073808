"""The layout in which every branch is a batched matrix product, and those products.

A field (b, c, h, w) becomes Z (2, b, rows, c): real and imaginary part first, then for each
wavenumber its nlat rows one after another, channels innermost. Mixing channels is then one large
matrix product, and the rows of a wavenumber are a matrix for the products over latitude. Rows are
padded per wavenumber to a multiple of the row block, and `halo` rows stand before the first and
after the last wavenumber, so that the overlapping windows of a banded product are a view with one
stride: what they reach beyond their wavenumber meets zeros of the table.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from sphere_ops.engine.products import prefers_small_blocks, split_to_size
from sphere_ops.parallel.exchange import ToWavenumbers, wavenumbers_to_rows
from sphere_ops.parallel.partition import Orders, Shard


@dataclass(frozen=True)
class ZonalLayout:
    """Partition of rows and wavenumbers over ranks, and the memory layout of a rank's wavenumbers.

    Attributes:
        nlat: rows of the grid.
        nlon: columns of the grid.
        per_rank: wavenumbers of each rank.
        shard: this rank.
        padded: rows per wavenumber, at least nlat; those beyond nlat are zero.
        halo: rows before the first and after the last wavenumber.
    """

    nlat: int
    nlon: int
    per_rank: tuple[Orders, ...]
    shard: Shard
    padded: int
    halo: int

    @property
    def own(self) -> Orders:
        """Wavenumbers of this rank: those that the layout holds."""
        return self.per_rank[self.shard.rank]

    @property
    def orders(self) -> int:
        """Number of wavenumbers of this rank."""
        return self.own.count

    @property
    def all_orders(self) -> int:
        """Number of wavenumbers of all ranks."""
        return sum(orders.count for orders in self.per_rank)

    @property
    def north(self) -> int:
        """Rows of the northern hemisphere, the equator included."""
        return (self.nlat + 1) // 2

    @property
    def own_rows(self) -> int:
        """Number of rows of the grid that this rank has between layers."""
        return self.shard.n_rows(self.nlat)

    @property
    def mirrored(self) -> bool:
        """True if this rank holds the mirror image of each of its rows."""
        return self.own_rows == self.nlat

    @property
    def total(self) -> int:
        """Rows of all wavenumbers and both halos."""
        return self.orders * self.padded + 2 * self.halo

    def body(self, z: Tensor) -> Tensor:
        """The rows of the grid in z (..., total, c), as a view (..., orders, nlat, c)."""
        inner = z[..., self.halo : self.total - self.halo, :]
        return inner.unflatten(-2, (self.orders, self.padded))[..., : self.nlat, :]


# Complex numbers of a slab of rows that are transformed and transposed together: while they are in
# a core's cache. Three to four times as fast at 256×512 as two passes over the whole field.
_SLAB = 1 << 18
_PAD = 8


def to_wavenumbers(x: Tensor, layout: ZonalLayout, dtype: torch.dtype | None = None) -> Tensor:
    """Fourier transform of the rows of x (b, c, h, w), unitary, in the layout (2, b, rows, c).

    The transform runs in the precision of x, its result is kept in `dtype` if that is given. In a
    mesh x has own rows of all wavenumbers, the result all rows of own ones.
    """
    b, c = x.shape[:2]
    z = x.new_empty(2, b, layout.total, c, dtype=dtype)
    if layout.halo:
        z[:, :, : layout.halo].zero_()
        z[:, :, layout.total - layout.halo :].zero_()
    if layout.padded > layout.nlat:
        inner = z[:, :, layout.halo : layout.total - layout.halo]
        inner.unflatten(2, (layout.orders, layout.padded))[:, :, :, layout.nlat :].zero_()
    exchange = ToWavenumbers(layout.body(z), layout.nlat, layout.per_rank, layout.shard)
    for bs, hs in _slabs(x.device, b, c, layout):
        spectrum = torch.fft.rfft(x[bs, :, hs], dim=-1, norm="ortho")
        # (b, c, h, m, 2) -> (2, b, m, h, c)
        spectrum = torch.view_as_real(spectrum).permute(4, 0, 3, 2, 1)
        for orders, target in exchange.targets:
            target[:, bs, :, hs].copy_(spectrum[:, :, orders])
    exchange.finish()
    return z


def to_rows(y: Tensor, layout: ZonalLayout) -> Tensor:
    """Inverse of `to_wavenumbers`: y (2, b, rows, c) to a field (b, c, h, w), at least float32."""
    b, c, m = y.shape[1], y.shape[3], layout.all_orders
    sources = wavenumbers_to_rows(layout.body(y), layout.nlat, layout.per_rank, layout.shard)
    dtype = torch.promote_types(y.dtype, torch.float32)
    x = y.new_empty(b, c, layout.own_rows, layout.nlon, dtype=dtype)
    for bs, hs in _slabs(y.device, b, c, layout):
        shape = (bs.stop - bs.start, m, hs.stop - hs.start, c)
        # Some numbers more in each row: lines of a power of two apart would share cache sets.
        padded = torch.empty(
            *shape[:2], shape[2] * c + _PAD, dtype=dtype.to_complex(), device=y.device
        )
        slab = padded[..., : shape[2] * c].unflatten(-1, shape[2:])
        for orders, source in sources:
            real, imag = source[:, bs, :, hs].to(dtype)  # (b, m, h, c) each
            torch.complex(real, imag, out=slab[:, orders])
        spectrum = slab.permute(0, 2, 3, 1).contiguous()  # (b, h, c, m)
        field = torch.fft.irfft(spectrum, n=layout.nlon, dim=-1, norm="ortho")
        x[bs, :, hs] = field.transpose(1, 2)
    return x


def slab_lines(device: torch.device, line: int) -> int:
    """Lines of so many complex numbers each to transform or transpose together."""
    return max(1, _SLAB // max(1, line)) if prefers_small_blocks(device) else sys.maxsize


def _slabs(device: torch.device, b: int, c: int, layout: ZonalLayout) -> list[tuple[slice, slice]]:
    """Ranges of fields and of rows to transform together."""
    if not prefers_small_blocks(device):
        return [(slice(0, b), slice(0, layout.own_rows))]
    row = max(1, c * layout.all_orders)
    return [
        (fields, lines)
        for fields in split_to_size(0, b, _SLAB // (row * layout.own_rows))
        for lines in split_to_size(0, layout.own_rows, _SLAB // row)
    ]
