"""Problems that a store is made of: an equation set with its settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.solvers import EvolutionData, SolverData
from data_prep.equations.spectral_solver import SpectralSolver
from data_prep.solvers.batch import Batch, Block, Failure, solve_batch
from data_prep.solvers.plan import seconds
from sphere_ops.grid import Grid


@dataclass(frozen=True)
class Description:
    """Description of a problem for its store.

    Attributes:
        title: Short title.
        source: Short description of the solver.
        case: Name of the case of the trajectories.
        channels: Names of the variables that the problem has.
        radius: Radius of the sphere, m; None if lengths have no meaning.
    """

    title: str
    source: str
    case: str
    channels: tuple[str, ...]
    radius: float | None = None


class Problem(ABC):
    """Equation set with its settings.

    Attributes:
        description: Description for the store.
    """

    description: Description

    @abstractmethod
    def solve(
        self, seeds: Sequence[int], times: NDArray[np.datetime64], block: int, stopped: Event
    ) -> Iterable[Block | Failure]:
        """Solve the trajectories of some seeds.

        Args:
            seeds: Seeds of the trajectories.
            times: Times of the samples.
            block: Number of times of a block.
            stopped: Event that ends the solution when it is set.

        Returns:
            Blocks in the order of time, and failures as they occur.
        """


class Evolution(Problem):
    """Problem of equations with time.

    Args:
        description: Description for the store.
        solver: Solver of the equations.
        data: Settings.
    """

    def __init__(
        self, description: Description, solver: SpectralSolver, data: EvolutionData
    ) -> None:
        self.description, self._solver = description, solver
        self._solver_dt, self._spin_up = data.solver_dt, seconds(data.spin_up)

    @abstractmethod
    def initial_states(self, seeds: Sequence[int]) -> Tensor:
        """Return the initial states of some seeds, (n, ...)."""

    @abstractmethod
    def sample(self, state: Tensor) -> Tensor:
        """Return the fields of states, (n, channel, nlat, nlon)."""

    def solve(
        self, seeds: Sequence[int], times: NDArray[np.datetime64], block: int, stopped: Event
    ) -> Iterable[Block | Failure]:
        """See `Problem.solve`."""
        batch = _SampledBatch(self, self._solver, self.initial_states(seeds), self._solver_dt)
        return solve_batch(batch, times, self._spin_up, block, stopped)


class _SampledBatch(Batch):
    """Batch of trajectories that a problem samples."""

    def __init__(
        self, problem: Evolution, solver: SpectralSolver, states: Tensor, dt: float | None
    ) -> None:
        super().__init__(solver, states, dt)
        self._problem = problem

    def sample(self, index: int) -> Block:
        """See `Batch.sample`."""
        fields = self._problem.sample(self.state).float().numpy()[:, None]
        return Block(index, tuple(self.positions), fields)


def store_grid(data: SolverData) -> Grid:
    """Return the grid of the store."""
    return Grid.of(data.grid.kind, data.grid.nlat, data.grid.nlon)


def real_type(data: EvolutionData) -> torch.dtype:
    """Return the real type of the solver."""
    return torch.float64 if data.dtype == "float64" else torch.float32
