"""Associated Legendre functions on the rows of a grid, from torch-harmonics, in float64."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from sphere_ops.grid import Grid

Function = Literal["P", "dP/dθ", "mP/sinθ"]


_CHUNK = 1 << 24
"""Values that are computed together and not all kept."""


def legendre(
    grid: Grid,
    lmax: int,
    mmax: int,
    function: Function = "P",
    rows: int = 0,
    first: int = 0,
) -> Tensor:
    """P_lm(cos θ_h), its derivative or its quotient by sin θ: (mmax − first, lmax, rows) float64.

    Orthonormal, with the Condon-Shortley phase.

    Args:
        grid: whose rows are meant.
        lmax: degrees, exclusive.
        mmax: orders, exclusive.
        function: P, dP/dθ or m P / sin θ.
        rows: only so many, from the north pole on; 0 means all.
        first: the first order; those before it are computed, a few rows at a time, and dropped.
    """
    from torch_harmonics.legendre import dlegpoly, legpoly

    colatitude = grid.colatitude[: rows or grid.nlat]
    size = len(colatitude) if first == 0 else max(1, _CHUNK // (mmax * lmax))
    parts = []
    for angles in colatitude.split(size):
        if function == "P":
            values = legpoly(mmax, lmax, torch.cos(angles))
        else:
            values = dlegpoly(mmax, lmax, angles)[0 if function == "dP/dθ" else 1]
        parts.append(values[first:])
    return torch.cat(parts, dim=-1)
