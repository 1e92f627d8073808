"""Generation of a training store from an equation set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from threading import Event

import numpy as np
import yaml
from numpy.typing import NDArray

from configs.solvers import BarotropicData, DarcyData, DiffusionReactionData
from configs.variables import variable
from data_prep.equations.barotropic import BarotropicProblem
from data_prep.equations.darcy import DarcyProblem
from data_prep.equations.diffusion_reaction import DiffusionReactionProblem
from data_prep.equations.problem import Problem, store_grid
from data_prep.solvers.batch import Block, Failure
from data_prep.solvers.plan import Plan, batches, n_threads, plan_trajectories, valid_times
from data_prep.solvers.run import Progress, TrajectoryRun, explained_interrupt
from data_prep.store.outputs import check_output
from data_prep.store.spec import StoreSpec, Trajectories
from data_prep.store.writer import StoreWriter

EquationData = BarotropicData | DiffusionReactionData | DarcyData
"""Sections of the configuration that name an equation set."""


def generate(config: EquationData, out: Path, progress: Progress | None = None) -> Path:
    """Solve trajectories and write them to a store; an unfinished store is resumed.

    Args:
        config: Equations, grid, times and numbers of trajectories.
        out: Path of the store.
        progress: Callback with (done, total, note), called as trajectories are written.

    Returns:
        Path of the store.

    Raises:
        ValueError: if a parameter or variable is invalid, if no training trajectory stays finite,
            or if `out` has an unfinished store of another configuration.
        FileExistsError: if `out` exists.
    """
    out = check_output(out)
    with explained_interrupt():
        return _generate(config, out, progress)


def make_problem(config: EquationData) -> Problem:
    """Return the problem of a configuration.

    Raises:
        ValueError: if it does not have one of the variables, or a parameter is invalid.
    """
    problem = _problem(config)
    known = problem.description.channels
    if wrong := [name for name in config.channels if name not in known]:
        raise ValueError(
            f"the solver of {config.source} has no variable {wrong[0]!r}; it has {', '.join(known)}"
        )
    return problem


def _problem(config: EquationData) -> Problem:
    match config:
        case BarotropicData():
            return BarotropicProblem(config)
        case DiffusionReactionData():
            return DiffusionReactionProblem(config)
        case DarcyData():
            return DarcyProblem(config)


def _generate(config: EquationData, out: Path, progress: Progress | None) -> Path:
    problem = make_problem(config)
    plans = plan_trajectories(config.trajectories, config.seed)
    times = valid_times(config.start_time, config.time_step, config.n_steps)
    writer = StoreWriter(out, _spec(config, problem, plans, times), resume=True)

    def solved(batch: list[Plan], stopped: Event) -> Iterable[Block | Failure]:
        seeds = [p.seed for p in batch]
        return problem.solve(seeds, times, writer.spec.times_per_shard, stopped)

    with writer:
        run = TrajectoryRun(writer, times, len(plans), progress)
        missing = [plans[index] for index in writer.missing]
        state_bytes = 4 * int(np.prod(writer.spec.shape[1:]))
        parts = batches(missing, config.batch_size, state_bytes)
        run.solve(parts, solved, n_threads(config.batch_size))
        run.check_enough(plans, "give a shorter solver_dt, or more diffusion")
        return writer.finalise()


def _spec(
    config: EquationData,
    problem: Problem,
    plans: list[Plan],
    times: NDArray[np.datetime64],
) -> StoreSpec:
    about = problem.description
    return StoreSpec(
        grid=store_grid(config),
        channels=tuple(variable(name) for name in config.channels),
        time=times,
        time_step=config.time_step,
        split=[p.split for p in plans],
        title=about.title,
        source=about.source,
        configuration=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
        trajectories=Trajectories(np.array([p.seed for p in plans]), (about.case,) * len(plans)),
        radius=about.radius,
    )
