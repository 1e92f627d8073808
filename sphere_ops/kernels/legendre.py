"""Associated Legendre functions on the rows of a grid, in float64.

The derivatives are those of torch-harmonics. The functions themselves are computed here by the same
recurrence, to the same bits: importing torch-harmonics loads torch's compiler, which takes 140 MiB
and more than a second in processes, such as an evaluation, that need nothing else of it.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from sphere_ops.grid import Grid

Function = Literal["P", "dP/dθ", "mP/sinθ"]


_CHUNK = 1 << 24
"""Number of values that are computed at once when lower orders are dropped."""


def legendre(
    grid: Grid,
    lmax: int,
    mmax: int,
    function: Function = "P",
    rows: int = 0,
    first: int = 0,
) -> Tensor:
    """Return P_lm(cos θ_h), dP_lm/dθ or m P_lm / sin θ on the rows of a grid.

    Orthonormal, with the Condon-Shortley phase.

    Args:
        grid: Grid that has the rows.
        lmax: Degrees, exclusive.
        mmax: Orders, exclusive.
        function: P, dP/dθ or m P / sin θ.
        rows: Number of rows, from the north pole on; 0 means all.
        first: First order. Lower orders are computed, a few rows at a time, and dropped.

    Returns:
        Values, (mmax − first, lmax, rows) float64.
    """
    colatitude = grid.colatitude[: rows or grid.nlat]
    size = len(colatitude) if first == 0 else max(1, _CHUNK // (mmax * lmax))
    parts = [legendre_at(a, lmax, mmax, function)[first:] for a in colatitude.split(size)]
    return torch.cat(parts, dim=-1)


def legendre_at(colatitude: Tensor, lmax: int, mmax: int, function: Function = "P") -> Tensor:
    """Return the functions of `legendre` at colatitudes (rows,) in radians, (mmax, lmax, rows)."""
    if function == "P":
        return _associated(mmax, lmax, torch.cos(colatitude))
    from torch_harmonics.legendre import dlegpoly

    values: Tensor = dlegpoly(mmax, lmax, colatitude)[0 if function == "dP/dθ" else 1]
    return values


def _associated(mmax: int, lmax: int, x: Tensor) -> Tensor:
    """Return orthonormal functions P_lm(x), (mmax, lmax, rows), by recurrence over the degrees."""
    values = x.new_zeros(mmax, lmax, len(x))
    sectoral = torch.full_like(x, 1 / math.sqrt(4 * math.pi))  # P_ll
    for l in range(lmax):
        if l > 0:
            if l - 1 < mmax:
                values[l - 1, l] = math.sqrt(2 * l + 1) * x * sectoral
            sectoral = torch.sqrt((2 * l + 1) * (1 + x) * (1 - x) / 2 / l) * sectoral
        if l < mmax:
            values[l, l] = sectoral
        if l > 1:
            lower = slice(min(mmax, l - 1))
            m = torch.arange(lower.stop, dtype=x.dtype, device=x.device)[:, None]
            a = torch.sqrt((2 * l - 1) / (l - m) * (2 * l + 1) / (l + m))
            b = (l + m - 1) / (l - m) * (2 * l + 1) / (2 * l - 3) * (l - m - 1) / (l + m)
            values[lower, l] = a * x * values[lower, l - 1] - torch.sqrt(b) * values[lower, l - 2]
    values[1::2] *= -1  # Condon-Shortley phase
    return values
