"""Associated Legendre functions on the rows of a grid, from torch-harmonics, in float64."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from sphere_ops.grid import Grid

Function = Literal["P", "dP/dθ", "mP/sinθ"]


def legendre(grid: Grid, lmax: int, mmax: int, function: Function = "P", rows: int = 0) -> Tensor:
    """P_lm(cos θ_h), its derivative or its quotient by sin θ: (mmax, lmax, rows) float64.

    Orthonormal, with the Condon-Shortley phase.

    Args:
        grid: whose rows are meant.
        lmax: degrees, exclusive.
        mmax: orders, exclusive.
        function: P, dP/dθ or m P / sin θ.
        rows: only so many, from the north pole on; 0 means all.
    """
    from torch_harmonics.legendre import dlegpoly, legpoly

    colatitude = grid.colatitude[: rows or grid.nlat]
    if function == "P":
        return legpoly(mmax, lmax, torch.cos(colatitude))
    return dlegpoly(mmax, lmax, colatitude)[0 if function == "dP/dθ" else 1]
