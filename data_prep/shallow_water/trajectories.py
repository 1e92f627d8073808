"""Trajectories of one case, solved together and sampled at the times of a store."""

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
    """What was solved between two times, for each trajectory that is still going.

    Attributes:
        start: index of the first time.
        positions: positions of the trajectories in the batch.
        fields: (position, time, channel, nlat, nlon) float32.
        integrals: (position, time, 4), see `diagnostics.INTEGRALS`.
        spectrum: kinetic energy of each degree, (position, time, lmax).
    """

    start: int
    positions: tuple[int, ...]
    fields: NDArray[np.float32]
    integrals: NDArray[np.float64]
    spectrum: NDArray[np.float64]


@dataclass(frozen=True)
class Failure:
    """A trajectory that stopped because a value was not finite.

    Attributes:
        position: its position in the batch.
        time: at which it was found.
        last: its last finite state, (3, lmax, lmax).
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
        experiment: the case.
        seeds: of the trajectories.
        times: at which they are sampled; the first is the end of the spin-up.
        config: spin-up and solver step.
        sampler: what is sampled, and where.
        block: number of times after which what is solved is handed out.
        stopped: once it is set, nothing more is solved.

    Yields:
        Blocks in the order of time, and failures as they occur; a trajectory that has failed is in
        no later block, and not in that of its failure.
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
    """The trajectories that are still going."""

    def __init__(self, experiment: Experiment, seeds: list[int], config: ShallowWaterData) -> None:
        self.solver, self.solver_dt = experiment.solver, config.solver_dt
        self.positions = list(range(len(seeds)))
        self.state = torch.stack([experiment.initial_state(seed) for seed in seeds])

    def advance(self, start: float, end: float, time: np.datetime64) -> Iterator[Failure]:
        """Go on to a time, and drop the trajectories that do not get there."""
        before = self.state
        after = advance(self.solver, before, float(start), float(end - start), self.solver_dt)
        good = after.isfinite().flatten(1).all(dim=1)
        for row in torch.nonzero(~good).flatten().tolist():
            yield Failure(self.positions[row], time, before[row])
        kept = torch.nonzero(good).flatten().tolist()
        self.positions, self.state = [self.positions[row] for row in kept], after[good]

    def sample(self, index: int, sampler: Sampler) -> Block:
        """The present state as a block of one time."""
        return Block(
            index,
            tuple(self.positions),
            sampler(self.state, self.solver.physics).float().cpu().numpy()[:, None],
            integrals(self.solver, self.state).cpu().numpy()[:, None],
            kinetic_energy_spectrum(self.solver, self.state).cpu().numpy()[:, None],
        )


def _joined(blocks: list[Block], positions: tuple[int, ...]) -> Block:
    """Blocks of one time after the other as one, of the positions that are in all."""
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
    """An interval in pieces of at most an hour, so that the step follows the flow."""
    edges = np.linspace(start, end, math.ceil((end - start) / 3600) + 1)
    yield from zip(edges[:-1], edges[1:], strict=True)


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
