"""Errors of the forecasters of the ablation and of persistence, long rollouts, other grids."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from data_prep.store.reader import Store
from forecast.inference.rollout import Model, rollout
from forecast.model.forecaster import Forecaster
from forecast.model.normalizer import Normalizer
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import State
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample


def measure(forecaster: Forecaster, store: Store, long: int, long_states: int) -> dict[str, Any]:
    """Return errors, and the step at which a long rollout leaves the range of the truth."""
    truth = _test_states(store)
    low, high = truth.amin((0, 1, 3, 4)), truth.amax((0, 1, 3, 4))
    low, high = low - (high - low) / 2, high + (high - low) / 2
    device, normalizer = forecaster.static.device, forecaster.normalizer
    steps = truth.shape[1] - 1
    start = store.time[:1].repeat(len(truth))
    errors = [
        float(relative_l2(normalizer, store.grid, state.fields.cpu(), truth[:, n]).mean())
        for n, state in enumerate(
            rollout(forecaster, State(truth[:, 0], start).to(device), steps), start=1
        )
    ]
    leaves = None
    first = truth[:long_states]
    initial = State(first[:, 0], start[: len(first)]).to(device)
    for n, state in enumerate(rollout(forecaster, initial, long), start=1):
        last = state.fields.cpu()
        inside = (last.amin((0, 2, 3)) > low) & (last.amax((0, 2, 3)) < high)  # False for NaN
        if leaves is None and not inside.all():
            leaves = n
        if not last.isfinite().all():
            break
    area = store.grid.area_weights

    def size(x: Tensor) -> Tensor:
        return (_normalised(normalizer, x).square() * area).sum((-2, -1)).mean(0).sqrt()

    rms = (size(last) / size(first[:, -1])).tolist()
    return {"errors": errors, "leaves": leaves, "rms": rms}


def persistence(store: Store) -> list[float]:
    """Return the errors after each step of a forecast that stays at its initial state."""
    truth, normalizer = _test_states(store), Normalizer.from_store(store, "mean")
    return [
        float(relative_l2(normalizer, store.grid, truth[:, 0], truth[:, n]).mean())
        for n in range(1, truth.shape[1])
    ]


def relative_l2(normalizer: Normalizer, grid: Grid, prediction: Tensor, target: Tensor) -> Tensor:
    """Return the relative L2 error in normalised units, mean over channels, (b,)."""
    area = grid.area_weights

    def norm(x: Tensor) -> Tensor:
        return (x.square() * area).sum((-2, -1)).sqrt()

    p, t = _normalised(normalizer, prediction), _normalised(normalizer, target)
    return (norm(p - t) / norm(t)).mean(-1)


def transfer(forecaster: Forecaster, store: Store) -> dict[str, float]:
    """Return 1-step errors of the same fields on other grids, relative to the training grid."""
    pair, own = _test_states(store)[:, :2], store.grid
    start = store.time[:1].repeat(len(pair))
    errors = {}
    for nlat in (own.nlat, 2 * own.nlat, own.nlat // 2):
        grid = Grid.of(own.kind, nlat, own.nlon * nlat // own.nlat)
        fields = pair if grid == own else resample(pair.double(), own, grid).float()
        there = forecaster if grid == own else forecaster.on_grid(grid)
        models: dict[str, Model] = {"": there}
        if grid != own:
            models[", fields"] = ResamplingForecaster(forecaster, grid)
        for how, model in models.items():
            (state,) = rollout(model, State(fields[:, 0], start).to(there.static.device), 1)
            error = relative_l2(there.normalizer, grid, state.fields.cpu(), fields[:, 1]).mean()
            errors[f"{grid.nlat}×{grid.nlon}{how}"] = float(error)
    native = errors.pop(f"{own.nlat}×{own.nlon}")
    return {name: error / native for name, error in errors.items()}


def _normalised(normalizer: Normalizer, state: Tensor) -> Tensor:
    """Return a state on the CPU in standard deviations of the training data, float64."""
    mean, std = normalizer.mean.cpu().double(), normalizer.std.cpu().double()
    return (state.double() - mean[:, None, None]) / std[:, None, None]


@lru_cache(maxsize=1)
def _test_states(store: Store) -> Tensor:
    """Return the test trajectories, (trajectory, time, c, h, w)."""
    return torch.stack([store.states(i, 0, len(store.time)) for i in store.split_indices("test")])
