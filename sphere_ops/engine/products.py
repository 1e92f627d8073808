"""Batched matrix products, and block sizes suited to a device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sphere_ops.parallel.partition import split_evenly


def prefers_small_blocks(device: torch.device) -> bool:
    """Return True on a CPU, for cache-sized blocks; False on a GPU, for few large launches."""
    return device.type == "cpu"


def split_to_size(first: int, last: int, size: int) -> list[slice]:
    """Split a range evenly into as few parts of at most `size` (at least 1) as possible."""
    return split_evenly(first, last, math.ceil((last - first) / max(1, size)))


def bmm_into(a: Tensor, b: Tensor, out: Tensor, *, add: bool = False) -> None:
    """Write or add the batched product of a and b to `out`, whose rows may be strided.

    cuBLAS accepts strided outputs; a CPU's BLAS falls back to a loop over the batch.
    """
    if add:
        out += torch.bmm(a, b)
    elif out.is_contiguous() or not prefers_small_blocks(out.device):
        torch.bmm(a, b, out=out)
    else:
        out.copy_(torch.bmm(a, b))


def channel_matmul(x: Tensor, weight: Tensor) -> Tensor:
    """Mix the channels of rows: (..., rows, c) with (..., c, o) to (..., rows, o)."""
    return x @ weight


def channel_matmul_weight_gradient(x: Tensor, dy: Tensor) -> Tensor:
    """Sum outer products of the rows of x (..., rows, c) and dy (..., rows, o): (..., c, o)."""
    return (dy.mT @ x).mT  # a little faster on a CPU with the narrower operand first
