"""Sources of states: the runs of a forecast file and of a store, read in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.time.step import TimeStep
from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.verification.climate.groups import assign_groups
from forecast.verification.climate.setting import Block, Setting, Times

_BLOCK_BYTES = 16 * 2**20

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Run:
    """Consecutive states of one realisation.

    Attributes:
        time: Valid times, (n,).
        read: Function that returns the states (k, c, nlat, nlon) of a slice of the times.
    """

    time: Times
    read: Callable[[slice], Array]


@dataclass(frozen=True)
class Source:
    """Runs of a forecast or of the truth, and the groups of their times.

    Attributes:
        runs: Runs, in their order.
        groups: Group of each time of each run.
        n_groups: Number of groups.
    """

    runs: tuple[Run, ...]
    groups: tuple[NDArray[np.int64], ...]
    n_groups: int

    @classmethod
    def of(cls, runs: Sequence[Run], *, by_year: bool) -> Source:
        """Assign the times of runs to groups; see `assign_groups`."""
        groups, n_groups = assign_groups([run.time for run in runs], by_year=by_year)
        return cls(tuple(runs), tuple(groups), n_groups)

    @property
    def n_states(self) -> int:
        """Number of states of all runs."""
        return sum(len(run.time) for run in self.runs)

    @property
    def group_sizes(self) -> NDArray[np.int64]:
        """Number of states of each group, (G,)."""
        return np.bincount(np.concatenate(self.groups), minlength=self.n_groups)

    @property
    def longest(self) -> int:
        """Number of states of the longest run."""
        return max(len(run.time) for run in self.runs)

    @property
    def longest_in_groups(self) -> int:
        """Number of consecutive states that every group has in one run."""
        most = np.zeros(self.n_groups, dtype=np.int64)
        for groups in self.groups:
            for part in _parts(groups):
                group = groups[part.start]
                most[group] = max(most[group], part.stop - part.start)
        return int(most.min())

    @property
    def months(self) -> set[int]:
        """Months of the year that occur, 0 to 11."""
        times = np.concatenate([run.time for run in self.runs])
        return set((times.astype("M8[M]").astype(np.int64) % 12).tolist())

    @property
    def years(self) -> float:
        """Time from the first to the last state of the longest run, in years."""
        run = max(self.runs, key=lambda r: len(r.time))
        return float((run.time[-1] - run.time[0]) / np.timedelta64(365, "D"))

    def blocks(self, setting: Setting) -> Iterator[Block]:
        """Read the states in blocks of one run and one group each."""
        longest = max(1, _BLOCK_BYTES // (8 * setting.valid.size))
        for run, groups in zip(self.runs, self.groups, strict=True):
            for part in _parts(groups):
                for start in range(part.start, part.stop, longest):
                    span = slice(start, min(start + longest, part.stop))
                    fields = np.asarray(run.read(span), dtype=np.float64)
                    fields = np.where(setting.valid, fields, np.nan)
                    group = int(groups[start])
                    yield Block(setting, fields, run.time[span], group, first=start == 0)


def forecast_source(file: ForecastFile, spinup: str | None) -> tuple[Source, TimeStep]:
    """Return the forecasts of a file after their spin-up, and the interval of their states.

    Every forecast and every member is a run. A forecast that ended early is a shorter run.

    Args:
        file: Forecast file.
        spinup: Lead time up to which states are left out, as "10d"; None for the initial state.

    Raises:
        ValueError: If the lead times are not equally spaced, or the spin-up leaves less than two.
    """
    after = in_steps(spinup, file.time_step, up=False)
    kept = np.flatnonzero(file.steps > after)
    spacing = np.unique(np.diff(file.steps[kept]))
    if len(kept) < 2:
        raise ValueError(
            f"{file.path} has {len(kept)} lead times after a spin-up of {spinup or 'none'}; a "
            "climate needs two or more: make a longer forecast, or choose a shorter spin-up"
        )
    if len(spacing) > 1:
        raise ValueError(
            f"lead times of {file.path} are {spacing[0]} to {spacing[-1]} steps apart; a climate "
            "needs equally spaced ones"
        )
    interval = replace(file.time_step, count=file.time_step.count * int(spacing[0]))
    runs = []
    for i, m in np.ndindex(len(file.init_time), file.n_members):
        positions = kept[file.steps[kept] <= file.member_last_step[i, m]]
        if len(positions):
            runs.append(_forecast_run(file, i, m, positions))
    if not runs:
        raise ValueError(
            f"all forecasts of {file.path} ended before the end of the spin-up; there is nothing "
            "to diagnose"
        )
    by_year = file.trajectory is None and len(runs) == 1
    return Source.of(runs, by_year=by_year), interval


def _forecast_run(
    file: ForecastFile, forecast_index: int, member: int, positions: NDArray[np.int64]
) -> Run:
    first = int(positions[0])

    def read(span: slice) -> Array:
        return file.states(forecast_index, slice(first + span.start, first + span.stop), member)

    return Run(file.valid_time[forecast_index, positions], read)


def truth_source(
    store: Store, split: str | None, spinup: str | None, months: set[int] | None
) -> Source:
    """Return the states of a store; trajectories after their spin-up.

    Args:
        store: Store, or a part of it with the channels and the interval of the forecast.
        split: Split to take; all if None.
        spinup: Time after the start of a trajectory that is left out. A series has none.
        months: Months of the year to take, 0 to 11; all if None.

    Raises:
        ValueError: If the split is empty, or no state is left.
    """
    chosen = np.arange(len(store.split)) if split is None else store.split_indices(split)
    runs = []
    if store.has_trajectories:
        first = in_steps(spinup, store.time_step, up=True)
        for index in chosen if first < len(store.time) else ():
            runs.append(_stored_run(store, int(index), first, len(store.time) - first))
    else:
        if months is not None:
            month = store.time[chosen].astype("M8[M]").astype(np.int64) % 12
            chosen = chosen[np.isin(month, list(months))]
        linked = store.time_step.consecutive(store.time)
        breaks = (np.diff(chosen) != 1) | ~linked[chosen[:-1]] if len(chosen) else np.empty(0)
        for part in np.split(chosen, np.flatnonzero(breaks) + 1):
            if len(part):
                runs.append(_stored_run(store, int(part[0]), 0, len(part)))
    if not runs:
        raise ValueError(
            f"store {store.path} has no states to compare with: none in split {split or 'any'}, "
            f"in the months of the forecast and after a spin-up of {spinup or 'none'}"
        )
    return Source.of(runs, by_year=not store.has_trajectories)


def _stored_run(store: Store, index: int, first: int, count: int) -> Run:
    start = first if store.has_trajectories else index
    time = store.time[start : start + count]

    def read(span: slice) -> Array:
        return store.states(index, first + span.start, span.stop - span.start).numpy()

    return Run(time, read)


def in_steps(spinup: str | None, time_step: TimeStep, *, up: bool) -> int:
    """Return a spin-up in time steps.

    Args:
        spinup: Text such as "10d" or "6mo"; None for none.
        time_step: Interval of a step.
        up: True to round up, False to round down.

    Raises:
        ValueError: If the text is no interval, or one in months of steps in hours or vice versa.
    """
    if spinup is None:
        return 0
    length = TimeStep.parse(spinup)
    if length.is_calendar != time_step.is_calendar:
        expected = "6mo" if time_step.is_calendar else "10d"
        raise ValueError(f"a spin-up of {spinup} and steps of {time_step}: write it as {expected}")
    whole, step = (length.months or length.seconds), (time_step.months or time_step.seconds)
    assert whole is not None and step is not None
    return -(-whole // step) if up else whole // step


def _parts(groups: NDArray[np.int64]) -> list[slice]:
    """Return the slices of equal consecutive groups."""
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(groups)]
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
