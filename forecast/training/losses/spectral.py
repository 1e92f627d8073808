"""Error of each degree relative to what persistence leaves to be predicted in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from data_prep.store.spectra import transforms
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import power_spectrum

_SMALLEST = 1e-6
"""Error below which the gradient of the root is bounded."""


class SpectralError(nn.Module):
    """Root of the mean over the degrees of error power over a reference power.

    All degrees count alike, also those of little power, whose errors a norm of the fields hardly
    sees. Degrees whose reference is zero do not count. The mean over the batch and the weighted
    channels is taken of the roots.

    Args:
        grid: grid of the fields.
        channel_weights: relative importance of the channels, (c,).
        reference: power of each degree, in the squared unit of the fields, (c, lmax).
    """

    weights: Tensor
    channel_weights: Tensor

    def __init__(self, grid: Grid, channel_weights: Tensor, reference: Tensor) -> None:
        super().__init__()
        counted = reference > 0
        weights = counted / reference.where(counted, 1.0)
        weights = weights / counted.sum(1, keepdim=True).clamp(min=1)
        self.register_buffer("weights", weights.float(), persistent=False)
        of_channels = channel_weights.float()
        self.register_buffer("channel_weights", of_channels / of_channels.sum(), persistent=False)
        self._to_degrees, _ = transforms(grid, reference.shape[1])

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the error, a scalar; in a mesh of the whole fields, on every process.

        Args:
            prediction: (b, c, nlat, nlon), in a mesh own rows.
            target: likewise.
        """
        difference = (prediction - target).to(self.weights.dtype)
        power = power_spectrum(self._to_degrees(difference))  # (b, c, lmax)
        error = torch.sqrt((power * self.weights).sum(-1) + _SMALLEST**2)
        return (error * self.channel_weights).sum(-1).mean()
