"""Errors of forecasts against the truth, long rollouts, other grids."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.accuracy.study.experiments import CHANNELS, Experiment
from data_prep.store.reader import Store
from forecast.inference.rollout import Model, rollout
from forecast.model.forecaster import Forecaster
from forecast.model.normalizer import Normalizer
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import State
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample

DAY = 86400.0


@dataclass(frozen=True)
class RelativeL2:
    """Relative L2 error: weighted by area, in standard deviations of the training data.

    It is the norm of the difference over that of the target, both about the mean of the training
    data; the mean over the channels.

    Attributes:
        grid: Grid of the fields.
        normalizer: Scaling, by the training data.
    """

    grid: Grid
    normalizer: Normalizer

    @classmethod
    def from_store(cls, store: Store) -> RelativeL2:
        """Return the error of `CHANNELS`, with the scaling of a training store."""
        chosen = store.select(channels=CHANNELS)
        return cls(store.grid, Normalizer.from_store(chosen, "mean"))

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the errors of predictions (b, c, h, w), shape (b,)."""
        p, t = self._scaled(prediction), self._scaled(target)
        return (self._norm(p - t) / self._norm(t)).mean(-1)

    def size(self, fields: Tensor) -> Tensor:
        """Return the root mean square of each channel over area and samples, scaled, (c,)."""
        return self._norm(self._scaled(fields)).square().mean(0).sqrt()

    def _norm(self, x: Tensor) -> Tensor:
        return (x.square() * self.grid.area_weights).sum((-2, -1)).sqrt()

    def _scaled(self, x: Tensor) -> Tensor:
        mean, std = self.normalizer.mean.cpu().double(), self.normalizer.std.cpu().double()
        return (x.double() - mean[:, None, None]) / std[:, None, None]


@dataclass(frozen=True)
class Truth:
    """True states from the initial states of forecasts on.

    Attributes:
        fields: (start, time, c, h, w).
        channels: Names of the channels.
        init_time: Times of the initial states, (start,).
    """

    fields: Tensor
    channels: tuple[str, ...]
    init_time: NDArray[np.datetime64]

    @property
    def scored(self) -> Tensor:
        """Channels that are scored, (start, time, c, h, w)."""
        return scored(self.fields, self.channels)

    @property
    def n_steps(self) -> int:
        """Number of times after the initial one."""
        return self.fields.shape[1] - 1


def truth_of(
    store: Store,
    split: str,
    n_steps: int | None = None,
    *,
    first: int = 0,
    every: int | None = None,
) -> Truth:
    """Return the truth of forecasts from states of a split.

    Args:
        store: Its trajectories, all with the same times.
        split: Split.
        n_steps: Steps of a forecast; None for all to the end of the trajectories.
        first: Steps of a trajectory before its first initial state.
        every: Steps between initial states of a trajectory; None for the first one alone.
    """
    count = len(store.time) - first if n_steps is None else n_steps + 1
    starts = range(first, first + 1 if every is None else len(store.time) - count + 1, every or 1)
    trajectories = [int(i) for i in store.split_indices(split)]
    fields = torch.stack([store.states(i, k, count) for i in trajectories for k in starts])
    return Truth(fields, store.channel_names, np.tile(store.time[list(starts)], len(trajectories)))


def scored(fields: Tensor, names: tuple[str, ...]) -> Tensor:
    """Return the channels that are scored, from fields (..., c, h, w) whose channels have names."""
    return fields[..., [names.index(name) for name in CHANNELS], :, :]


def vorticity_correlation(prediction: Tensor, target: Tensor, grid: Grid) -> Tensor:
    """Return the correlation over area of the vorticity of fields (b, c, h, w), shape (b,)."""
    channel, weights = CHANNELS.index("vorticity"), grid.area_weights
    p, t = (x[:, channel].double() for x in (prediction, target))
    p, t = (x - (x * weights).sum((-2, -1), keepdim=True) for x in (p, t))
    variances = [(x.square() * weights).sum((-2, -1)) for x in (p, t)]
    return (p * t * weights).sum((-2, -1)) / (variances[0] * variances[1]).sqrt()


def forecast_errors(
    steps: Iterable[Tensor], truth: Tensor, error: RelativeL2, experiment: Experiment
) -> dict[str, Any]:
    """Return errors of forecasts and their cost.

    Args:
        steps: Predictions of `CHANNELS` after each step, (start, c, h, w), computed as they are
            taken.
        truth: Scored channels, (start, time, c, h, w), from the initial state on.
        error: Error.
        experiment: Its time step is that of the truth.

    Returns:
        `errors` and `vorticity_correlation` after each step of each forecast, and
        `seconds_per_day`, the time to compute a day of one forecast.
    """
    errors, correlations, seconds, predictions = [], [], 0.0, iter(steps)
    for n in range(1, truth.shape[1]):
        started = time.perf_counter()
        predicted = next(predictions)
        seconds += time.perf_counter() - started
        errors.append([_rounded(e) for e in error(predicted, truth[:, n]).tolist()])
        of_vorticity = vorticity_correlation(predicted, truth[:, n], error.grid)
        correlations.append([_rounded(c) for c in of_vorticity.tolist()])
    days = len(truth) * (truth.shape[1] - 1) * experiment.seconds / DAY
    return {
        "errors": errors,
        "vorticity_correlation": correlations,
        "seconds_per_day": _rounded(seconds / days),
    }


def model_steps(forecaster: Forecaster, truth: Truth, n: int) -> Iterator[Tensor]:
    """Yield the scored channels of a rollout after each step.

    Args:
        forecaster: Model.
        truth: Its initial states are those of the rollout.
        n: Number of steps.
    """
    names = forecaster.channel_names
    fields = truth.fields[:, 0, [truth.channels.index(name) for name in names]]
    state = State(fields, truth.init_time).to(forecaster.static.device)
    for after in rollout(forecaster, state, n):
        yield scored(after.fields.cpu(), names)


def long_rollout(
    forecaster: Forecaster, store: Store, split: str, error: RelativeL2, experiment: Experiment
) -> dict[str, Any]:
    """Compare long rollouts with the truth at the same times.

    Args:
        forecaster: Model.
        store: Truth at every `long_every`-th step.
        split: Split of the store.
        error: Scaling of the sizes.
        experiment: Numbers of steps.

    Returns:
        `leaves`, the first step at which a value is outside the range of the truth widened by half
        its width on either side, None if there is none; `sizes`, the root mean square of the states
        over that of the truth at each of its times, by channel; `rms`, the last of these. The
        rollout ends when a value is not finite.
    """
    whole = truth_of(store, split, first=experiment.first // experiment.long_every)
    truth = whole.scored
    low, high = truth.amin((0, 1, 3, 4)), truth.amax((0, 1, 3, 4))
    low, high = low - (high - low) / 2, high + (high - low) / 2
    leaves, sizes = None, []
    steps = model_steps(forecaster, whole, whole.n_steps * experiment.long_every)
    for n, fields in enumerate(steps, start=1):
        inside = (fields.amin((0, 2, 3)) > low) & (fields.amax((0, 2, 3)) < high)  # False for NaN
        if leaves is None and not inside.all():
            leaves = n
        if n % experiment.long_every == 0:
            of_truth = truth[:, n // experiment.long_every]
            ratio = error.size(fields) / error.size(of_truth)
            sizes.append([_rounded(r) for r in ratio.tolist()])
        if not fields.isfinite().all():
            sizes.append([float("nan")] * len(CHANNELS))
            break
    return {"leaves": leaves, "rms": sizes[-1], "sizes": sizes}


def transfer(forecaster: Forecaster, store: Store, split: str) -> dict[str, float]:
    """Return 1-step errors of the same fields on other grids, relative to the training grid.

    Keys with ", fields" are of fields resampled to the training grid and back, those without it of
    operators discretised on the other grid.
    """
    own, names = store.grid, list(forecaster.channel_names)
    truth = truth_of(store.select(channels=names), split, n_steps=1)
    pair, start = truth.fields, truth.init_time
    errors = {}
    for nlat in (own.nlat, 2 * own.nlat, own.nlat // 2):
        grid = Grid.of(own.kind, nlat, own.nlon * nlat // own.nlat)
        fields = pair if grid == own else resample(pair.double(), own, grid).float()
        there = forecaster if grid == own else forecaster.on_grid(grid)
        models: dict[str, Model] = {"": there}
        if grid != own:
            models[", fields"] = ResamplingForecaster(forecaster, grid)
        error = RelativeL2(grid, forecaster.normalizer)
        for how, model in models.items():
            (state,) = rollout(model, State(fields[:, 0], start).to(there.static.device), 1)
            mean = error(state.fields.cpu(), fields[:, 1]).mean()
            errors[f"{grid.nlat}×{grid.nlon}{how}"] = float(mean)
    native = errors.pop(f"{own.nlat}×{own.nlon}")
    return {name: error / native for name, error in errors.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
