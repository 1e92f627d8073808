"""The spectral branch between its transforms: every degree's channels mixed by its own matrix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sphere_ops.zonal import cached, product_into


def _degree_blocks(coeffs: Tensor) -> list[tuple[int, int, int]]:
    """Blocks of degrees [first, last) and the orders below which theirs lie."""
    lmax, mmax = coeffs.shape[:2]
    size = 16 if cached(coeffs.device) else math.ceil(lmax / 4)
    return [(a, min(a + size, lmax), min(a + size, lmax, mmax)) for a in range(0, lmax, size)]


def mix_degrees(coeffs: Tensor, kappa: Tensor) -> Tensor:
    """Mix the channels of every degree: (l, m, b, 2, c) with (l, c, o) to (l, m, b, 2, o)."""
    lmax, mmax, b, _, c = coeffs.shape
    rows = coeffs.view(lmax, -1, kappa.shape[1])  # (l, m·b·2, c), or 2c for a complex kernel
    per_order = rows.shape[1] // mmax if mmax else 0
    out = coeffs.new_empty(lmax, rows.shape[1], kappa.shape[2])
    for first, last, orders in _degree_blocks(coeffs):
        n = orders * per_order
        product_into(rows[first:last, :n], kappa[first:last], out[first:last, :n])
        # The synthesis multiplies these by zero, which memory with a NaN in it would survive.
        out[first:last, n:].zero_()
    return out.view(lmax, mmax, b, 2, kappa.shape[2] * c // kappa.shape[1])


def outer_degrees(coeffs: Tensor, dmixed: Tensor, shape: torch.Size) -> Tensor:
    """Gradient of the weights of every degree; an order m > 0 stands for −m too."""
    lmax, mmax = coeffs.shape[:2]
    a, d = coeffs.view(lmax, -1, shape[1]), dmixed.view(lmax, -1, shape[2])
    per_order = a.shape[1] // mmax
    out = coeffs.new_empty(shape)
    for first, last, orders in _degree_blocks(coeffs):
        n = orders * per_order
        block_a, block_d = a[first:last, :n], d[first:last, :n]
        total = torch.bmm(block_a.mT, block_d) * 2
        zero = torch.bmm(block_a[:, :per_order].mT, block_d[:, :per_order])
        out[first:last] = total - zero
    return out
