"""Scores of the forecasts of a file by the workers of a dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from forecast.verification.scoring.accumulator import Accumulator, Choices, PartialSums
from forecast.verification.truth import Truth
from sphere_ops.parallel.cluster import on_workers

_RUNS_PER_WORKER = 4
"""Parts of the forecasts for each worker; each part opens the files anew."""


@dataclass(frozen=True)
class Cluster:
    """Workers of a dask cluster that score forecasts.

    Attributes:
        address: Address of the scheduler.
        open_truth: Function without arguments with which a worker opens the truth and the forecast.
    """

    address: str
    open_truth: Callable[[], Truth]

    def partial_sums(self, choices: Choices, own: range) -> Iterator[PartialSums]:
        """Yield the sums over consecutive parts of some forecasts, in their order."""
        work = partial(_of_part, self.open_truth, choices)
        return on_workers(self.address, work, own, runs_per_worker=_RUNS_PER_WORKER)


def _of_part(open_truth: Callable[[], Truth], choices: Choices, part: range) -> PartialSums:
    """Score a part of the forecasts, on a worker."""
    accumulator = Accumulator(open_truth(), choices, part)
    accumulator.accumulate()
    return accumulator.partial_sums()
