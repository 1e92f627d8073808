"""Values for points that have none, from points that have one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.harmonics.fill import SmoothFill
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current

FillMethod = Literal["nearest", "smooth"]


def make_fill(
    method: FillMethod, available: Tensor, wanted: Tensor, grid: Grid
) -> Callable[[Tensor], Tensor]:
    """Return a function that fills missing points of fields.

    Args:
        method: "nearest" takes values of the nearest points, "smooth" is a smooth extension.
        available: points that have values, bool (c, nlat, nlon), some in each channel.
        wanted: points that need values, bool (c, nlat, nlon); the others stay as they are.
        grid: grid of the fields, (..., c, nlat, nlon).
    """
    if method == "nearest":
        return NearestFill(available, wanted, grid)
    smooth, kept = SmoothFill(available, grid), available | ~wanted
    return lambda fields: fields.where(kept, smooth(fields))


class NearestFill:
    """Fills missing points of fields from the nearest points along great circles.

    In a mesh fields and masks are this process's own rows; the nearest point may be another's.
    """

    def __init__(self, available: Tensor, wanted: Tensor, grid: Grid) -> None:
        """Find the nearest points.

        Args:
            available: points that have values, bool (c, nlat, nlon), some in each channel.
            wanted: points that need values, bool (c, nlat, nlon).
            grid: grid of the fields.
        """
        self._nlat = grid.nlat
        points = _unit_vectors(grid)
        own = points[own_rows(grid)].reshape(-1, 3)
        whole = current().gather_rows(available, grid.nlat, everywhere=True)
        missing = (wanted & ~available).flatten(1)
        self._pairs: list[tuple[Tensor, Tensor]] = []  # of each channel: points, and their sources
        for there, needed in zip(whole.flatten(1).numpy(), missing.numpy(), strict=True):
            sources, targets = np.flatnonzero(there), np.flatnonzero(needed)
            _, nearest = cKDTree(points.reshape(-1, 3)[sources]).query(own[targets])
            self._pairs.append((torch.from_numpy(targets), torch.from_numpy(sources[nearest])))

    def __call__(self, fields: Tensor) -> Tensor:
        """Return fields (..., c, nlat, nlon) with the missing points filled."""
        whole = current().gather_rows(fields, self._nlat, everywhere=True).flatten(-2)
        filled = fields.flatten(-2).clone()
        for channel, (targets, sources) in enumerate(self._pairs):
            filled[..., channel, targets] = whole[..., channel, sources]
        return filled.unflatten(-1, fields.shape[-2:])


def fill_gaps(fields: Tensor, grid: Grid) -> Tensor:
    """Fill the missing points (NaN) of fields from the nearest points, in a mesh across ranks.

    Args:
        fields: (b, c, nlat, nlon), each with some value; in a mesh own rows.
        grid: grid of the fields.
    """
    there = ~fields.isnan()
    if not current().sum_rows((~there).sum().double()):
        return fields
    everywhere = torch.ones_like(there[0]).cpu()
    filled = [
        NearestFill(points, everywhere, grid)(x)
        for x, points in zip(fields.cpu(), there.cpu(), strict=True)
    ]
    return torch.stack(filled).to(fields)


def _unit_vectors(grid: Grid) -> NDArray[np.float64]:
    """Points of a grid in space, (nlat, nlon, 3); chords are ordered as great circles are."""
    latitude = np.radians(grid.latitude.numpy())[:, None]
    longitude = np.radians(grid.longitude.numpy())[None, :]
    x, y = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)
    return np.stack([x, y, np.broadcast_to(np.sin(latitude), x.shape)], axis=-1)
