"""Solution of trajectories of one case, sampled at the times of a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray

from configs.solvers import ShallowWaterData
from data_prep.shallow_water.cases import Experiment
from data_prep.shallow_water.diagnostics import integrals, kinetic_energy_spectrum
from data_prep.shallow_water.sampling import Sampler
from data_prep.solvers.batch import Batch, Block, Failure, solve_batch
from data_prep.solvers.plan import seconds


@dataclass(frozen=True)
class FlowBlock(Block):
    """Block of samples with the diagnostics of the flow.

    Attributes:
        integrals: Integrals, (trajectory, time, 4), see `diagnostics.INTEGRALS`.
        spectrum: Kinetic energy of each degree, (trajectory, time, lmax).
    """

    integrals: NDArray[np.float64]
    spectrum: NDArray[np.float64]


def solve(
    experiment: Experiment,
    seeds: list[int],
    times: NDArray[np.datetime64],
    config: ShallowWaterData,
    sampler: Sampler,
    block: int,
    stopped: Event,
) -> Iterator[Block | Failure]:
    """Solve the trajectories of some seeds; see `solve_batch`.

    Args:
        experiment: Case and solver.
        seeds: Seeds of the initial states.
        times: Times of the samples; the first time is the end of the spin-up.
        config: Spin-up and solver step.
        sampler: Sampler of the fields.
        block: Number of times of a block.
        stopped: Event that ends the solution when it is set.
    """
    batch = _FlowBatch(experiment, seeds, config, sampler)
    return solve_batch(batch, times, seconds(config.spin_up), block, stopped)


class _FlowBatch(Batch):
    """Batch that also samples the diagnostics of the flow."""

    def __init__(
        self, experiment: Experiment, seeds: list[int], config: ShallowWaterData, sampler: Sampler
    ) -> None:
        states = torch.stack([experiment.initial_state(seed) for seed in seeds])
        super().__init__(experiment.solver, states, config.solver_dt)
        self.solver, self.sampler = experiment.solver, sampler

    def sample(self, index: int) -> FlowBlock:
        """See `Batch.sample`."""
        return FlowBlock(
            index,
            tuple(self.positions),
            self.sampler(self.state, self.solver.physics).float().cpu().numpy()[:, None],
            integrals(self.solver, self.state).cpu().numpy()[:, None],
            kinetic_energy_spectrum(self.solver, self.state).cpu().numpy()[:, None],
        )
