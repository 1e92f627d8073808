"""Vorticity and divergence of the winds of files, and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphere_ops.grid import EARTH_RADIUS, Grid
from sphere_ops.harmonics import winds as harmonics

_BYTES = 16 * 2**20  # of the float64 fields that are transformed together

Fields = NDArray[np.floating]
_Pair = Callable[[Tensor, Tensor, Grid, float], tuple[Tensor, Tensor]]


def vorticity_divergence(
    u: Fields, v: Fields, grid: Grid, radius: float = EARTH_RADIUS
) -> tuple[Fields, Fields]:
    """Return the vorticity and divergence of winds; see `sphere_ops.harmonics.winds`.

    Args:
        u: Eastward wind, (n, nlat, nlon), m s⁻¹.
        v: Northward wind, likewise.
        grid: Grid of both.
        radius: Radius of the sphere, m.

    Returns:
        Vorticity and divergence, (n, nlat, nlon), s⁻¹, in the type of u.

    Raises:
        ValueError: if values are missing.
    """
    return _in_parts(harmonics.vorticity_divergence, ("u", "v"), u, v, grid, radius)


def winds(
    vorticity: Fields, divergence: Fields, grid: Grid, radius: float = EARTH_RADIUS
) -> tuple[Fields, Fields]:
    """Return the winds of given vorticity and divergence: the inverse of `vorticity_divergence`.

    Args:
        vorticity: Vorticity, (n, nlat, nlon), s⁻¹.
        divergence: Divergence, likewise.
        grid: Grid of both.
        radius: Radius of the sphere, m.

    Returns:
        Eastward and northward wind, (n, nlat, nlon), m s⁻¹, in the type of the vorticity.

    Raises:
        ValueError: if values are missing.
    """
    names = ("vorticity", "divergence")
    return _in_parts(harmonics.winds, names, vorticity, divergence, grid, radius)


def _in_parts(
    transform: _Pair, names: tuple[str, str], a: Fields, b: Fields, grid: Grid, radius: float
) -> tuple[Fields, Fields]:
    """Apply a transform of two fields to some samples at a time, in bounded memory."""
    for name, fields in zip(names, (a, b), strict=True):
        if missing := fields.size - int(np.isfinite(fields).sum()):
            raise ValueError(
                f"{name} has {missing} values that are missing or not finite; a wind and its "
                "vorticity and divergence follow from each other on the whole sphere only: give "
                "complete fields, or take the components as channels"
            )
    out = np.empty_like(a), np.empty_like(a)
    size = max(1, _BYTES // (8 * grid.nlat * grid.nlon))
    for i in range(0, len(a), size):
        x, y = (torch.from_numpy(np.ascontiguousarray(fields[i : i + size])) for fields in (a, b))
        for to, found in zip(out, transform(x, y, grid, radius), strict=True):
            to[i : i + size] = found.numpy()
    return out
