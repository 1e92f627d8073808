"""Solution of the trajectories of a store in threads, written as they come."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from threading import Event

import numpy as np
from numpy.typing import NDArray

from configs.layout import SPLIT
from data_prep.solvers.batch import Block, Failure
from data_prep.solvers.plan import Plan
from data_prep.solvers.threads import run_in_threads
from data_prep.store.arrays import array
from data_prep.store.writer import StoreWriter

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]


@contextmanager
def explained_interrupt() -> Iterator[None]:
    """Log that the same command resumes a generation that is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        log.warning("interrupted; complete trajectories are kept, and the same command resumes "
                    "the generation")  # fmt: skip
        raise


class TrajectoryRun:
    """Solution of trajectories, written to a store as they come.

    Args:
        writer: Writer of the store.
        times: Times of the store.
        total: Number of trajectories of the store.
        progress: Callback with (done, total, note), called as trajectories are written.
    """

    def __init__(
        self,
        writer: StoreWriter,
        times: NDArray[np.datetime64],
        total: int,
        progress: Progress | None,
    ) -> None:
        self.writer, self.times = writer, times
        self._total, self._progress = total, progress
        self._started, self._states = clock.monotonic(), 0

    def solve(
        self,
        batches: Iterable[list[Plan]],
        solved: Callable[[list[Plan], Event], Iterable[Block | Failure]],
        n_threads: int,
    ) -> None:
        """Solve batches in threads, and write the trajectories that stay finite.

        Args:
            batches: Trajectories that one thread solves together.
            solved: Function of a batch and of an event that ends its solution; the solution.
            n_threads: Number of threads.
        """

        def parts(batch: list[Plan]) -> Iterator[tuple[list[Plan], Block | Failure]]:
            for part in solved(batch, stopped):
                yield batch, part

        stopped = Event()
        # Closed here, also after an error: a thread that computes while the interpreter shuts down
        # aborts the process.
        with closing(run_in_threads(map(parts, batches), n_threads, stopped)) as threads:
            for batch, part in threads:
                if isinstance(part, Failure):
                    plan = batch[part.position]
                    self.report_failure(plan, part)
                    self.writer.mark_failed(plan.index)
                else:
                    self._write([batch[position].index for position in part.positions], part)

    def check_enough(self, plans: Sequence[Plan], way_out: str) -> None:
        """Raise a ValueError with a way out if no training trajectory stayed finite."""
        split = np.asarray(array(self.writer.group, SPLIT)[...])
        if not (split == "train").any():
            raise ValueError(
                f"none of the {sum(p.split == 'train' for p in plans)} training trajectories "
                f"stayed finite; {way_out}"
            )

    def record(self, indices: list[int], part: Block) -> None:
        """Keep what a block of some trajectories holds beside its fields."""

    def report_failure(self, plan: Plan, failure: Failure) -> None:
        """Log the failure of a trajectory."""
        when = np.datetime_as_string(failure.time, "m")
        log.warning("trajectory %d (seed %d) is not finite at %s and was stopped", plan.index,
                    plan.seed, when)  # fmt: skip

    def speed(self, states: int, elapsed: float) -> str:
        """Return the speed after a number of states and a time (s), for the progress."""
        return f"{states / elapsed:.3g} states/s"

    def _write(self, indices: list[int], part: Block) -> None:
        """Write one shard of some trajectories."""
        # The last block completes a trajectory, so that what goes with it comes first.
        self.record(indices, part)
        self.writer.write_part(indices, part.start, part.fields)
        new = part.fields.shape[1] - (part.start == 0)  # the initial state is not solved
        self._states += len(indices) * new
        if self._progress is not None:
            elapsed = max(clock.monotonic() - self._started, 1e-9)
            done = len(self.writer.done)
            self._progress(done, self._total, self.speed(self._states, elapsed))
