"""Update of a state degree by degree: damped persistence, and what the network adds to it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from data_prep.store.reader import Store
from data_prep.store.spectra import transforms
from forecast.model.normalizer import Normalizer
from forecast.model.static_inputs import nearest, transferred
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import power_spectrum
from sphere_ops.parallel.fields import own_shape

_PAIRS = 500
"""Largest number of pairs of consecutive states that the statistics are computed from."""
_NETWORK_ERROR = 0.15
"""Error of a network relative to the size of its output, about that of a trained one."""
_ROOM = 0.25
"""Share of the width of the range of the training data that is added on both sides."""
_ROUNDING = 1e-12
"""Share of the power of all degrees below which a degree has no variability but rounding."""


class DampedUpdate(nn.Module):
    """Damped persistence of each degree of the anomaly, plus a weighted output of the network.

    x ← m + ρ_l (x − m) + w_l y, with the state x, its time mean m, and the output y of the network.
    ρ_l is the correlation of the anomaly with that of the next step, so that m + ρ_l (x − m) is the
    best forecast that is linear in the same coefficient. An update that adds to x keeps every error
    for good. The network corrects those that it sees; in degrees of little power, which neither its
    inputs nor the loss show, they add up. Here they decay, since |ρ_l| ≤ 1.

    Let v_l be the variance of a coefficient of degree l of what is left to be predicted,
    x(t + 1) − m − ρ_l (x(t) − m), v its mean over all coefficients, and ε the relative error of a
    network. The weight w_l² ∝ v_l / (v_l + ε² v) is nearly the same for all degrees of which the
    network can predict a part; in others, if its error is white noise, the noise is about v_l.

    Degrees beyond those of the data, and those without variability, become those of the mean.

    The network sees fields inside the range that training states have at each point, widened by a
    quarter of its width on both sides: what is outside enters as the bound. Its response to states
    unlike those of the training then stays one to the nearest known values, and the state returns.

    Attributes:
        grid: grid of the fields.
        mean: time mean m in normalised units, (c, nlat, nlon), in a mesh own rows.
        persistence: ρ_l of each channel and degree, (c, lmax).
        innovation: power of what is left to be predicted, likewise.
        bounds: smallest and largest values that the network sees, (2, c, nlat, nlon), in a mesh own
            rows.
    """

    mean: Tensor
    persistence: Tensor
    innovation: Tensor
    bounds: Tensor
    _weight: Tensor

    def __init__(
        self, grid: Grid, mean: Tensor, persistence: Tensor, innovation: Tensor, bounds: Tensor
    ) -> None:
        """See the attributes."""
        super().__init__()
        self.grid = grid
        self.register_buffer("mean", mean)
        self.register_buffer("persistence", persistence)
        self.register_buffer("innovation", innovation)
        self.register_buffer("bounds", bounds)
        self.register_buffer("_weight", _weights(innovation), persistent=False)
        lmax = min(persistence.shape[1], grid.exact_lmax)
        self._to_degrees, self._to_field = transforms(grid, lmax)

    @classmethod
    def from_store(cls, store: Store, normalizer: Normalizer, lmax: int | None) -> DampedUpdate:
        """Compute mean, persistence and weights from pairs of consecutive training states.

        The persistence of a diagnostic channel is 0.

        Args:
            store: training data.
            normalizer: scaling of the fields.
            lmax: truncation in degree, exclusive; None for all degrees that the grid resolves.

        Raises:
            ValueError: if the store has a mask, so that there are no degrees of its fields.
        """
        if store.mask is not None or store.moving_mask:
            raise ValueError(
                f"model.persistence is damped, but {store.path} has a mask, and no degrees of its "
                "fields; set model.persistence=full"
            )
        lmax = min(lmax or store.grid.exact_lmax, store.grid.exact_lmax)
        mean, anomaly, change, range_ = _statistics(store, normalizer, lmax)
        living = anomaly > _ROUNDING * anomaly.sum(1, keepdim=True)
        correlation = (1 - change / (2 * anomaly.where(living, 1.0))).clamp(-1, 1)
        prognostic = torch.tensor([v.role == "prognostic" for v in store.channels])[:, None]
        persistence = correlation.where(living & prognostic, 0.0)
        innovation = (anomaly * (1 - persistence.square())).where(living, 0.0)
        low, high = range_
        bounds = torch.stack([low - _ROOM * (high - low), high + _ROOM * (high - low)])
        tensors = mean, persistence, innovation, bounds
        return cls(store.grid, *(x.float() for x in tensors))

    def visible(self, x: Tensor) -> Tensor:
        """Return fields (..., c, nlat, nlon) in normalised units as the network sees them."""
        return torch.clamp(x, self.bounds[0], self.bounds[1])

    def forward(self, present: Tensor, output: Tensor) -> Tensor:
        """Return the next state in normalised units, (b, c, nlat, nlon).

        Args:
            present: present state in normalised units, (b, c, nlat, nlon).
            output: output of the network, likewise.
        """
        anomaly = self._to_degrees(present - self.mean)
        lmax = anomaly.shape[-2]  # a coarser grid resolves fewer degrees
        coeffs = self.persistence[:, :lmax, None] * anomaly
        coeffs = coeffs + self._weight[:, :lmax, None] * self._to_degrees(output)
        return self.mean + self._to_field(coeffs)

    def on_grid(self, grid: Grid) -> DampedUpdate:
        """Return the same update on another grid, for the degrees that both resolve."""
        mean = transferred(self.mean, None, self.grid, grid)
        bounds = nearest(self.bounds, self.grid, grid)
        return DampedUpdate(grid, mean, self.persistence, self.innovation, bounds)


def _statistics(
    store: Store, normalizer: Normalizer, lmax: int
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Return statistics of pairs of consecutive training states, float64.

    Returns:
        Time mean (c, nlat, nlon), in a mesh own rows; power of the anomaly of each degree, and that
        of its change in one step, both (c, lmax); smallest and largest value at each point.
    """
    to_degrees, _ = transforms(store.grid, lmax)
    starts = store.windows("train", 1)
    chosen = np.linspace(0, len(starts) - 1, min(_PAIRS, len(starts))).round().astype(int)
    mean = torch.zeros(len(store.channels), *own_shape(store.grid), dtype=torch.float64)
    power = change = torch.zeros(())
    low, high = torch.full_like(mean, math.inf), torch.full_like(mean, -math.inf)
    for index, step in starts[chosen]:
        time = np.array([store.valid_time(index, step), store.valid_time(index, step + 1)])
        pair = normalizer.normalise(store.states(index, step, 2).double(), time)
        before, after = to_degrees(pair)  # (c, lmax, mmax)
        mean += pair.mean(0) / len(chosen)
        low, high = torch.minimum(low, pair.amin(0)), torch.maximum(high, pair.amax(0))
        both = power_spectrum(before) + power_spectrum(after)
        power = power + both / 2 / len(chosen)
        change = change + power_spectrum(after - before) / len(chosen)
    anomaly = (power - power_spectrum(to_degrees(mean))).clamp(min=0)
    return mean, anomaly, change, (low, high)


def _weights(innovation: Tensor) -> Tensor:
    """Return the weight of the output in each degree, (c, lmax).

    White output of variance 1 gives the variance of the innovations.

    Args:
        innovation: power of what is left to be predicted, of each degree, (c, lmax).
    """
    values = 2 * torch.arange(innovation.shape[1], dtype=innovation.dtype) + 1
    total, variance = innovation.sum(1, keepdim=True), innovation / values
    share = variance / (variance + _NETWORK_ERROR**2 * total / values.sum())
    return (share * total * values.sum() / (share * values).sum(1, keepdim=True)).sqrt()
