"""Generation of a training store: plan of its trajectories, solution and writing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from configs.solvers import ShallowWaterData
from configs.variables import VARIABLES, variable
from data_prep.shallow_water.cases import Experiment
from data_prep.shallow_water.diagnostics_record import DiagnosticsRecord
from data_prep.shallow_water.equations import VORTICITY
from data_prep.shallow_water.sampling import CHANNELS, Sampler
from data_prep.shallow_water.solver_plots import draw_diagnostics, draw_failure
from data_prep.shallow_water.trajectories import FlowBlock, solve
from data_prep.solvers.batch import Block, Failure
from data_prep.solvers.plan import (
    Plan,
    batches,
    n_threads,
    plan_trajectories,
    seconds,
    valid_times,
)
from data_prep.solvers.run import Progress, TrajectoryRun, explained_interrupt
from data_prep.store.outputs import check_output, written_beside
from data_prep.store.spec import StoreSpec, Trajectories
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

log = logging.getLogger(__name__)


def generate_shallow_water(
    config: ShallowWaterData, out: Path, progress: Progress | None = None
) -> Path:
    """Solve trajectories and write them to a store; an unfinished store is resumed.

    Args:
        config: Cases, grid, times and numbers of trajectories.
        out: Path of the store.
        progress: Callback with (done, total, note), called as trajectories are written.

    Returns:
        Path of the store.

    Raises:
        ValueError: if a case, parameter, variable or solver step is invalid, or if `out` has an
            unfinished store of another configuration.
        FileExistsError: if `out` exists.
    """
    out = check_output(out)
    with explained_interrupt():
        return _generate(config, out, progress)


def _generate(config: ShallowWaterData, out: Path, progress: Progress | None) -> Path:
    seconds(config.spin_up)  # raises an error before any work is done
    experiments, plans = _experiments(config), plan(config)
    times = valid_times(config.start_time, config.time_step, config.n_steps)
    _check_steps(config, experiments, plans)
    writer = StoreWriter(out, _spec(config, experiments, plans, times), resume=True)
    with writer:
        run = _Run(config, experiments, writer, times, len(plans), progress)
        missing = [plans[index] for index in writer.missing]
        run.solve(_batches(config, missing, len(times)), run.solved, n_threads(config.batch_size))
        run.check_enough(
            plans,
            "look at the maps beside the store, and give a shorter solver_dt or more "
            "hyperdiffusion",
        )
        run.diagnostics.put(writer.group)
        days = (times - times[0]) / np.timedelta64(1, "D")
        picture = out.with_name(f"{out.name}.diagnostics.png")
        with written_beside(picture, replace=True) as scratch:
            draw_diagnostics(
                scratch, days, *run.diagnostics.read(), f"{writer.spec.title}\n{out.name}"
            )
            return writer.finalise()


class _Run(TrajectoryRun):
    """Solution of trajectories of some cases, with their diagnostics."""

    def __init__(
        self,
        config: ShallowWaterData,
        experiments: list[Experiment],
        writer: StoreWriter,
        times: NDArray[np.datetime64],
        total: int,
        progress: Progress | None,
    ) -> None:
        super().__init__(writer, times, total, progress)
        self.config, self.experiments = config, experiments
        self.sampler = Sampler(_grid(config), config.lmax, config.variables)
        self.diagnostics = DiagnosticsRecord(writer.scratch, total, len(times), config.lmax)

    def solved(self, batch: list[Plan], stopped: Event) -> Iterator[Block | Failure]:
        """Solve one batch."""
        return solve(
            self.experiments[batch[0].case],
            [p.seed for p in batch],
            self.times,
            self.config,
            self.sampler,
            self.writer.spec.times_per_shard,
            stopped,
        )

    def record(self, indices: list[int], part: Block) -> None:
        """Keep the diagnostics of a block."""
        assert isinstance(part, FlowBlock)
        self.diagnostics.write(indices, part.start, part.integrals, part.spectrum)

    def report_failure(self, plan: Plan, failure: Failure) -> None:
        """Log the failure of a trajectory, and draw a map of its last finite state."""
        path, experiment = self.writer.path, self.experiments[plan.case]
        picture = path.with_name(f"{path.name}.failed-{plan.index}.png")
        when = np.datetime_as_string(failure.time, "m")
        what = f"{experiment.name}, seed {plan.seed}, {when}"
        coeffs = failure.last[VORTICITY]
        draw_failure(picture, self.sampler.scalar(coeffs).cpu().numpy(), f"last before: {what}")
        log.warning(
            "trajectory %d (%s) is not finite and was stopped; its last finite state is in %s",
            plan.index,
            what,
            picture,
        )

    def speed(self, states: int, elapsed: float) -> str:
        """Return the speed in simulated days."""
        days = (self.times[-1] - self.times[0]) / np.timedelta64(1, "D")
        return f"{states * days / max(len(self.times) - 1, 1) / elapsed:.3g} simulated days/s"


def plan(config: ShallowWaterData) -> list[Plan]:
    """Return the plan of all trajectories of a configuration."""
    weights = [case.weight for case in config.cases]
    return plan_trajectories(config.trajectories, config.seed, weights)


def _batches(config: ShallowWaterData, plans: list[Plan], n_times: int) -> Iterator[list[Plan]]:
    """Yield groups of trajectories of one case that one thread solves together."""
    state_bytes = 4 * n_times * len(config.variables) * config.grid.nlat * config.grid.nlon
    return batches(plans, config.batch_size, state_bytes)


def _experiments(config: ShallowWaterData) -> list[Experiment]:
    dtype = torch.float64 if config.dtype == "float64" else torch.float32
    experiments = [
        Experiment(case.name, case.parameters, config.lmax, dtype, orography=case.orography)
        for case in config.cases
    ]
    plans = plan(config)
    for i, experiment in enumerate(experiments):
        count = sum(p.case == i for p in plans)
        if count > 1 and not experiment.varies:
            raise ValueError(
                f"case {experiment.name} is the same for every seed, but {count} trajectories of "
                "it are requested; request one, or let a parameter vary: "
                + ", ".join(f"{name}_spread" for name in experiment.case.parameters)
            )
    return experiments


def _check_steps(
    config: ShallowWaterData, experiments: list[Experiment], plans: list[Plan]
) -> None:
    """Raise a ValueError if the solver step is too long for an initial state."""
    if config.solver_dt is None:
        return
    for batch in _batches(config, plans, 1):
        experiment = experiments[batch[0].case]
        states = torch.stack([experiment.initial_state(p.seed) for p in batch])
        experiment.solver.check_step(states, config.solver_dt)


def _grid(config: ShallowWaterData) -> Grid:
    return Grid.of(config.grid.kind, config.grid.nlat, config.grid.nlon)


def _spec(
    config: ShallowWaterData,
    experiments: list[Experiment],
    plans: list[Plan],
    times: NDArray[np.datetime64],
) -> StoreSpec:
    wrong = [name for name in config.variables if name not in CHANNELS]
    if wrong:
        raise ValueError(
            f"the shallow-water solver has no variable {wrong[0]!r}; it has {', '.join(CHANNELS)}"
        )
    grid = _grid(config)
    names = ", ".join(dict.fromkeys(e.name for e in experiments))
    static = {}
    orographies = {id(e): e.solver.physics.orography for e in experiments}
    if len(experiments) == 1 and (surface := orographies[id(experiments[0])]) is not None:
        height = surface / experiments[0].solver.physics.planet.gravity
        static[VARIABLES["orography"]] = Sampler(grid, config.lmax, ()).scalar(height).numpy()
    return StoreSpec(
        grid=grid,
        channels=tuple(variable(name) for name in config.variables),
        time=times,
        time_step=config.time_step,
        split=[p.split for p in plans],
        title=f"Shallow-water trajectories: {names}",
        source=f"spectral shallow-water solver at T{config.lmax - 1}",
        configuration=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
        trajectories=Trajectories(
            np.array([p.seed for p in plans]), tuple(config.cases[p.case].name for p in plans)
        ),
        static=static,
        radius=experiments[0].solver.physics.planet.radius,
    )
