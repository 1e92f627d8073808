"""Fourier transforms and Legendre products of scalar fields, in pieces that a cache holds.

Without local branches no `ZonalLayout` is needed: complex numbers stay whole here. The
hemispheres are folded where the rows are, before the Fourier transform, and unfolded after it:
(2, orders, north, n) complex, sums and differences of each row and its mirror image. Where a rank
has its own rows alone, without their mirror images, they are folded after the exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from sphere_ops.engine.layout import ZonalLayout, bmm_into, slab_lines, split_evenly
from sphere_ops.engine.legendre_tables import Block, LegendreTables
from sphere_ops.parallel.exchange import ToWavenumbers, wavenumbers_to_rows

Norm = Literal["forward", "backward"]
_PAD = 8


def to_hemispheres(x: Tensor, rows: ZonalLayout, weights: Tensor, norm: Norm) -> Tensor:
    """Fourier coefficients of the weighted sums and differences of rows and their mirror images.

    Args:
        x: (n, nlat, nlon), at least one field; in a mesh own rows.
        rows: of the grid.
        weights: of the northern rows and their mirror images, (north,); half on the equator.
        norm: "forward" divides by nlon.

    Returns:
        (2, orders, north, n) complex; in a mesh own orders of all rows.
    """
    n, nlat, nlon = x.shape
    if not rows.mirrored:
        return _fold(_to_orders(x, rows, norm), rows.north, weights)
    out = x.new_empty(2, rows.orders, rows.north, n, dtype=x.dtype.to_complex())
    for lines in split_evenly(0, rows.north, slab_lines(x.device, 2 * rows.all_orders * n)):
        top, bottom = x[:, lines], x[:, _mirrored(lines, nlat)].flip(1)
        folded = x.new_empty(2, *top.shape)
        torch.add(top, bottom, out=folded[0])
        torch.sub(top, bottom, out=folded[1])
        folded *= weights[lines, None]
        spectrum = torch.fft.rfft(folded, norm=norm)[..., : rows.orders]
        out[:, :, lines] = spectrum.permute(0, 3, 2, 1)  # (2, m, h, n)
    return out


def from_hemispheres(
    hemispheres: Tensor, rows: ZonalLayout, weights: Tensor | None, norm: Norm
) -> Tensor:
    """Fields of the Fourier coefficients of their rows' even and odd parts about the equator.

    Args:
        hemispheres: (2, orders, north, n) complex; in a mesh own orders of all rows.
        rows: of the grid.
        weights: of the northern rows and their mirror images, (north,); 1 if not given.
        norm: of the Fourier transform; "backward" divides by nlon.

    Returns:
        (n, nlat, nlon); in a mesh own rows.
    """
    _, orders, north, n = hemispheres.shape
    if not rows.mirrored:
        return _from_orders(_unfold(hemispheres, rows.nlat, weights), rows, norm)
    x = hemispheres.new_empty(n, rows.nlat, rows.nlon, dtype=hemispheres.dtype.to_real())
    for lines in split_evenly(0, north, slab_lines(x.device, 2 * orders * n)):
        shape = orders, lines.stop - lines.start, n
        slab = _padded(hemispheres, 2, 2, *shape).copy_(hemispheres[:, :, lines])
        even, odd = _inverse(slab.permute(0, 3, 2, 1), rows.nlon, norm)
        if weights is not None:
            even *= weights[lines, None]
            odd *= weights[lines, None]
        x[:, _mirrored(lines, rows.nlat)] = (even - odd).flip(1)
        torch.add(even, odd, out=x[:, lines])
    return x


def contract_latitude(
    triangles: Sequence[LegendreTables], hemispheres: Tensor, out: Tensor
) -> None:
    """Legendre coefficients of each function: c_lm = Σ_h P_lm(h) z_m(h), over northern rows.

    Args:
        triangles: of the functions of latitude.
        hemispheres: (2, orders, north, n) complex, from `to_hemispheres`.
        out: (functions, n, lmax, orders) complex, is overwritten; 0 for degrees below the order.
    """
    real = torch.view_as_real(hemispheres).flatten(3)  # (2, m, h, 2n)
    for triangle, coeffs in zip(triangles, out, strict=True):
        for block in triangle.blocks:
            _analyse(block, real, coeffs)


def contract_degrees(
    triangles: Sequence[LegendreTables], coeffs: Tensor, hemispheres: Tensor
) -> None:
    """Sum over the functions: z_m(h) = Σ_l P_lm(h) c_lm, even and odd about the equator.

    Args:
        triangles: of the functions of latitude.
        coeffs: (functions, n, lmax, orders) complex; degrees below the order do not count.
        hemispheres: (2, orders, north, n) complex, is overwritten.
    """
    real = torch.view_as_real(hemispheres).flatten(3)  # (2, m, h, 2n)
    for blocks in zip(*(t.blocks for t in triangles), strict=True):
        first, last = blocks[0].first, blocks[0].last
        complete = len(blocks[0].parts) == 2 * min(2, last - first)
        if not complete:  # of the last degree alone, one hemisphere has no part
            real[:, first:last] = 0
        for f, (block, c) in enumerate(zip(blocks, coeffs, strict=True)):
            _synthesise(block, c, real, add=f > 0)


def _fold(z: Tensor, north: int, weights: Tensor) -> Tensor:
    """Hemispheres (2, orders, north, n) of the coefficients (orders, nlat, n) of all rows."""
    top, bottom = z[:, :north], z[:, z.shape[1] - north :].flip(1)
    return torch.stack((top + bottom, top - bottom)).mul_(weights[:, None])


def _unfold(hemispheres: Tensor, nlat: int, weights: Tensor | None) -> Tensor:
    """Coefficients (orders, nlat, n) of all rows from their hemispheres (2, orders, north, n)."""
    even, odd = hemispheres if weights is None else hemispheres * weights[:, None]
    return torch.cat((even + odd, (even - odd)[:, : nlat // 2].flip(1)), dim=1)


def _mirrored(lines: slice, nlat: int) -> slice:
    """The rows that mirror northern ones, from north to south as all rows."""
    return slice(nlat - lines.stop, nlat - lines.start)


def _inverse(spectrum: Tensor, nlon: int, norm: Norm) -> Tensor:
    """Rows (..., nlon) of their Fourier coefficients (..., orders): those missing are 0."""
    orders = spectrum.shape[-1]
    full = spectrum.new_empty(*spectrum.shape[:-1], nlon // 2 + 1)
    full[..., :orders] = spectrum
    full[..., orders:] = 0
    return torch.fft.irfft(full, n=nlon, norm=norm)


def _to_orders(x: Tensor, rows: ZonalLayout, norm: Norm) -> Tensor:
    """Fourier coefficients (own orders, nlat, n) of own rows (n, h, nlon)."""
    n, nlat, _ = x.shape
    z = x.new_empty(rows.orders, rows.nlat, n, dtype=x.dtype.to_complex())
    over = ToWavenumbers(_as_layout(z), rows.nlat, rows.per_rank, rows.shard)
    for lines in split_evenly(0, nlat, slab_lines(x.device, rows.all_orders * n)):
        spectrum = torch.fft.rfft(x[:, lines], norm=norm).permute(2, 1, 0)  # (m, h, n)
        for orders, target in over.targets:
            _write(target[0, 0, :, lines], spectrum[orders])
    over.finish()
    return z


def _from_orders(z: Tensor, rows: ZonalLayout, norm: Norm) -> Tensor:
    """Own rows (n, h, nlon) of Fourier coefficients (own orders, nlat, n)."""
    n, orders = z.shape[2], rows.all_orders
    sources = wavenumbers_to_rows(_as_layout(z), rows.nlat, rows.per_rank, rows.shard)
    x = z.new_empty(n, rows.own_rows, rows.nlon, dtype=z.dtype.to_real())
    for lines in split_evenly(0, rows.own_rows, slab_lines(z.device, orders * n)):
        slab = _padded(z, 1, orders, lines.stop - lines.start, n)
        for there, source in sources:
            slab[there] = _read(source[0, 0, :, lines])
        x[:, lines] = _inverse(slab.permute(2, 1, 0), rows.nlon, norm)
    return x


def _analyse(block: Block, hemispheres: Tensor, out: Tensor) -> None:
    """Coefficients (n, lmax, orders) of a block from hemispheres (2, m, h, 2n)."""
    n, lmax, _ = out.shape
    lowest, orders = block.lowest, slice(block.first, block.last)
    out[:, :lowest, orders] = 0
    count = block.last - block.first
    coeffs = _padded(out, 2, max(0, lmax - lowest), count, n)
    for part in block.parts:
        target = coeffs[_from(lowest, part.degrees), part.orders_from(block.first)]
        target = torch.view_as_real(target).flatten(2).transpose(0, 1)  # (m, l, 2n)
        hemisphere = hemispheres[0 if part.even else 1, part.orders]
        bmm_into(part.table, hemisphere, target)
    for degrees in split_evenly(lowest, lmax, slab_lines(out.device, count * n)):
        out[:, degrees, orders] = coeffs[_from(lowest, degrees)].permute(2, 0, 1)


def _synthesise(block: Block, coeffs: Tensor, hemispheres: Tensor, *, add: bool) -> None:
    """Set or add to hemispheres (2, m, h, 2n) what a block of coefficients (n, lmax, orders) is."""
    n, lmax, _ = coeffs.shape
    lowest, orders = block.lowest, slice(block.first, block.last)
    count = block.last - block.first
    columns = coeffs.new_empty(max(0, lmax - lowest), count, n)
    for degrees in split_evenly(lowest, lmax, slab_lines(coeffs.device, count * n)):
        lines = _padded(coeffs, 1, n, degrees.stop - degrees.start, count)
        columns[_from(lowest, degrees)] = lines.copy_(coeffs[:, degrees, orders]).permute(1, 2, 0)
    real = torch.view_as_real(columns).flatten(2)  # (l, m, 2n)
    for part in block.parts:
        of_part = real[_from(lowest, part.degrees), part.orders_from(block.first)]
        target = hemispheres[0 if part.even else 1, part.orders]
        bmm_into(part.table.mT, of_part.transpose(0, 1), target, add=add)


def _from(first: int, degrees: slice) -> slice:
    """Degrees counted from `first`."""
    return slice(degrees.start - first, degrees.stop - first, degrees.step)


def _padded(like: Tensor, kept: int, *shape: int) -> Tensor:
    """An empty tensor whose first `kept` dimensions lie a little further apart than they need."""
    inner = torch.Size(shape[kept:]).numel()
    return like.new_empty(*shape[:kept], inner + _PAD)[..., :inner].unflatten(-1, shape[kept:])


def _as_layout(z: Tensor) -> Tensor:
    """Complex (orders, nlat, n) as the layout that ranks exchange, (1, 1, orders, nlat, 2n)."""
    return torch.view_as_real(z).flatten(2)[None, None]


def _read(layout: Tensor) -> Tensor:
    """Complex (orders, h, n) of real (orders, h, 2n)."""
    wide = torch.promote_types(layout.dtype, torch.float32)
    return torch.view_as_complex(layout.to(wide).unflatten(-1, (-1, 2)))


def _write(layout: Tensor, values: Tensor) -> None:
    """Copy complex values (orders, h, n) to real (orders, h, 2n), perhaps of a narrower type."""
    numbers = layout.unflatten(-1, (-1, 2))
    if numbers.dtype == values.real.dtype:
        torch.view_as_complex(numbers).copy_(values)  # whole numbers: faster
    else:
        numbers.copy_(torch.view_as_real(values))
