"""Detection of forecasts that leave what is finite or plausible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from configs import layout
from data_prep.store.reader import Store
from forecast.inference.failures import first_points
from forecast.model.forecaster import Forecaster
from forecast.model.resampling import ResamplingForecaster
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current

STANDARD_DEVIATIONS = 20.0
"""Distance from the mean to the limits, where the extremes of training are not known."""

_LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class Implausible:
    """Value of a forecast that is not plausible.

    Attributes:
        start: Initial state of the forecast, in words.
        step: First model step with such a value.
        channel: First channel that has one.
        lead: Lead time of that step, in words.
        place: First point of the channel with such a value, from the north-west, in words.
        value: The value, with its unit.
        limits: Plausible values of the channel, in words.
        ended: True if the forecast ended there.
        member: Number of the ensemble member; None for a single forecast.
    """

    start: str
    step: int
    channel: str
    lead: str
    place: str
    value: str
    limits: str
    ended: bool
    member: int | None = None

    def __str__(self) -> str:
        """One sentence."""
        member = "" if self.member is None else f", member {self.member},"
        return (
            f"the forecast from {self.start}{member} is not plausible: {self.channel} is "
            f"{self.value} at step {self.step} (lead time {self.lead}), first at {self.place}; "
            f"plausible are {self.limits}" + ("; what came before is kept" if self.ended else "")
        )


@dataclass(frozen=True, eq=False)
class Limits:
    """Plausible range of each channel.

    Attributes:
        low: Smallest plausible value, float32 (c,).
        high: Largest one, likewise.
    """

    low: Tensor
    high: Tensor

    def describe(self, channel: int) -> str:
        """Return the range of a channel in words."""
        return f"{float(self.low[channel]):.4g} to {float(self.high[channel]):.4g}"


def plausible_limits(forecaster: Forecaster | ResamplingForecaster, store: Store) -> Limits:
    """Return the plausible range of each channel.

    It is the range of the training split of the store, widened by itself on both sides. Where that
    is not known, it is the baseline of the model plus and minus 20 standard deviations.

    Args:
        forecaster: Model.
        store: Store of the initial states.
    """
    low = high = torch.full((len(forecaster.channels),), torch.nan, dtype=torch.float64)
    if {layout.MINIMUM, layout.MAXIMUM} <= store.statistics.keys():
        places = [store.channel_names.index(name) for name in forecaster.channel_names]
        least, most = (store.statistics[n][places] for n in (layout.MINIMUM, layout.MAXIMUM))
        width = (most - least).where(most > least, torch.nan)
        low, high = least - width, most + width
    known = low.isfinite() & high.isfinite()
    if not known.all():
        one = forecaster.forecaster if isinstance(forecaster, ResamplingForecaster) else forecaster
        low, high = (
            x.where(known, y) for x, y in zip((low, high), _by_deviations(one), strict=True)
        )
    return Limits(low.float(), high.float())


def _by_deviations(forecaster: Forecaster) -> tuple[Tensor, Tensor]:
    """Return the baseline of a model minus and plus 20 standard deviations, each (c,)."""
    normalizer = forecaster.normalizer
    low = high = normalizer.mean.cpu().double()
    if normalizer.of_anomalies:
        assert normalizer.climatology is not None
        # The standard deviation is about the climatology.
        climatology = normalizer.climatology.cpu().double()  # (month, c, h, w)
        extremes = torch.stack((climatology.amin((0, -1)), climatology.amax((0, -1))))  # (2, c, h)
        nlat = forecaster.grid.nlat
        extremes = current().gather_rows(extremes[..., None], nlat, everywhere=True)
        low, high = extremes[0].amin((-2, -1)), extremes[1].amax((-2, -1))
    spread = STANDARD_DEVIATIONS * normalizer.std.cpu().double()
    return low - spread, high + spread


@dataclass(frozen=True)
class Found:
    """First value of a forecast that is not finite or not plausible.

    Attributes:
        channel: Index of the first channel that has one.
        place: First such point of the channel, from the north-west, in words.
        value: The value.
    """

    channel: int
    place: str
    value: float


class StateCheck:
    """Check of the states of a batch of forecasts, one exchange between processes each.

    A forecast that was found to be implausible is only checked for finite values from then on.
    """

    def __init__(
        self, limits: Limits, grid: Grid, own: range, count: int, valid: Tensor | None
    ) -> None:
        """Hold what is plausible.

        Args:
            limits: Plausible range of each channel.
            grid: Grid of the states.
            own: Indices of this process's forecasts among all of the batch, (b).
            count: Number of all.
            valid: Points that have values, bool (c, nlat, nlon); None if all have.
        """
        self._grid, self._own, self._count, self._valid = grid, own, count, valid
        shape = (len(own), len(limits.low), 1, 1)
        self._low = limits.low[:, None, None].expand(shape).clone()
        self._high = limits.high[:, None, None].expand(shape).clone()

    def __call__(self, fields: Tensor) -> tuple[dict[int, Found], dict[int, Found]]:
        """Find the forecasts that are not finite, and those that are newly implausible.

        All processes of a mesh call this, and all get what was found on any of them.

        Args:
            fields: State of this process, (b, c, nlat, nlon).

        Returns:
            By index of the forecast, what is not finite; and what is finite but not plausible.
        """
        self._low, self._high = self._low.to(fields.device), self._high.to(fields.device)
        if not current().any_rank(not self._all_inside(fields)):
            return {}, {}
        inside = (fields >= self._low) & (fields <= self._high)
        finite = fields.isfinite()
        broken = self._with_values(self._first(~finite), fields)
        odd = self._with_values(self._first(~inside & finite), fields)
        odd = {i: found for i, found in odd.items() if i not in broken}
        self.accept(i for i in odd if i in self._own)
        return broken, odd

    def accept(self, samples: Iterable[int]) -> None:
        """Only check some of this process's forecasts for finite values from now on."""
        for i in samples:
            self._low[i - self._own.start] = -_LARGEST
            self._high[i - self._own.start] = _LARGEST

    def _all_inside(self, fields: Tensor) -> bool:
        """Return True if all values of this process are finite and plausible."""
        if self._valid is not None:
            fields = fields.where(self._valid, self._low)
        # Reductions are faster than comparisons of each value; NaN if one of the values is.
        least, largest = fields.amin((-2, -1), True), fields.amax((-2, -1), True)  # (b, c, 1, 1)
        return bool(((least >= self._low) & (largest <= self._high)).all())

    def _first(self, marked: Tensor) -> dict[int, tuple[int, tuple[int, int]]]:
        if self._valid is not None:
            marked = marked & self._valid
        return first_points(marked, self._grid, self._own, self._count)

    def _with_values(
        self, points: dict[int, tuple[int, tuple[int, int]]], fields: Tensor
    ) -> dict[int, Found]:
        """Add the values at the points, which are on the process that has the forecast and row."""
        rows, mesh = own_rows(self._grid), current()
        values = torch.zeros(len(points), dtype=torch.float64, device=fields.device)
        for k, (i, (channel, (row, column))) in enumerate(points.items()):
            if i in self._own and rows.start <= row < rows.stop:
                values[k] = fields[i - self._own.start, channel, row - rows.start, column]
        values = mesh.sum_samples(mesh.sum_rows(values))
        return {
            i: Found(channel, self._grid.place(*point), value)
            for (i, (channel, point)), value in zip(points.items(), values.tolist(), strict=True)
        }
