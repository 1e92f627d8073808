"""Detection of forecasts that are no longer finite."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current


@dataclass(frozen=True)
class EarlyStop:
    """Early end of a forecast because it was no longer finite.

    Attributes:
        start: its initial state, in words.
        step: the model step whose state is not finite; the file has those before it.
        channel: the first channel that is not finite.
        lead: lead time of that step, in words.
        place: the first point of the channel that is not finite, from the north-west, in words.
        member: number of the ensemble member; None for a single forecast.
    """

    start: str
    step: int
    channel: str
    lead: str
    place: str
    member: int | None = None

    def __str__(self) -> str:
        """One sentence."""
        member = "" if self.member is None else f", member {self.member},"
        return (
            f"the forecast from {self.start}{member} ended: {self.channel} is not finite at step "
            f"{self.step} (lead time {self.lead}), first at {self.place}; what came before is kept"
        )


def first_failures(
    state: Tensor, valid: Tensor | None, grid: Grid, own: range, count: int
) -> dict[int, tuple[int, str]]:
    """Find the first channel that is not finite of each forecast, and its first point.

    All processes of a mesh call this, and all get what was found on any of them.

    Args:
        state: (b, c, nlat, nlon) of this process.
        valid: points that have values, bool (c, nlat, nlon); None if all have.
        grid: grid of the state.
        own: indices of this process's forecasts among all, (b).
        count: number of all.

    Returns:
        By index of the forecast: index of the channel, and the place in words.
    """
    broken = ~state.isfinite() if valid is None else ~state.isfinite() & valid
    found = first_points(broken, grid, own, count)
    return {i: (channel, grid.place(*point)) for i, (channel, point) in found.items()}


def first_points(
    broken: Tensor, grid: Grid, own: range, count: int
) -> dict[int, tuple[int, tuple[int, int]]]:
    """Find the first channel of each forecast that has a marked point, and its first such point.

    All processes of a mesh call this, and all get what was found on any of them.

    Args:
        broken: True at marked points, (b, c, nlat, nlon) of this process.
        grid: grid of the fields.
        own: indices of this process's forecasts among all, (b).
        count: number of all.

    Returns:
        By index of the forecast: index of the channel, and row and column of the point.
    """
    flat = broken.flatten(-2).int()  # (b, c, h w)
    mesh, total, before = current(), grid.nlat * grid.nlon, own_rows(grid).start * grid.nlon
    # Number of points from the first one on: the larger the earlier, 0 without any. Each
    # rank of the latitude axis has its own entry, so that a sum exchanges them.
    shape = (mesh.latitude.ranks, count, broken.shape[1])
    left = torch.zeros(shape, dtype=torch.float64, device=broken.device)
    left[mesh.latitude.rank, own.start : own.stop] = (
        (total - before - flat.argmax(-1)) * flat.amax(-1)
    ).double()
    left = mesh.sum_samples(mesh.sum_rows(left)).amax(0)  # (count, c)
    found: dict[int, tuple[int, tuple[int, int]]] = {}
    for i, channel in left.nonzero().tolist():
        found.setdefault(i, (channel, divmod(total - int(left[i, channel]), grid.nlon)))
    return found
