"""What keeps long rollouts near the climate that the model was trained on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from data_prep.store.reader import Store
from forecast.model.normalizer import Normalizer
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT, power_spectrum
from sphere_ops.parallel.fields import area_mean

_MOST_STATES, _FEWEST_STATES = 1024, 32
_VALUES = 1 << 27  # that are read at most, unless these are fewer states than the fewest
_BATCH = 8
_LARGEST = 1e6  # standard deviations: squares of what is larger would overflow
_ROUNDING = 1e-5  # of the power of all degrees: below it there is nothing to hold


class SpectralLimiter(nn.Module):
    """Holds the power of every degree of every channel below a multiple of the largest in training.

    An autoregressive model has waves that it amplifies a little with every step, which one step's
    error does not show: a half per cent per step is a factor of 150 after 1,000. A state whose
    spectrum is that of the training data passes unchanged; what outgrows it is scaled back, degree
    by degree, with its phase. What a grid resolves beyond the degrees counts as one more.

    Attributes:
        grid: of the fields.
        power: largest power in the training data of each channel, in normalised units, of each
            degree and of what is beyond them, (c, lmax + 1).
        factor: the multiple.
    """

    power: Tensor

    def __init__(self, grid: Grid, power: Tensor, factor: float) -> None:
        """See the attributes."""
        super().__init__()
        self.grid, self.factor = grid, factor
        self.register_buffer("power", power)
        self._to_degrees, self._to_field = _transforms(grid, power.shape[1] - 1)

    @classmethod
    def from_store(
        cls, store: Store, normalizer: Normalizer, channels: list[int], factor: float
    ) -> SpectralLimiter:
        """The largest power among states of the training split, evenly spread over it.

        Args:
            store: the training data.
            normalizer: scales them.
            channels: indices of those that are limited.
            factor: see the attributes.
        """
        starts, grid = store.windows("train", 0), store.grid
        affordable = _VALUES // (len(store.channels) * grid.nlat * grid.nlon)
        count = min(len(starts), _MOST_STATES, max(_FEWEST_STATES, affordable))
        to_degrees, to_field = _transforms(grid, grid.exact_lmax)
        largest = torch.zeros(len(channels), grid.exact_lmax + 1, dtype=torch.float64)
        chosen = np.unique(np.linspace(0, len(starts) - 1, count).round().astype(int))
        for indices in np.array_split(chosen, -(-len(chosen) // _BATCH)):
            states = torch.stack([store.state(*start) for start in starts[indices]])
            time = np.array([store.valid_time(*start) for start in starts[indices]])
            fields = normalizer.normalise(states, time)[:, channels]
            fields = fields.nan_to_num().double()
            coeffs = to_degrees(fields)
            power = _power(coeffs, fields - to_field(coeffs), grid)
            largest = torch.maximum(largest, power.amax(0))
        return cls(grid, largest.float(), factor)

    def forward(self, x: Tensor) -> Tensor:
        """Limit fields (b, c, nlat, nlon) in normalised units, 0 where there are no values."""
        x = x.clamp(-_LARGEST, _LARGEST)
        coeffs = self._to_degrees(x)
        rest = x - self._to_field(coeffs)
        power = _power(coeffs, rest, self.grid)
        limit = self.factor * self.power + _ROUNDING * self.power.sum(1, keepdim=True)
        less = (limit / power).clamp(max=1).sqrt() - 1  # (b, c, lmax + 1)
        # Both terms are exactly zero where nothing is to be limited.
        change = self._to_field(less[..., :-1, None] * coeffs)
        return x + change + less[..., -1:, None] * rest

    def on_grid(self, grid: Grid) -> SpectralLimiter:
        """The same limits on another grid, for the degrees that both resolve."""
        lmax = min(self.power.shape[1] - 1, grid.exact_lmax)
        beyond = self.power[:, lmax:].sum(1, keepdim=True)
        return SpectralLimiter(grid, torch.cat([self.power[:, :lmax], beyond], 1), self.factor)


def _power(coeffs: Tensor, rest: Tensor, grid: Grid) -> Tensor:
    """Power of each degree of the coefficients, and of the rest of the field, (..., lmax + 1)."""
    return torch.cat([power_spectrum(coeffs), area_mean(rest.square(), grid)[..., None]], -1)


def _transforms(grid: Grid, lmax: int) -> tuple[RealSHT, InverseRealSHT]:
    mmax = min(lmax, grid.nlon // 2 + 1)
    return RealSHT(grid, lmax=lmax, mmax=mmax), InverseRealSHT(grid, lmax=lmax, mmax=mmax)
