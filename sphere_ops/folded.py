"""Fourier transforms and Legendre products of scalar fields, in pieces that a cache holds.

Without local branches nothing asks for the layout of `zonal`: complex numbers stay whole here, and
coefficients of rows are (orders, nlat, n) complex. What is transposed is copied into lines of a
length that is no power of two, which would share cache sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from sphere_ops.exchange import ToRows, ToWavenumbers
from sphere_ops.triangle import Block, Triangle
from sphere_ops.zonal import Rows, pieces, product_into, slab_lines

Norm = Literal["forward", "backward"]
_PAD = 8


def to_orders(x: Tensor, rows: Rows, norm: Norm) -> Tensor:
    """Fourier coefficients of the rows of fields.

    Args:
        x: (n, nlat, nlon), at least one field; in a mesh own rows.
        rows: of the grid.
        norm: "forward" divides by nlon.

    Returns:
        (orders, nlat, n) complex; in a mesh own orders of all rows.
    """
    n, nlat, _ = x.shape
    z = x.new_empty(rows.orders, rows.nlat, n, dtype=x.dtype.to_complex())
    over = ToWavenumbers(_as_layout(z), rows.nlat, rows.dealt, rows.share)
    for lines in pieces(0, nlat, slab_lines(x.device, rows.all_orders * n)):
        spectrum = torch.fft.rfft(x[:, lines], norm=norm).permute(2, 1, 0)  # (m, h, n)
        for orders, target in over.targets:
            _write(target[0, 0, :, lines], spectrum[orders])
    over.send()
    over.deliver()
    return z


def from_orders(z: Tensor, rows: Rows, norm: Norm) -> Tensor:
    """Fields of the Fourier coefficients of their rows; "backward" divides by nlon.

    Args:
        z: (orders, nlat, n) complex; in a mesh own orders of all rows.
        rows: of the grid.
        norm: of the Fourier transform.

    Returns:
        (n, nlat, nlon); in a mesh own rows.
    """
    n, orders = z.shape[2], rows.all_orders
    sources = ToRows(_as_layout(z), rows.nlat, rows.dealt, rows.share).sources()
    x = z.new_empty(n, rows.own_rows, rows.nlon, dtype=z.dtype.to_real())
    for lines in pieces(0, rows.own_rows, slab_lines(z.device, orders * n)):
        slab = _padded(z, 1, orders, lines.stop - lines.start, n)
        for there, source in sources:
            slab[there] = _read(source[0, 0, :, lines])
        spectrum = z.new_empty(n, slab.shape[1], rows.nlon // 2 + 1)
        spectrum[..., :orders] = slab.permute(2, 1, 0)
        spectrum[..., orders:] = 0
        x[:, lines] = torch.fft.irfft(spectrum, n=rows.nlon, norm=norm)
    return x


def contract_latitude(
    triangles: Sequence[Triangle], z: Tensor, weights: Tensor, out: Tensor
) -> None:
    """Legendre coefficients of each function: c_lm = Σ_h w_h P_lm(h) z_m(h).

    Args:
        triangles: of the functions of latitude.
        z: (orders, nlat, n) complex.
        weights: of the northern rows and their mirror images, (north,); half on the equator.
        out: (functions, n, lmax, orders) complex, is overwritten; 0 for degrees below the order.
    """
    nlat = z.shape[1]
    for blocks in zip(*(t.blocks for t in triangles), strict=True):
        orders = torch.view_as_real(z[blocks[0].first : blocks[0].last]).flatten(2)  # (m, h, 2n)
        north = orders[:, : len(weights)]
        south = orders[:, nlat - len(weights) :].flip(1)
        hemispheres = orders.new_empty(2, *north.shape)
        torch.add(north, south, out=hemispheres[0])
        torch.sub(north, south, out=hemispheres[1])
        hemispheres *= weights[:, None]
        for block, coeffs in zip(blocks, out, strict=True):
            _analyse(block, hemispheres, coeffs)


def contract_degrees(
    triangles: Sequence[Triangle], coeffs: Tensor, weights: Tensor | None, z: Tensor
) -> None:
    """Sum over the functions: z_m(h) = w_h Σ_l P_lm(h) c_lm.

    Args:
        triangles: of the functions of latitude.
        coeffs: (functions, n, lmax, orders) complex; degrees below the order do not count.
        weights: of the northern rows and their mirror images, (north,); 1 if not given.
        z: (orders, nlat, n) complex, is overwritten.
    """
    nlat, n = z.shape[1:]
    north = triangles[0].north
    for blocks in zip(*(t.blocks for t in triangles), strict=True):
        orders = torch.view_as_real(z[blocks[0].first : blocks[0].last]).flatten(2)  # (m, h, 2n)
        hemispheres = orders.new_empty(2, len(orders), north, 2 * n)
        complete = [len(b.parts) == 2 * min(2, b.last - b.first) for b in blocks]
        if not complete[0]:  # of the last degree alone, one hemisphere has no part
            hemispheres.zero_()
        for f, (block, c) in enumerate(zip(blocks, coeffs, strict=True)):
            _synthesise(block, c, hemispheres, add=f > 0)
        if weights is not None:
            hemispheres *= weights[:, None]
        even, odd = hemispheres
        orders[:, nlat - north :] = (even - odd).flip(1)
        torch.add(even, odd, out=orders[:, :north])


def _analyse(block: Block, hemispheres: Tensor, out: Tensor) -> None:
    """Coefficients (n, lmax, orders) of a block from its hemispheres (2, m, h, 2n)."""
    n, lmax, _ = out.shape
    lowest, orders = block.lowest, slice(block.first, block.last)
    out[:, :lowest, orders] = 0
    count = block.last - block.first
    coeffs = _padded(out, 2, max(0, lmax - lowest), count, n)
    for part in block.parts:
        target = coeffs[_from(lowest, part.degrees), part.orders_from(block.first)]
        target = torch.view_as_real(target).flatten(2).transpose(0, 1)  # (m, l, 2n)
        hemisphere = hemispheres[0 if part.even else 1, part.orders_from(block.first)]
        product_into(part.table, hemisphere, target)
    for degrees in pieces(lowest, lmax, slab_lines(out.device, count * n)):
        out[:, degrees, orders] = coeffs[_from(lowest, degrees)].permute(2, 0, 1)


def _synthesise(block: Block, coeffs: Tensor, hemispheres: Tensor, *, add: bool) -> None:
    """Hemispheres (2, m, h, 2n) of a block from coefficients (n, lmax, orders)."""
    n, lmax, _ = coeffs.shape
    lowest, orders = block.lowest, slice(block.first, block.last)
    count = block.last - block.first
    columns = coeffs.new_empty(max(0, lmax - lowest), count, n)
    for degrees in pieces(lowest, lmax, slab_lines(coeffs.device, count * n)):
        lines = _padded(coeffs, 1, n, degrees.stop - degrees.start, count)
        columns[_from(lowest, degrees)] = lines.copy_(coeffs[:, degrees, orders]).permute(1, 2, 0)
    real = torch.view_as_real(columns).flatten(2)  # (l, m, 2n)
    for part in block.parts:
        of_part = real[_from(lowest, part.degrees), part.orders_from(block.first)]
        target = hemispheres[0 if part.even else 1, part.orders_from(block.first)]
        product_into(part.table.mT, of_part.transpose(0, 1), target, add=add)


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
