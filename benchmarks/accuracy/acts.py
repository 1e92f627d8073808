"""Counts of the steps in which a limiter acts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from data_prep.store.spectra import transforms
from forecast.model.limiter import SpectralLimiter
from sphere_ops.harmonics.transforms import power_spectrum
from sphere_ops.parallel.fields import area_mean


class Acts:
    """Counts how often a limiter acts: a forward hook of it.

    Attributes:
        steps: Number of steps.
        acted: Number of those in which a value changed.
        share: Sum over the steps of the share of the values that changed.
    """

    def __init__(self) -> None:
        self.steps, self.acted, self.share = 0, 0, 0.0

    def __call__(self, module: nn.Module, given: tuple[Tensor, ...], limited: Tensor) -> None:
        """Count a step."""
        share = float((given[0] != limited).float().mean())
        self.steps += 1
        self.acted += share > 0
        self.share += share

    def shares(self) -> dict[str, float]:
        """Return the number of steps, and the shares of them and of the values of all of them."""
        n = max(1, self.steps)
        return {"steps": self.steps, "of_steps": self.acted / n, "of_values": self.share / n}


class ActsByDegree(Acts):
    """Counts, in addition, where a limiter of the power of degrees acts.

    Attributes:
        where: Number of the steps in which it limited a channel and degree, (c, lmax + 1).
    """

    def __init__(self, limiter: SpectralLimiter) -> None:
        """Prepare for a limiter."""
        super().__init__()
        self.grid, shape = limiter.grid, limiter.power.shape
        self.where = torch.zeros(shape, dtype=torch.int64)
        self._to_degrees, self._to_field = transforms(self.grid, shape[1] - 1)

    def __call__(self, module: nn.Module, given: tuple[Tensor, ...], limited: Tensor) -> None:
        """Count a step."""
        super().__call__(module, given, limited)
        change = limited - given[0]
        coeffs = self._to_degrees(change)
        rest = area_mean((change - self._to_field(coeffs)).square(), self.grid)[..., None]
        power = torch.cat([power_spectrum(coeffs), rest], -1)
        # What rounding spreads to other degrees is a small part of the change.
        least = 1e-6 * power[..., :-1].sum((-2, -1), keepdim=True)
        self.where += (power > least).any(0)
