"""Numbers of channels with which a peer has the parameters, or the time per step, of our row."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import torch

from benchmarks.accuracy.study.experiments import Experiment
from benchmarks.accuracy.study.rows import Row, row
from benchmarks.speed.measure import interleaved
from benchmarks.speed.training import random_batch, training_step
from sphere_ops.grid import Grid

_FEWEST, _MOST = 2, 128
_RUNS = 5


def equal_channels(of: Row, experiment: Experiment, device: torch.device) -> int | None:
    """Return the number of channels of a row with an option of `EQUAL`; None for other rows.

    It is that with which the row is nearest to the row `matched` of the experiment. Times are
    those of a training step, interleaved with steps of that row; nothing else should run.
    """
    ours = row(experiment.matched)
    if "equal parameters" in of.options:
        target = float(parameters(ours, experiment))
        return nearest(lambda channels: parameters(of, experiment, channels), target)
    if "equal time" in of.options:
        return nearest(lambda channels: _time_ratio(of, ours, experiment, channels, device), 1.0)
    return None


def parameters(of: Row, experiment: Experiment, channels: int | None = None) -> int:
    """Return the number of real parameters of the network of a row."""
    config = of.config(experiment, channels=channels)
    grid, predicted = (
        Grid.legendre_gauss(experiment.nlat, 2 * experiment.nlat),
        config.data.variables,
    )
    inputs = len(predicted) + len(config.model.static) + len(config.model.forcing)
    network = of.build(config.model, inputs, len(predicted), grid)
    return sum(network.parameter_counts().values())


def nearest(measure: Callable[[int], float], target: float) -> int:
    """Return the number from 2 to 128 whose measure, which grows, has the ratio nearest to 1."""
    measured = cache(measure)
    low, high = _FEWEST, _MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if measured(middle) < target else (low, middle)
    return min((low, high), key=lambda n: abs(math.log(measured(n) / target)))


def _time_ratio(
    of: Row, ours: Row, experiment: Experiment, channels: int, device: torch.device
) -> float:
    """Return the time of a training step over that of our row."""

    def step(timed: Row, channels: int | None) -> Callable[[], object]:
        config = timed.config(experiment, channels=channels)
        return partial(training_step(timed.build, config, device), random_batch(config, device))

    steps = {"peer": step(of, channels), "ours": step(ours, None)}
    times = interleaved(steps, _RUNS, device)
    return times["peer"].minimum / times["ours"].minimum
