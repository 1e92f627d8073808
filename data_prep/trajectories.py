"""Trajectories of one case, solved together and sampled at the times of a store."""

from __future__ import annotations

import math
import re

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.schema import ShallowWaterData
from configs.timestep import TimeStep
from data_prep.cases import Experiment
from data_prep.sampling import Sampler
from data_prep.shallow_water import ShallowWater

_EPOCH = np.datetime64("1970-01-01", "ns")


@torch.no_grad()
def solve(
    experiment: Experiment,
    seeds: list[int],
    times: NDArray[np.datetime64],
    config: ShallowWaterData,
    sampler: Sampler,
) -> NDArray[np.float32]:
    """Fields of the trajectories of some seeds, (trajectory, time, channel, nlat, nlon).

    Args:
        experiment: the case.
        seeds: of the trajectories.
        times: at which they are sampled; the first is the end of the spin-up.
        config: spin-up and solver step.
        sampler: what is sampled, and where.

    Raises:
        ValueError: if the solver step of the configuration is too long for these trajectories.
    """
    solver = experiment.solver
    state = torch.stack([experiment.initial_state(seed) for seed in seeds])
    if config.solver_dt is not None:
        solver.check_step(state, config.solver_dt)
    moments = (times - _EPOCH) / np.timedelta64(1, "s")
    spin_up = seconds(config.spin_up)
    if spin_up:
        step = max(float(moments[1] - moments[0]), 3600.0)
        pieces = np.linspace(moments[0] - spin_up, moments[0], math.ceil(spin_up / step) + 1)
        for start, end in zip(pieces[:-1], pieces[1:], strict=True):
            state = advance(solver, state, float(start), float(end - start), config.solver_dt)
    fields = np.empty(
        (len(seeds), len(times), len(sampler.variables), *sampler.grid.shape), np.float32
    )
    fields[:, 0] = sampler(state, solver.setting).cpu().numpy()
    for i, (start, end) in enumerate(zip(moments[:-1], moments[1:], strict=True), start=1):
        state = advance(solver, state, float(start), float(end - start), config.solver_dt)
        fields[:, i] = sampler(state, solver.setting).cpu().numpy()
    return fields


def advance(
    solver: ShallowWater, state: Tensor, time: float, duration: float, dt: float | None
) -> Tensor:
    """States after a duration (s), with steps of at most dt (s) or chosen from each one's flow."""
    if dt is not None:
        return solver.advance(state, time, duration, math.ceil(duration / dt * (1 - 1e-12)))
    steps = solver.steps_for(state, duration)
    out = torch.empty_like(state)
    for n in steps.unique().tolist():
        same = steps == n
        out[same] = solver.advance(state[same], time, duration, n)
    return out


def seconds(text: str) -> int:
    """A duration such as "0h", "12h" or "30d" in s.

    Raises:
        ValueError: if it is neither 0 nor a number of a unit of fixed length.
    """
    if re.fullmatch(r"0+\s*(s|min|h|d)?", text.strip()):
        return 0
    length = TimeStep.parse(text).seconds
    if length is None:
        raise ValueError(f"duration {text!r} is in calendar months; write it in days, as in 30d")
    return length
