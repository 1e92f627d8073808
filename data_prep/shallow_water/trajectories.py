"""Solution of trajectories of one case, sampled at the times of a store."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.schema import ShallowWaterData
from configs.timestep import TimeStep
from data_prep.shallow_water.cases import Experiment
from data_prep.shallow_water.diagnostics import integrals, kinetic_energy_spectrum
from data_prep.shallow_water.equations import ShallowWater
from data_prep.shallow_water.sampling import Sampler

_EPOCH = np.datetime64("1970-01-01", "ns")


@dataclass(frozen=True)
class Block:
    """Samples of all unfailed trajectories of a batch over a range of times.

    Attributes:
        start: Index of the first time.
        positions: Positions of the trajectories in the batch.
        fields: Fields, float32, (trajectory, time, channel, nlat, nlon).
        integrals: Integrals, (trajectory, time, 4), see `diagnostics.INTEGRALS`.
        spectrum: Kinetic energy of each degree, (trajectory, time, lmax).
    """

    start: int
    positions: tuple[int, ...]
    fields: NDArray[np.float32]
    integrals: NDArray[np.float64]
    spectrum: NDArray[np.float64]


@dataclass(frozen=True)
class Failure:
    """Failure of a trajectory: a value that is not finite.

    Attributes:
        position: Position of the trajectory in the batch.
        time: Time at which the failure was found.
        last: Last finite state, (3, lmax, lmax).
    """

    position: int
    time: np.datetime64
    last: Tensor


@torch.no_grad()
def solve(
    experiment: Experiment,
    seeds: list[int],
    times: NDArray[np.datetime64],
    config: ShallowWaterData,
    sampler: Sampler,
    block: int,
    stopped: Event | None = None,
) -> Iterator[Block | Failure]:
    """Solve the trajectories of some seeds.

    Args:
        experiment: Case and solver.
        seeds: Seeds of the initial states.
        times: Times of the samples; the first time is the end of the spin-up.
        config: Spin-up and solver step.
        sampler: Sampler of the fields.
        block: Number of times of a block.
        stopped: Event that ends the solution when it is set.

    Yields:
        Blocks in the order of time, and failures as they occur. The block of a failure and later
        blocks lack the failed trajectory.
    """
    batch, stopped = _Batch(experiment, seeds, config), stopped or Event()
    moments = (times - _EPOCH) / np.timedelta64(1, "s")
    for start, end in _pieces(moments[0] - seconds(config.spin_up), moments[0]):
        yield from batch.advance(start, end, times[0])
        if stopped.is_set():
            return
    collected: list[Block] = []
    for i in range(len(times)):
        if i > 0:
            yield from batch.advance(moments[i - 1], moments[i], times[i])
        if not batch.positions or stopped.is_set():
            return
        collected.append(batch.sample(i, sampler))
        if i + 1 == len(times) or len(collected) == block:
            yield _joined(collected, tuple(batch.positions))
            collected = []


class _Batch:
    """Unfailed trajectories of a batch."""

    def __init__(self, experiment: Experiment, seeds: list[int], config: ShallowWaterData) -> None:
        self.solver, self.solver_dt = experiment.solver, config.solver_dt
        self.positions = list(range(len(seeds)))
        self.state = torch.stack([experiment.initial_state(seed) for seed in seeds])

    def advance(self, start: float, end: float, time: np.datetime64) -> Iterator[Failure]:
        """Advance all trajectories to a time, and drop those that fail."""
        before = self.state
        after = advance(self.solver, before, float(start), float(end - start), self.solver_dt)
        good = after.isfinite().flatten(1).all(dim=1)
        for row in torch.nonzero(~good).flatten().tolist():
            yield Failure(self.positions[row], time, before[row])
        kept = torch.nonzero(good).flatten().tolist()
        self.positions, self.state = [self.positions[row] for row in kept], after[good]

    def sample(self, index: int, sampler: Sampler) -> Block:
        """Return the present state as a block of one time."""
        return Block(
            index,
            tuple(self.positions),
            sampler(self.state, self.solver.physics).float().cpu().numpy()[:, None],
            integrals(self.solver, self.state).cpu().numpy()[:, None],
            kinetic_energy_spectrum(self.solver, self.state).cpu().numpy()[:, None],
        )


def _joined(blocks: list[Block], positions: tuple[int, ...]) -> Block:
    """Join blocks of consecutive times, for the positions that all blocks hold."""
    rows = [[block.positions.index(position) for position in positions] for block in blocks]
    return Block(
        blocks[0].start,
        positions,
        *(
            np.concatenate(
                [getattr(b, name)[row] for b, row in zip(blocks, rows, strict=True)], axis=1
            )
            for name in ("fields", "integrals", "spectrum")
        ),
    )


def _pieces(start: float, end: float) -> Iterator[tuple[float, float]]:
    """Split an interval into pieces of at most an hour, for each of which a step is chosen."""
    edges = np.linspace(start, end, math.ceil((end - start) / 3600) + 1)
    yield from zip(edges[:-1], edges[1:], strict=True)


def advance(
    solver: ShallowWater, state: Tensor, time: float, duration: float, dt: float | None
) -> Tensor:
    """Return states after a duration (s), with steps of at most dt (s) or automatic steps."""
    if dt is not None:
        return solver.advance(state, time, duration, math.ceil(duration / dt * (1 - 1e-12)))
    steps = solver.steps_for(state, duration)
    out = torch.empty_like(state)
    for n in steps.unique().tolist():
        same = steps == n
        out[same] = solver.advance(state[same], time, duration, n)
    return out


def seconds(text: str) -> int:
    """Return the length of a duration such as "0h", "12h" or "30d" in s.

    Raises:
        ValueError: if the text is neither 0 nor a number with a unit of fixed length.
    """
    if re.fullmatch(r"0+\s*(s|min|h|d)?", text.strip()):
        return 0
    length = TimeStep.parse(text).seconds
    if length is None:
        raise ValueError(f"duration {text!r} is in calendar months; give it in days, as in 30d")
    return length
