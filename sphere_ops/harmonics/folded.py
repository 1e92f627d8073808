"""Fourier transforms of scalar fields to and from folds of their hemispheres.

Without local branches the rows of each hemisphere need not be kept. They are folded before the
Fourier transform and unfolded after it, in slabs that fit in a cache. A rank without the mirror
images of its rows uses the exchange of a layer instead, and folds after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from sphere_ops.engine.layout import ZonalLayout, slab_lines, to_rows, to_wavenumbers
from sphere_ops.engine.legendre_tables import LegendreTables, fold, unfold
from sphere_ops.engine.products import split_to_size

Norm = Literal["forward", "backward"]
_PAD = 8


def to_fold(x: Tensor, layout: ZonalLayout, weights: Tensor, norm: Norm) -> Tensor:
    """Return Fourier coefficients of weighted fields, folded as by `legendre_tables.fold`.

    Args:
        x: Fields, (n, nlat, nlon), at least one; in a mesh this rank's rows.
        layout: Layout of the grid.
        weights: Weights of northern rows and their mirror images, (north,).
        norm: "forward" divides by nlon.

    Returns:
        (2, orders, north, n) complex; in a mesh this rank's orders of all rows.
    """
    n, nlat, nlon = x.shape
    shape = 2, layout.orders, layout.north, n
    folded = x.new_empty(shape, dtype=x.dtype.to_complex())
    if not layout.mirrored:
        real, imag = layout.body(to_wavenumbers(x[None], layout))[:, 0]  # (m, h, n)
        z = torch.complex(real, imag)
        for there, here in layout.own.slots():
            folded[:, here] = fold(z[here], there.start)
        scale = 1 / math.sqrt(nlon) if norm == "forward" else math.sqrt(nlon)
        return folded.mul_(scale * weights[:, None])
    for lines in split_to_size(0, layout.north, slab_lines(x.device, 2 * layout.all_orders * n)):
        top, bottom = x[:, lines], x[:, _mirrored(lines, nlat)].flip(1)
        parts = x.new_empty(2, *top.shape)
        torch.add(top, bottom, out=parts[0])
        torch.sub(top, bottom, out=parts[1])
        parts *= weights[lines, None]
        spectrum = torch.fft.rfft(parts, norm=norm)[..., : layout.orders]
        even, odd = spectrum.permute(0, 3, 2, 1)  # (m, h, n)
        for order in (0, 1):
            folded[order, order::2, lines] = even[order::2]
            folded[1 - order, order::2, lines] = odd[order::2]
    return folded


def from_fold(folded: Tensor, layout: ZonalLayout, weights: Tensor | None, norm: Norm) -> Tensor:
    """Return fields of folded Fourier coefficients.

    Adjoint of `to_fold`, except for its weights and its norm.

    Args:
        folded: Coefficients, (2, orders, north, n) complex; in a mesh this rank's orders of all
            rows.
        layout: Layout of the grid.
        weights: Weights of northern rows and their mirror images, (north,); 1 if not given.
        norm: "backward" divides by nlon.

    Returns:
        (n, nlat, nlon); in a mesh this rank's rows.
    """
    _, orders, north, n = folded.shape
    nlat, nlon = layout.nlat, layout.nlon
    if not layout.mirrored:
        scale = 1 / math.sqrt(nlon) if norm == "backward" else math.sqrt(nlon)
        folded = folded * (scale if weights is None else scale * weights[:, None])
        z = folded.new_empty(orders, nlat, n)
        for there, here in layout.own.slots():
            unfold(folded[:, here], there.start, z[here])
        return to_rows(torch.stack((z.real, z.imag)).flatten(1, 2)[:, None], layout)[0]
    x = folded.new_empty(n, nlat, nlon, dtype=folded.dtype.to_real())
    for lines in split_to_size(0, north, slab_lines(x.device, 2 * orders * n)):
        slab = _padded(folded, 2, 2, orders, lines.stop - lines.start, n)
        for order in (0, 1):
            slab[0, order::2] = folded[order, order::2, lines]
            slab[1, order::2] = folded[1 - order, order::2, lines]
        even, odd = _inverse(slab.permute(0, 3, 2, 1), nlon, norm)
        if weights is not None:
            even *= weights[lines, None]
            odd *= weights[lines, None]
        x[:, _mirrored(lines, nlat)] = (even - odd).flip(1)
        torch.add(even, odd, out=x[:, lines])
    return x


def contract_latitude(tables: Sequence[LegendreTables], folded: Tensor, out: Tensor) -> None:
    """Compute the Legendre coefficients of each function, c_lm = Σ_h P_lm(h) z_m(h).

    Args:
        tables: Tables of the functions of latitude.
        folded: Coefficients from `to_fold`, (2, orders, north, n) complex.
        out: Output, (functions, n, lmax, orders) complex, overwritten; 0 for degrees below the
            order.
    """
    real = torch.view_as_real(folded).flatten(3)  # (2, m, h, 2n)
    for of, coeffs in zip(tables, out, strict=True):
        for block in of.blocks:
            coeffs[:, : block.lowest, block.slots] = 0
            for part in block.parts:
                target = coeffs[:, part.degrees, block.slots]  # (n, l, m)
                n, l, m = target.shape
                columns = _padded(coeffs, 2, l, m, n)
                part.contract_latitude(real[:, block.slots], torch.view_as_real(columns).flatten(2))
                for lines in split_to_size(0, l, slab_lines(out.device, m * n)):
                    target[:, lines] = columns[lines].permute(2, 0, 1)


def contract_degrees(tables: Sequence[LegendreTables], coeffs: Tensor, folded: Tensor) -> None:
    """Sum over the functions: z_m(h) = Σ_l P_lm(h) c_lm.

    Args:
        tables: Tables of the functions of latitude.
        coeffs: Coefficients, (functions, n, lmax, orders) complex; degrees below the order are
            ignored.
        folded: Output, (2, orders, north, n) complex, overwritten.
    """
    real = torch.view_as_real(folded).flatten(3)  # (2, m, h, 2n)
    for f, (of, values) in enumerate(zip(tables, coeffs, strict=True)):
        for block in of.blocks:
            for part in block.parts:
                source = values[:, part.degrees, block.slots]  # (n, l, m)
                n, l, m = source.shape
                columns = coeffs.new_empty(l, m, n)
                for lines in split_to_size(0, l, slab_lines(coeffs.device, m * n)):
                    slab = _padded(coeffs, 1, n, lines.stop - lines.start, m)
                    columns[lines] = slab.copy_(source[:, lines]).permute(1, 2, 0)
                part.contract_degrees(
                    torch.view_as_real(columns).flatten(2), real[:, block.slots], add=f > 0
                )


def _mirrored(lines: slice, nlat: int) -> slice:
    """Return the rows that mirror the given northern ones, from north to south."""
    return slice(nlat - lines.stop, nlat - lines.start)


def _inverse(spectrum: Tensor, nlon: int, norm: Norm) -> Tensor:
    """Return rows (..., nlon) of Fourier coefficients (..., orders); missing orders are 0."""
    orders = spectrum.shape[-1]
    full = spectrum.new_empty(*spectrum.shape[:-1], nlon // 2 + 1)
    full[..., :orders] = spectrum
    full[..., orders:] = 0
    return torch.fft.irfft(full, n=nlon, norm=norm)


def _padded(like: Tensor, kept: int, *shape: int) -> Tensor:
    """Allocate a tensor whose first `kept` dimensions have padding between their elements.

    Lines at a stride of a power of two would share cache sets.
    """
    inner = torch.Size(shape[kept:]).numel()
    return like.new_empty(*shape[:kept], inner + _PAD)[..., :inner].unflatten(-1, shape[kept:])
