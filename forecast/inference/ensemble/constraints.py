"""Addition of differences to states, within what their channels allow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from configs.variables import Variable
from forecast.model.state import State
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current

_SMALLEST_SHARE = 1e-9
"""Bound of a share of the sphere in a division: smaller than any point of a grid."""


class Constraints(nn.Module):
    """Adds differences to states.

    - A channel that is not fed back stays as it is.
    - The area mean of a conserved channel stays as it is, over the points that have values.
    - A channel that is never negative stays so: a difference is no larger than the value itself, in
      either direction, so that it adds nothing on average.
    - Missing values stay missing.

    Args:
        channels: Variables of the channels.
        grid: Grid of the states.
        keep_means: True to keep the area means of all channels.
    """

    area: Tensor
    prognostic: Tensor
    conserved: Tensor
    positive: Tensor

    def __init__(
        self, channels: Sequence[Variable], grid: Grid, *, keep_means: bool = False
    ) -> None:
        super().__init__()

        def flag(values: Sequence[bool]) -> Tensor:
            return torch.tensor(values)[:, None, None]  # (c, 1, 1)

        kept = [keep_means or v.conserved for v in channels]
        self.register_buffer("area", grid.area_weights[own_rows(grid)].float(), persistent=False)
        self.register_buffer(
            "prognostic", flag([v.role == "prognostic" for v in channels]), persistent=False
        )
        self.register_buffer("conserved", flag(kept), persistent=False)
        self.register_buffer("positive", flag([v.positive for v in channels]), persistent=False)

    def add(self, state: State, differences: Sequence[Tensor]) -> State:
        """Return states with differences added.

        Args:
            state: States, with a history.
            differences: Difference of each part of `state.series`, (b, c, nlat, nlon); anything
                where the state is missing.
        """
        series = [self._sum(x, d) for x, d in zip(state.series, differences, strict=True)]
        return State(series[-1], state.time, tuple(series[:-1]))

    def _sum(self, x: Tensor, difference: Tensor) -> Tensor:
        difference = difference.where(self.prognostic, 0.0)
        room = x.clamp(min=0)
        limited = difference.clamp(-room, room)
        difference = difference.where(~self.positive, limited)
        area = self.area * x.isfinite()
        inside = difference.where(x.isfinite(), 0.0)
        sums = torch.stack(((area * inside).sum((-2, -1)), area.sum((-2, -1))))  # (2, b, c)
        total, share = current().sum_rows(sums)
        mean = (total / share.clamp(min=_SMALLEST_SHARE))[..., None, None]
        return x + (difference - mean.where(self.conserved, 0.0))
