"""Constraints on a forecast: largest power of degrees, range at points, truncation, area means."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from configs import layout
from data_prep.store.reader import Store
from data_prep.store.spectra import degree_power, largest_power, transforms
from forecast.model.normalizer import Normalizer
from forecast.model.static_inputs import nearest
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current

_LARGEST = 1e6  # standard deviations: squares of what is larger would overflow
_SMALLEST_SHARE = 1e-9  # of the sphere, in a division: smaller than any point of a grid
_STATES = 10_000  # largest number of training states that a range is taken from
_ROUNDING = 1e-9  # of the power of all degrees: below it there is nothing to hold


class SpectralLimiter(nn.Module):
    """Limit of the power of each degree and channel, a multiple of the largest in training.

    An autoregressive model has waves that it amplifies a little with every step, which one step's
    error does not show: a half per cent per step is a factor of 150 after 1,000. A state whose
    spectrum is that of the training data passes unchanged; what outgrows it is scaled back, degree
    by degree, with its phase. What a grid resolves beyond the degrees counts as one more.

    Attributes:
        grid: grid of the fields.
        power: largest power in the training data of each channel, in normalised units, of each
            degree and of all beyond them, (c, lmax + 1).
        factor: multiple of the power that is allowed.
    """

    power: Tensor

    def __init__(self, grid: Grid, power: Tensor, factor: float) -> None:
        """See the attributes."""
        super().__init__()
        self.grid, self.factor = grid, factor
        self.register_buffer("power", power)
        self._to_degrees, self._to_field = transforms(grid, power.shape[1] - 1)

    @classmethod
    def from_store(
        cls, store: Store, normalizer: Normalizer, channels: list[int], factor: float
    ) -> SpectralLimiter:
        """Build the limiter of a store, which computes the power if the store does not hold it.

        Args:
            store: training data.
            normalizer: scaling of the fields.
            channels: indices of the channels that are limited.
            factor: see the attributes.
        """
        stored = layout.LARGEST_POWER
        if normalizer.of_anomalies:
            stored = layout.CLIMATOLOGY_LARGEST_POWER
        if stored in store.statistics:
            return cls(store.grid, store.statistics[stored][channels], factor)
        starts = store.windows("train", 0)

        def read(i: int) -> Tensor:
            time = np.array([store.valid_time(*starts[i])])
            return normalizer.normalise(store.state(*starts[i])[None].double(), time)[0]

        return cls(store.grid, largest_power(read, len(starts), store.grid)[channels], factor)

    def forward(self, x: Tensor) -> Tensor:
        """Limit fields (b, c, nlat, nlon) in normalised units, 0 where there are no values."""
        x = x.clamp(-_LARGEST, _LARGEST)
        coeffs = self._to_degrees(x)
        rest = x - self._to_field(coeffs)
        power = degree_power(coeffs, rest, self.grid)
        limit = self.factor * self.power + _ROUNDING * self.power.sum(1, keepdim=True)
        less = (limit / power).clamp(max=1).sqrt() - 1  # (b, c, lmax + 1)
        if x.device.type == "cpu":  # elsewhere it takes longer to ask
            acts = less.ne(0).any().to(x.dtype)
            if not current().sum_rows(acts):  # all ranks have to go the same way
                return x
        # Both terms are exactly zero where nothing is to be limited.
        change = self._to_field(less[..., :-1, None] * coeffs)
        return x + change + less[..., -1:, None] * rest

    def on_grid(self, grid: Grid) -> SpectralLimiter:
        """Return the same limits on another grid, for the degrees that both resolve."""
        lmax = min(self.power.shape[1] - 1, grid.exact_lmax)
        beyond = self.power[:, lmax:].sum(1, keepdim=True)
        return SpectralLimiter(grid, torch.cat([self.power[:, :lmax], beyond], 1), self.factor)


class RangeLimiter(nn.Module):
    """Limit of the values at each point, the range of the training data and some room.

    The limits of the power leave room for a storm that is stronger than any, at one place: a model
    that has never seen it may feed it. Values within the range pass unchanged.

    Attributes:
        grid: grid of the fields.
        bounds: least and largest values in normalised units, infinite at points without values,
            (2, c, nlat, nlon), in a mesh own rows.
    """

    bounds: Tensor

    def __init__(self, grid: Grid, bounds: Tensor) -> None:
        """See the attributes."""
        super().__init__()
        self.grid = grid
        self.register_buffer("bounds", bounds)

    @classmethod
    def from_store(cls, store: Store, normalizer: Normalizer, room: float) -> RangeLimiter:
        """Take the range of all channels from up to 10,000 training states.

        Args:
            store: training data.
            normalizer: scaling of the fields.
            room: share of the width of the range that is added on both sides.
        """
        starts = store.windows("train", 0)
        chosen = np.linspace(0, len(starts) - 1, min(_STATES, len(starts))).round().astype(int)
        low = torch.full((), torch.inf, dtype=torch.float64)
        high = -low
        for index, step in starts[chosen]:
            time = np.array([store.valid_time(index, step)])
            x = normalizer.normalise(store.state(index, step)[None].double(), time)[0]
            low, high = torch.fmin(low, x), torch.fmax(high, x)  # NaN where there are no values
        known = low <= high
        width = (high - low).where(known, 0.0)
        low, high = low.where(known, -torch.inf), high.where(known, torch.inf)
        return cls(store.grid, torch.stack([low - room * width, high + room * width]).float())

    def forward(self, x: Tensor) -> Tensor:
        """Limit fields (b, c, nlat, nlon) in normalised units."""
        return torch.clamp(x, *self.bounds.to(x.dtype))

    def share_outside(self, x: Tensor) -> Tensor:
        """Return the share of the values of each sample that are out of range, (b,)."""
        outside = ((x < self.bounds[0]) | (x > self.bounds[1])).sum((1, 2, 3)).double()
        return current().sum_rows(outside) / (x.shape[1] * self.grid.nlat * self.grid.nlon)

    def on_grid(self, grid: Grid) -> RangeLimiter:
        """Return the same limits on another grid, those of the nearest point."""
        return RangeLimiter(grid, nearest(self.bounds, self.grid, grid))


class Truncation(nn.Module):
    """Drops the degrees of a field from `lmax` on, which products of fields alias into."""

    def __init__(self, grid: Grid, lmax: int) -> None:
        """Prepare the transforms."""
        super().__init__()
        self.analysis, self.synthesis = transforms(grid, lmax)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., nlat, nlon) to the same shape."""
        return self.synthesis(self.analysis(x))


class AreaMeans(nn.Module):
    """Keeps the area means of some channels from one state to the next.

    Args:
        grid: grid of the fields.
        kept: indices of the channels whose means are kept.
        mask: points that have values, bool (c, nlat, nlon); None if all have.
        moving: channels that lack values (NaN) at points that change, bool (c, 1, 1); None if
            there are none.
    """

    _area: Tensor
    _kept: Tensor
    _valid: Tensor | None
    _moving: Tensor | None

    def __init__(
        self, grid: Grid, kept: list[int], mask: Tensor | None, moving: Tensor | None
    ) -> None:
        super().__init__()
        self.register_buffer("_area", grid.area_weights[own_rows(grid)], persistent=False)
        self.register_buffer("_kept", torch.tensor(kept, dtype=torch.long), persistent=False)
        self.register_buffer("_valid", None if mask is None else mask[kept], persistent=False)
        chosen = None if moving is None else moving[kept]
        self.register_buffer("_moving", chosen, persistent=False)

    def forward(self, following: Tensor, before: Tensor, season: Tensor | None) -> Tensor:
        """Give channels of `following` the area means of `before`, over the points that it has.

        Args:
            following: fields (b, c, nlat, nlon).
            before: fields one step earlier, likewise.
            season: change of the baseline in between that the means take part in, likewise.
        """
        chosen = self._kept
        change = following[:, chosen] - before[:, chosen]
        if season is not None:
            change = change - season[:, chosen]
        area = self._area.to(change)
        if self._valid is not None:
            valid = self._valid
            if self._moving is not None:
                valid = valid & ~(before[:, chosen].isnan() & self._moving)
            area = area * valid
            change = change.where(valid, 0.0)
        shares = area.expand(-1 if area.dim() == 4 else 1, *change.shape[1:]).sum((-2, -1))
        sums = (change * area).sum((-2, -1)), shares
        totals, shares = current().sum_rows(torch.cat(sums)).split([len(change), len(shares)])
        mean = totals / shares.clamp(min=_SMALLEST_SHARE)
        correction = torch.zeros_like(following[:, :, :1, :1])
        return following - correction.index_copy(1, chosen, mean[..., None, None])
