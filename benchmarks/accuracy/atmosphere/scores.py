"""Scores of forecasts of an atmosphere, their references, and rollouts to the end of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from configs import layout
from data_prep.store.climatology import Climatology
from data_prep.store.reader import Store
from data_prep.store.spectra import degree_power, transforms
from forecast.inference.models.cascade import Cascade
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.state import State
from sphere_ops.parallel.fields import area_mean

Model = Forecaster | Cascade
LEADS = (6, 24, 72, 120, 168, 240, 360)
"""Lead times, h. A model of longer steps has no scores at those that it does not reach."""
_STARTS = 40
_SAMPLES = 200  # states of the statistics of a long rollout and of the truth
_BATCH = 20


def forecast_scores(models: Sequence[Model], store: Store, split: str) -> dict[str, Any]:
    """Return RMSE, bias and anomaly correlation of each channel at the lead times.

    Args:
        models: Models whose mean is scored, at the lead times that all of them reach; each with the
            time step of the store or a multiple of it.
        store: Store with their channels and forcings.
        split: Split of the starts.
    """
    steps, starts = _steps(store), _starts(store, split)
    sums = Scores(store)
    for part in np.array_split(starts, -(-len(starts) // _BATCH)):
        found: dict[int, list[Tensor]] = {n: [] for n in steps}
        for model in models:
            stride = stride_of(model, store)
            for n, fields in forecast_steps(model, store, part, steps[-1] // stride):
                if n * stride in steps:
                    found[n * stride].append(fields)
        for i, n in enumerate(steps):
            if len(found[n]) == len(models):
                sums.add(i, torch.stack(found[n]).mean(0), part + n)
    return sums.scores()


def stride_of(forecaster: Model, store: Store) -> int:
    """Return the number of time steps of a store in one of a model."""
    stride = forecaster.time_step.multiple_of(store.time_step)
    if stride is None:
        raise ValueError(
            f"the model has steps of {forecaster.time_step}, which are no multiple of the "
            f"{store.time_step} of {store.path}; give a store of its step or a finer one"
        )
    return stride


def references(store: Store, split: str) -> dict[str, Any]:
    """Return the scores of persistence, climatology and damped persistence."""
    steps, starts = _steps(store), _starts(store, split)
    damping = _damping(store, steps)
    found: dict[str, Any] = {}
    sums = {name: Scores(store) for name in ("persistence", "climatology", "damped persistence")}
    for i in starts:
        first = _predicted(store, [i])
        anomaly = first - _climatology(store, np.array([i]))
        for k, n in enumerate(steps):
            at = np.array([i + n])
            season = _climatology(store, at)
            sums["persistence"].add(k, first, at)
            sums["climatology"].add(k, season, at)
            sums["damped persistence"].add(k, season + damping[k] * anomaly, at)
    for name, of in sums.items():
        found[name] = of.scores()
    return found


def year_of(forecaster: Forecaster, store: Store, split: str, *, limiter: bool) -> dict[str, Any]:
    """Follow the first state of a split to its end, and compare with the truth at these times.

    Returns:
        For each channel the bias of the time mean, its pattern correlation with the truth's, the
        ratio of the standard deviations about the time mean, and the ratio of the power of each
        degree; the step at which a value leaves the range of the truth, widened by
        half its width, or is not finite, or None.
    """
    kept = forecaster.limiter, forecaster.range_limiter
    if not limiter:
        forecaster.remove_limiters()
    try:
        return _followed(forecaster, store, split)
    finally:
        forecaster.limiter, forecaster.range_limiter = kept


def _followed(forecaster: Forecaster, store: Store, split: str) -> dict[str, Any]:
    stride = stride_of(forecaster, store)
    indices = store.split_indices(split)[::stride]
    count = len(indices) - 1
    every = max(1, count // _SAMPLES)
    low, high = store.statistics[layout.MINIMUM], store.statistics[layout.MAXIMUM]
    c = len(forecaster.channels)
    margin = (high - low)[:c] / 2
    ours, truth = _Moments(store), _Moments(store)
    left = None
    for n, fields in forecast_steps(forecaster, store, indices[:1], count):
        outside = (fields.amin((0, 2, 3)) < low[:c] - margin) | (
            fields.amax((0, 2, 3)) > high[:c] + margin
        )
        if not torch.isfinite(fields).all():
            left = n if left is None else left
            break
        if left is None and outside.any():
            left = n
        if n % every == 0:
            ours.add(fields)
            truth.add(_predicted(store, indices[[n]]))
    return {"steps": count, "left_range_at": left, "channels": ours.compare(truth)}


def forecast_steps(
    forecaster: Model, store: Store, starts: np.ndarray, steps: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the number of each step of forecasts, and their fields, (b, c, nlat, nlon)."""
    state, stride = initial_state(forecaster, store, starts), stride_of(forecaster, store)
    forcing = None
    if forecaster.forcing_channels:
        forcing = (given_forcing(store, starts + n * stride) for n in range(1, steps + 1))
    for n, following in enumerate(rollout(forecaster, state, steps, forcing=forcing), start=1):
        yield n, following.fields


def initial_state(forecaster: Model, store: Store, starts: np.ndarray) -> State:
    """Return the state of a store at some of its times, (b,), with the history of the model."""
    times = np.array([store.valid_time(0, int(i)) for i in starts])
    stride, n = stride_of(forecaster, store), forecaster.n_history
    earlier = [_predicted(store, starts - k * stride) for k in range(n, 0, -1)]
    return State(_predicted(store, starts), times, tuple(earlier))


def given_forcing(store: Store, at: np.ndarray) -> Tensor:
    """Return the forcing channels at times of the store, (b,)."""
    given = [i for i, v in enumerate(store.channels) if v.role == "forcing"]
    return torch.stack([store.state(0, int(i))[given] for i in at]).float()


def predicted_channels(store: Store) -> list[int]:
    """Return the indices of the channels that a model predicts."""
    return [i for i, v in enumerate(store.channels) if v.role != "forcing"]


def _predicted(store: Store, at: Any) -> Tensor:
    return torch.stack([store.state(0, int(i))[predicted_channels(store)] for i in at]).float()


def _steps(store: Store) -> list[int]:
    hours = store.time_step.hours
    assert hours is not None
    return [round(lead / hours) for lead in LEADS]


def _starts(store: Store, split: str) -> np.ndarray:
    indices = store.split_indices(split)
    last = len(indices) - 1 - _steps(store)[-1]
    return indices[np.linspace(0, last, _STARTS).round().astype(int)]


def _climatology(store: Store, at: np.ndarray) -> Tensor:
    monthly = store.statistics[layout.CLIMATOLOGY][:, predicted_channels(store)].float()
    times = np.array([store.valid_time(0, int(i)) for i in at])
    return Climatology(monthly, store.time_step).at(times)


def _damping(store: Store, steps: list[int]) -> list[Tensor]:
    """Return the regression of later anomalies on earlier ones in the training split, (c, 1, 1)."""
    indices = store.split_indices("train")
    chosen = indices[np.linspace(0, len(indices) - 1 - steps[-1], 2 * _STARTS).astype(int)]
    grid = store.grid
    cross, square = [0.0 * torch.ones(1)] * len(steps), torch.zeros(1)
    for i in chosen:
        first = (_predicted(store, [i]) - _climatology(store, np.array([i])))[0]
        square = square + area_mean(first.square(), grid)
        for k, n in enumerate(steps):
            later = (_predicted(store, [i + n]) - _climatology(store, np.array([i + n])))[0]
            cross[k] = cross[k] + area_mean(first * later, grid)
    return [(x / square)[:, None, None] for x in cross]


class Scores:
    """Sums of squared errors, errors and products of anomalies, by lead time and channel."""

    def __init__(self, store: Store) -> None:
        self.store, self.names = store, [store.channels[i].name for i in predicted_channels(store)]
        self.sums = np.zeros((5, len(LEADS), len(self.names)))
        self.count = np.zeros(len(LEADS))

    def add(self, lead: int, fields: Tensor, at: np.ndarray) -> None:
        """Add forecasts (b, c, nlat, nlon) that are valid at times of the store, (b,)."""
        truth, season, grid = (
            _predicted(self.store, at),
            _climatology(self.store, at),
            self.store.grid,
        )
        error, forecast, true = fields - truth, fields - season, truth - season
        parts = error.square(), error, forecast * true, forecast.square(), true.square()
        for row, part in zip(self.sums, parts, strict=True):
            row[lead] += area_mean(part.double(), grid).sum(0).numpy()
        self.count[lead] += len(fields)

    def scores(self) -> dict[str, Any]:
        """Return RMSE, bias, ACC by lead time, and the spread of the truth about climatology."""
        with np.errstate(invalid="ignore"):  # lead times without forecasts
            squares, errors, cross, forecast, true = self.sums / self.count[:, None]
        acc = cross / np.sqrt(np.maximum(forecast * true, 1e-300))
        return {
            name: {
                "rmse": _rounded(np.sqrt(squares[:, c])),
                "bias": _rounded(errors[:, c]),
                "acc": _rounded(acc[:, c]),
                "spread": float(f"{np.sqrt(np.nanmean(true[:, c])):.5g}"),
            }
            for c, name in enumerate(self.names)
        }


class _Moments:
    """Time mean, variance, zonal mean and power by degree of states as they come."""

    def __init__(self, store: Store) -> None:
        self.grid, self.names = (
            store.grid,
            [store.channels[i].name for i in predicted_channels(store)],
        )
        self._to_degrees, self._to_field = transforms(self.grid, self.grid.exact_lmax)
        self.total: Any = 0
        self.squares: Any = 0
        self.power: Any = 0
        self.count = 0

    def add(self, fields: Tensor) -> None:
        """Add states, (b, c, nlat, nlon)."""
        fields = fields.double()
        coeffs = self._to_degrees(fields.float())
        power = degree_power(coeffs, torch.zeros_like(fields.float()), self.grid)[..., :-1]
        self.total = self.total + fields.sum(0)
        self.squares = self.squares + fields.square().sum(0)
        self.power = self.power + power.double().sum(0)
        self.count += len(fields)

    def compare(self, truth: _Moments) -> dict[str, Any]:
        """Return the comparison with the truth; empty if there are no states."""
        if not self.count:
            return {}
        found, grid = {}, self.grid
        ours, theirs = self.total / self.count, truth.total / truth.count
        deviation = [
            (area_mean(m.squares / m.count - (m.total / m.count).square(), grid))
            .clamp(min=0)
            .sqrt()
            for m in (self, truth)
        ]
        anomaly = [m - area_mean(m, grid)[:, None, None] for m in (ours, theirs)]
        pattern = (
            area_mean(anomaly[0] * anomaly[1], grid)
            / (area_mean(anomaly[0].square(), grid) * area_mean(anomaly[1].square(), grid)).sqrt()
        )
        zonal = (ours - theirs).mean(-1).abs().amax(-1)
        ratio = (self.power / self.count) / (truth.power / truth.count)
        for c, name in enumerate(self.names):
            found[name] = {
                "bias": float(area_mean(ours - theirs, grid)[c]),
                "rms_of_mean": float(area_mean((ours - theirs).square(), grid)[c].sqrt()),
                "largest_zonal_mean_difference": float(zonal[c]),
                "pattern_correlation": float(pattern[c]),
                "deviation_ratio": float(deviation[0][c] / deviation[1][c]),
                "power_ratio": [float(f"{x:.3g}") for x in ratio[c]],
            }
        return found


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{x:.5g}") for x in values]
