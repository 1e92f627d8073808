"""Associated Legendre functions on the rows of a grid, from torch-harmonics, in float64."""

from __future__ import annotations

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
    from torch_harmonics.legendre import dlegpoly, legpoly

    if function == "P":
        values: Tensor = legpoly(mmax, lmax, torch.cos(colatitude))
    else:
        values = dlegpoly(mmax, lmax, colatitude)[0 if function == "dP/dθ" else 1]
    return values
