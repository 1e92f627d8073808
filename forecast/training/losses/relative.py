"""Training losses: distances of a prediction from its target, relative to the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import RealSHT, sum_orders
from sphere_ops.parallel.fields import own_rows, own_shape
from sphere_ops.parallel.mesh import current

LossName = Literal["relative-l2", "relative-l1", "mse", "relative-h1"]


class Loss(nn.Module):
    """A norm over the sphere, its mean over the batch and the weighted channels.

    ‖u‖ is, with area weights a (and zero outside the mask),
    `relative-l2`: (Σ a u²)^½; `relative-l1`: Σ a |u|; `relative-h1`: (Σ_lm (1 + l(l+1)) |û_lm|²)^½;
    the loss is ‖prediction − target‖ / ‖target‖. `mse` is Σ a (prediction − target)².
    Inputs are normalised, so that channels of different units weigh the same. A channel with a
    moving mask counts at the points at which the target has a value, with 0 elsewhere; a target
    without any value adds 0.
    """

    area: Tensor
    channel_weights: Tensor
    moving: Tensor | None

    def __init__(
        self,
        name: LossName,
        grid: Grid,
        channel_weights: Tensor,
        mask: Tensor | None = None,
        moving: Tensor | None = None,
    ) -> None:
        """Prepare the weights.

        Args:
            name: which norm.
            grid: of the fields.
            channel_weights: relative importance of the channels, (c,).
            mask: where channels have values, bool (c, nlat, nlon); in a mesh own rows.
            moving: channels whose targets are missing (NaN) at points inside the mask that change,
                bool (c, 1, 1); None if there are none.
        """
        super().__init__()
        self.name = name
        area = grid.area_weights[own_rows(grid)].expand(own_shape(grid))[None]  # (1, h, w)
        if mask is not None:
            area = area * mask.to(area)
            area = area / current().sum_rows(area.sum((-2, -1), keepdim=True))
        self.register_buffer("area", area.float(), persistent=False)
        weights = channel_weights.float()
        self.register_buffer("moving", moving, persistent=False)
        self.register_buffer("channel_weights", weights / weights.sum(), persistent=False)
        if name == "relative-h1":
            lmax = grid.exact_lmax
            self.sht = RealSHT(grid, lmax=lmax, mmax=lmax)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar; in a mesh of the whole fields, on every process.

        Args:
            prediction: (b, c, nlat, nlon), normalised; outside the mask anything finite; in a mesh
                own rows.
            target: (b, c, nlat, nlon), likewise.
        """
        share: Tensor | None = None
        if self.moving is not None:
            present = ~(target.isnan() & self.moving)
            prediction, target = prediction.where(present, 0.0), target.where(present, 0.0)
            share = current().sum_rows((self.area * present).sum((-2, -1)))  # (b, c)
        per_channel = self.norm(prediction - target)  # (b, c)
        if self.name != "mse":
            per_channel = per_channel / self.norm(target).clamp(min=_SMALLEST)
        if share is not None:
            per_channel = per_channel.where(share > 0, 0.0)
            if self.name == "mse":
                per_channel = per_channel / share.clamp(min=_SMALLEST)
        return (per_channel * self.channel_weights).sum(-1).mean()

    def norm(self, x: Tensor) -> Tensor:
        """‖x‖ per sample and channel, (b, c)."""
        x = x.to(self.area.dtype)
        match self.name:
            case "relative-l1":
                return current().sum_rows((self.area * x.abs()).sum((-2, -1)))
            case "mse":
                return current().sum_rows((self.area * x.square()).sum((-2, -1)))
            case "relative-h1":
                power = self._power(x * (self.area > 0))
                degree = torch.arange(power.shape[-1], device=x.device)
                return _root((power * (1 + degree * (degree + 1))).sum(-1))
            case _:
                return _root(current().sum_rows((self.area * x.square()).sum((-2, -1))))

    def _power(self, x: Tensor) -> Tensor:
        """Σ_m |û_lm|² with both signs of m, (b, c, lmax)."""
        return sum_orders(self.sht(x).abs().square())


_SMALLEST = 1e-6
"""Below this a target counts as zero (normalised units)."""


def _root(x: Tensor) -> Tensor:
    """Square root whose gradient at zero is finite."""
    return torch.sqrt(x + _SMALLEST**2)


def channel_weights(names: Sequence[str], weights: Mapping[str, float]) -> Tensor:
    """Weights of the channels in their order; those that are not named weigh 1.

    Raises:
        ValueError: if a name is not one of the channels.
    """
    unknown = [name for name in weights if name not in names]
    if unknown:
        raise ValueError(
            f"training.channel_weights names {unknown[0]!r}; the channels are {', '.join(names)}"
        )
    return torch.tensor([weights.get(name, 1.0) for name in names])
