"""Generation of a training store: plan of its trajectories, solution and writing."""

from __future__ import annotations

import logging
import math
import time as clock
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from configs.layout import SPLIT, SPLITS
from configs.schema import ShallowWaterData
from configs.timestep import TimeStep
from configs.variables import VARIABLES, variable
from data_prep.shallow_water.cases import Experiment
from data_prep.shallow_water.diagnostics_record import DiagnosticsRecord
from data_prep.shallow_water.equations import VORTICITY
from data_prep.shallow_water.sampling import CHANNELS, Sampler
from data_prep.shallow_water.solver_plots import draw_diagnostics, draw_failure
from data_prep.shallow_water.threads import run_in_threads
from data_prep.shallow_water.trajectories import Block, Failure, seconds, solve
from data_prep.store.arrays import array
from data_prep.store.outputs import check_output, written_beside
from data_prep.store.spec import StoreSpec, Trajectories
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]

_BATCH_BYTES = 2**29  # limit of the fields being solved; as many may wait to be written
_FEWEST_PER_THREAD = 4


@dataclass(frozen=True)
class Plan:
    """Plan of one trajectory of a store.

    Attributes:
        index: Index of the trajectory in the store.
        split: Name of its split.
        case: Index of its case in the configuration.
        seed: Seed of its initial state.
    """

    index: int
    split: str
    case: int
    seed: int


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
    try:
        return _generate(config, out, progress)
    except KeyboardInterrupt:
        log.warning("interrupted; complete trajectories are kept, and the same command resumes "
                    "the generation")  # fmt: skip
        raise


def _generate(config: ShallowWaterData, out: Path, progress: Progress | None) -> Path:
    seconds(config.spin_up)  # raises an error before any work is done
    experiments, times, plans = _experiments(config), _times(config), plan(config)
    _check_steps(config, experiments, plans)
    writer = StoreWriter(out, _spec(config, experiments, plans, times), resume=True)
    with writer:
        record = DiagnosticsRecord(writer.scratch, len(plans), len(times), config.lmax)
        run = _Run(config, writer, record, times, len(plans), progress)
        run.solve(experiments, [plans[index] for index in writer.missing])
        run.check_enough(plans)
        record.put(writer.group)
        days = (times - times[0]) / np.timedelta64(1, "D")
        picture = out.with_name(f"{out.name}.diagnostics.png")
        with written_beside(picture, replace=True) as scratch:
            draw_diagnostics(scratch, days, *record.read(), f"{writer.spec.title}\n{out.name}")
            return writer.finalise()


class _Run:
    """Solution of trajectories, written to a store as they come."""

    def __init__(
        self,
        config: ShallowWaterData,
        writer: StoreWriter,
        record: DiagnosticsRecord,
        times: NDArray[np.datetime64],
        total: int,
        progress: Progress | None,
    ) -> None:
        self.config, self.writer, self.record, self.times = config, writer, record, times
        self.total, self.progress = total, progress
        self.sampler = Sampler(_grid(config), config.lmax, config.variables)
        self.started, self.simulated = clock.monotonic(), 0.0

    def solve(self, experiments: list[Experiment], plans: list[Plan]) -> None:
        """Solve trajectories in threads, and write those that stay finite."""

        def parts(batch: list[Plan]) -> Iterator[tuple[list[Plan], Block | Failure]]:
            experiment, seeds = experiments[batch[0].case], [p.seed for p in batch]
            block = self.writer.spec.times_per_shard
            for part in solve(
                experiment, seeds, self.times, self.config, self.sampler, block, stopped
            ):
                yield batch, part

        stopped = Event()
        batches = _batches(self.config, plans, len(self.times))
        # Closed here, also after an error: a thread that computes while the interpreter shuts down
        # aborts the process.
        threads = run_in_threads(map(parts, batches), _n_threads(self.config), stopped)
        with closing(threads) as solved:
            for batch, part in solved:
                if isinstance(part, Failure):
                    plan = batch[part.position]
                    self._mark_failed(experiments[plan.case], plan, part)
                else:
                    self._write([batch[position].index for position in part.positions], part)

    def _write(self, indices: list[int], part: Block) -> None:
        """Write one shard of some trajectories."""
        last = part.start + part.fields.shape[1]
        # The last block completes a trajectory, so that its diagnostics come first.
        self.record.write(indices, part.start, part.integrals, part.spectrum)
        self.writer.write_part(indices, part.start, part.fields)
        span = self.times[last - 1] - self.times[max(part.start - 1, 0)]
        self.simulated += len(indices) * (span / np.timedelta64(1, "D"))
        self._report()

    def check_enough(self, plans: list[Plan]) -> None:
        """Raise a ValueError if no training trajectory stayed finite."""
        split = np.asarray(array(self.writer.group, SPLIT)[...])
        if not (split == "train").any():
            raise ValueError(
                f"none of the {sum(p.split == 'train' for p in plans)} training trajectories "
                "stayed finite; look at the maps beside the store, and give a shorter solver_dt or "
                "more hyperdiffusion"
            )

    def _mark_failed(self, experiment: Experiment, plan: Plan, failure: Failure) -> None:
        """Mark a trajectory as failed, log it, and draw a map of its last finite state."""
        path = self.writer.path
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
        self.writer.mark_failed(plan.index)

    def _report(self) -> None:
        if self.progress is not None:
            rate = self.simulated / max(clock.monotonic() - self.started, 1e-9)
            done = len(self.writer.done)
            self.progress(done, self.total, f"{rate:.3g} simulated days/s")


def plan(config: ShallowWaterData) -> list[Plan]:
    """Return the plan of all trajectories of a configuration.

    The seed of a trajectory depends on the seed of the configuration, the split and the number of
    the trajectory in it. Cases alternate within a split in proportion to their weights.
    """
    plans: list[Plan] = []
    weights = np.array([case.weight for case in config.cases])
    weights = weights / weights.sum()
    for number, split in enumerate(SPLITS):
        given = np.zeros(len(weights))
        for i in range(getattr(config.trajectories, split)):
            case = int(np.argmax(weights * (i + 1) - given))
            given[case] += 1
            entropy = np.random.SeedSequence([config.seed, number, i])
            seed = int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
            plans.append(Plan(len(plans), split, case, seed))
    return plans


def _n_threads(config: ShallowWaterData) -> int:
    """Return the number of threads that share a batch."""
    return max(1, min(torch.get_num_threads(), config.batch_size // _FEWEST_PER_THREAD))


def _batches(config: ShallowWaterData, plans: list[Plan], n_times: int) -> Iterator[list[Plan]]:
    """Yield groups of trajectories of one case that one thread solves together."""
    state = 4 * n_times * len(config.variables) * config.grid.nlat * config.grid.nlon
    size = min(config.batch_size, max(1, _BATCH_BYTES // state))
    for case in range(len(config.cases)):
        same = [p for p in plans if p.case == case]
        share = math.ceil(min(size, len(same)) / _n_threads(config))
        for start in range(0, len(same), max(1, share)):
            yield same[start : start + share]


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


def _times(config: ShallowWaterData) -> NDArray[np.datetime64]:
    try:
        start = np.datetime64(config.start_time, "ns")
    except ValueError:
        raise ValueError(
            f"start_time {config.start_time!r} is not a date; write it as 2000-01-01 or "
            "2000-01-01T06:00"
        ) from None
    step = TimeStep.parse(config.time_step)
    return np.concatenate([step.advance(np.array([start]), i) for i in range(config.n_steps + 1)])


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
