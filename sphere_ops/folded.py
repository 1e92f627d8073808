"""Fourier transforms of folded fields, and their Legendre products, in pieces that a cache holds.

The hemispheres' sums and differences are taken before the Fourier transform, where rows are
contiguous, and complex numbers stay whole: folded coefficients are (2, orders, north, n), sums
first. What is transposed is copied into lines of a length that is no power of two, which would
share cache sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from sphere_ops.triangle import Triangle
from sphere_ops.zonal import pieces, product_into, slab_lines

Norm = Literal["forward", "backward"]
_PAD = 8


def fold(x: Tensor, orders: int, weights: Tensor, norm: Norm) -> Tensor:
    """Fourier coefficients of the weighted sums and differences of the hemispheres.

    Args:
        x: fields (n, nlat, nlon), at least one.
        orders: to keep.
        weights: of the northern rows, (north,); a row on the equator is added to itself.
        norm: of the Fourier transform, "forward" divides by nlon.

    Returns:
        (2, orders, north, n) complex.
    """
    n, nlat, nlon = x.shape
    z = x.new_empty(2, orders, len(weights), n, dtype=x.dtype.to_complex())
    for rows in _slabs(z):
        north, south = x[:, rows], x[:, _mirrored(rows, nlat)].flip(1)
        folded = x.new_empty(2, *north.shape)
        torch.add(north, south, out=folded[0])
        torch.sub(north, south, out=folded[1])
        folded *= weights[rows, None]
        spectrum = torch.fft.rfft(folded, norm=norm)[..., :orders]
        z[:, :, rows] = spectrum.permute(0, 3, 2, 1)
    return z


def unfold(z: Tensor, nlat: int, nlon: int, weights: Tensor | None, norm: Norm) -> Tensor:
    """Fields of folded coefficients; the adjoint of `fold` but for factors of the orders.

    Args:
        z: (2, orders, north, n) complex.
        nlat: rows of the fields.
        nlon: columns of the fields.
        weights: of the northern rows, (north,); 1 if not given.
        norm: of the Fourier transform, "backward" divides by nlon.

    Returns:
        (n, nlat, nlon).
    """
    _, orders, _, n = z.shape
    x = z.new_empty(n, nlat, nlon, dtype=z.dtype.to_real())
    for rows in _slabs(z):
        lines = _padded(z[:, :, rows], 2)
        spectrum = z.new_empty(2, n, rows.stop - rows.start, nlon // 2 + 1)
        spectrum[..., :orders] = lines.permute(0, 3, 2, 1)
        spectrum[..., orders:] = 0
        folded = torch.fft.irfft(spectrum, n=nlon, norm=norm)
        if weights is not None:
            folded *= weights[rows, None]
        x[:, _mirrored(rows, nlat)] = (folded[0] - folded[1]).flip(1)
        torch.add(folded[0], folded[1], out=x[:, rows])
    return x


def contract_latitude(triangle: Triangle, z: Tensor, out: Tensor) -> None:
    """Legendre coefficients of folded ones: c_lm = Σ_h P_lm(h) z_m(h).

    Args:
        triangle: of the grid.
        z: (2, mmax, north, n) complex.
        out: (n, lmax, mmax) complex, is overwritten; 0 for degrees below the order.
    """
    n, lmax, _ = out.shape
    even, odd = torch.view_as_real(z).flatten(3)  # (m, h, 2n)
    for block in triangle.blocks:
        first, orders = block.first, slice(block.first, block.last)
        out[:, :first, orders] = 0
        count = block.last - first
        coeffs = z.new_empty(max(0, lmax - first), count, n + _PAD)[..., :n]
        for part in block.parts:
            target = coeffs[_from(first, part.degrees), part.orders_from(first)]
            target = torch.view_as_real(target).flatten(2).transpose(0, 1)  # (m, l, 2n)
            product_into(part.table, (even if part.even else odd)[part.orders], target)
        for degrees in pieces(first, lmax, slab_lines(z.device, count * n)):
            out[:, degrees, orders] = coeffs[_from(first, degrees)].permute(2, 0, 1)


def contract_degrees(triangle: Triangle, coeffs: Tensor, z: Tensor, *, add: bool) -> None:
    """Folded coefficients of Legendre ones: z_m(h) = Σ_l P_lm(h) c_lm.

    Args:
        triangle: of the grid.
        coeffs: (n, lmax, mmax) complex; degrees below the order do not count.
        z: (2, mmax, north, n) complex, is overwritten.
        add: add to z instead.
    """
    n, lmax, _ = coeffs.shape
    hemispheres = torch.view_as_real(z).flatten(3)  # (2, m, h, 2n)
    for block in triangle.blocks:
        first, orders = block.first, slice(block.first, block.last)
        if not add and first + 1 >= lmax:  # one hemisphere or none has a part
            z[:, orders] = 0
        count = block.last - first
        columns = z.new_empty(max(0, lmax - first), count, n)
        for degrees in pieces(first, lmax, slab_lines(z.device, count * n)):
            lines = _padded(coeffs[:, degrees, orders], 1)
            columns[_from(first, degrees)] = lines.permute(1, 2, 0)
        real = torch.view_as_real(columns).flatten(2)  # (l, m, 2n)
        for part in block.parts:
            rows = real[_from(first, part.degrees), part.orders_from(first)].transpose(0, 1)
            target = hemispheres[0 if part.even else 1, part.orders]
            product_into(part.table.mT, rows, target, add=add)


def _slabs(z: Tensor) -> Iterator[slice]:
    """Northern rows of folded coefficients to transform together."""
    _, orders, north, n = z.shape
    yield from pieces(0, north, slab_lines(z.device, 2 * orders * n))


def _mirrored(rows: slice, nlat: int) -> slice:
    """The southern rows that face northern ones, in their own order."""
    return slice(nlat - rows.stop, nlat - rows.start)


def _from(first: int, degrees: slice) -> slice:
    """Degrees counted from `first`."""
    return slice(degrees.start - first, degrees.stop - first, degrees.step)


def _padded(x: Tensor, kept: int) -> Tensor:
    """A copy of x whose first `kept` dimensions lie a little further apart than they need."""
    inner = x.shape[kept:].numel()
    out = x.new_empty(*x.shape[:kept], inner + _PAD)[..., :inner].unflatten(-1, x.shape[kept:])
    return out.copy_(x)
