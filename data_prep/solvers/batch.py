"""Solution of a batch of trajectories, sampled at the times of a store."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from threading import Event
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.solvers.time_stepping import Solver, advance

_EPOCH = np.datetime64("1970-01-01", "ns")


@dataclass(frozen=True)
class Block:
    """Samples of all unfailed trajectories of a batch over a range of times.

    Attributes:
        start: Index of the first time.
        positions: Positions of the trajectories in the batch.
        fields: Fields, float32, (trajectory, time, channel, nlat, nlon).
    """

    start: int
    positions: tuple[int, ...]
    fields: NDArray[np.float32]


B = TypeVar("B", bound=Block)


@dataclass(frozen=True)
class Failure:
    """Failure of a trajectory: a value that is not finite.

    Attributes:
        position: Position of the trajectory in the batch.
        time: Time at which the failure was found.
        last: Last finite state of the solver.
    """

    position: int
    time: np.datetime64
    last: Tensor


class Batch(ABC):
    """Unfailed trajectories that are solved together.

    Args:
        solver: Solver of the equations.
        states: Initial states, with the trajectories in the first dimension.
        solver_dt: Longest step of the solver, s; None for automatic steps.
    """

    def __init__(self, solver: Solver, states: Tensor, solver_dt: float | None) -> None:
        self._solver, self._solver_dt = solver, solver_dt
        self.positions = list(range(len(states)))
        self.state = states

    def advance(self, start: float, end: float, time: np.datetime64) -> Iterator[Failure]:
        """Advance all trajectories to a time, and drop those that fail."""
        before = self.state
        after = advance(self._solver, before, float(start), float(end - start), self._solver_dt)
        good = after.isfinite().flatten(1).all(dim=1)
        for row in torch.nonzero(~good).flatten().tolist():
            yield Failure(self.positions[row], time, before[row])
        kept = torch.nonzero(good).flatten().tolist()
        self.positions, self.state = [self.positions[row] for row in kept], after[good]

    @abstractmethod
    def sample(self, index: int) -> Block:
        """Return the present state as a block of one time, which has this index."""


@torch.no_grad()
def solve_batch(
    batch: Batch, times: NDArray[np.datetime64], spin_up: int, block: int, stopped: Event
) -> Iterator[Block | Failure]:
    """Solve a batch of trajectories.

    Args:
        batch: Trajectories, with their initial states.
        times: Times of the samples; the first time is the end of the spin-up.
        spin_up: Time that is solved before the first sample, s.
        block: Number of times of a block.
        stopped: Event that ends the solution when it is set.

    Yields:
        Blocks in the order of time, and failures as they occur. The block of a failure and later
        blocks lack the failed trajectory.
    """
    moments = (times - _EPOCH) / np.timedelta64(1, "s")
    for start, end in _pieces(moments[0] - spin_up, moments[0]):
        yield from batch.advance(start, end, times[0])
        if stopped.is_set():
            return
    collected: list[Block] = []
    for i in range(len(times)):
        if i > 0:
            yield from batch.advance(moments[i - 1], moments[i], times[i])
        if not batch.positions or stopped.is_set():
            return
        collected.append(batch.sample(i))
        if i + 1 == len(times) or len(collected) == block:
            yield _joined(collected, tuple(batch.positions))
            collected = []


def _joined(blocks: list[B], positions: tuple[int, ...]) -> B:
    """Join blocks of consecutive times, for the positions that all blocks hold."""
    rows = [[block.positions.index(position) for position in positions] for block in blocks]
    arrays: dict[str, Any] = {
        name: np.concatenate(
            [getattr(b, name)[row] for b, row in zip(blocks, rows, strict=True)], axis=1
        )
        for name in (f.name for f in fields(blocks[0]))
        if name not in ("start", "positions")
    }
    return replace(blocks[0], positions=positions, **arrays)


def _pieces(start: float, end: float) -> Iterator[tuple[float, float]]:
    """Split an interval into pieces of at most an hour, for each of which a step is chosen."""
    edges = np.linspace(start, end, math.ceil((end - start) / 3600) + 1)
    yield from zip(edges[:-1], edges[1:], strict=True)
