"""Initial times of forecasts, as positions in a store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from configs.time.step import TimeStep
from data_prep.store.reader import Store

InitialTime = tuple[int, int]
"""Arguments `index` and `step` of `Store.state`."""

EVERY = "all"
"""Split that holds every time of a store, also of one without splits."""


def find_initial_times(
    store: Store,
    split: str = "test",
    init_times: Sequence[str] | None = None,
    *,
    n_history: int = 0,
    n_earlier: int = 0,
    time_step: TimeStep | None = None,
) -> list[InitialTime]:
    """Find the initial states of a split, or those at given times.

    Args:
        store: store with the states.
        split: all times of this split (every time for "all"), or the first state of its
            trajectories; where earlier ones are needed, the first that has them.
        init_times: ISO dates; of monthly data the month counts. Of trajectories, all in the split.
        n_history: states before each that the model sees too, one time step apart.
        n_earlier: further states before these, from which members of an ensemble start.
        time_step: interval of these, a multiple of that of the store; the same if not given.

    Returns:
        The arguments `index` and `step` of `Store.state` for each.

    Raises:
        ValueError: if a time is not in the store, or not enough are before it; what there is, and
            the nearest, are named.
    """
    time_step = time_step or store.time_step
    label, n_before = store.time_step.calendar.label, _n_before(store, time_step)
    n_needed = n_history + n_earlier
    needs = f"the model sees {n_history + 1} at once (model.history)"
    if n_earlier:
        needs = f"the members need the {n_needed} states before the initial time (--perturb)"
    ready = np.flatnonzero(n_before >= n_needed)
    if not len(ready):
        longest = int(n_before.max()) + 1
        gaps = " without a gap" if longest < len(store.time) else ""
        raise ValueError(f"{store.path} has {longest} times{gaps}, {needs}; give a longer store")
    if not init_times:
        try:
            indices = _indices(store, split)
        except ValueError as error:
            raise ValueError(f"{error}; name times to start from with --init-time") from None
        if store.has_trajectories:
            return [(int(i), int(ready[0])) for i in indices]
        if not np.isin(indices, ready).any():
            raise ValueError(
                f"no time in split {split!r} of {store.path} has the {n_needed} before it: "
                f"{needs}; name a later one with --init-time"
            )
        return [(int(i), 0) for i in indices if n_before[i] >= n_needed]
    steps = []
    for text in init_times:
        step = _find(store, text)
        if n_before[step] < n_needed:
            later = ready[ready > step]
            after = (
                f"the first time to start from is {label(store.time[later[0]], 'm')}, not {text}"
            )
            begins = time_step.advance(store.time[step : step + 1], -int(n_before[step]))[0]
            from_first = begins < time_step.advance(store.time[:1])[0]
            raise ValueError(
                f"{needs}, and {store.path} begins "
                f"{'' if from_first else 'again after a gap '}at "
                f"{label(begins, 'm')}; {after if len(later) else 'start from an earlier time'}"
            )
        steps.append(step)
    if store.has_trajectories:
        return [(int(i), step) for i in _indices(store, split) for step in steps]
    return [(step, 0) for step in steps]


def _indices(store: Store, split: str) -> NDArray[np.int64]:
    return np.arange(len(store.split)) if split == EVERY else store.split_indices(split)


def _n_before(store: Store, time_step: TimeStep) -> NDArray[np.int64]:
    """Return the number of states before each time that are one time step apart, (n,)."""
    previous = store.find(time_step.advance(store.time, -1))
    n_before = np.zeros(len(store.time), dtype=np.int64)
    for place in np.flatnonzero(previous >= 0):
        n_before[place] = n_before[previous[place]] + 1
    return n_before


def _find(store: Store, text: str) -> int:
    """Return the index of a time of a store."""
    calendar = store.time_step.calendar
    try:
        time = calendar.period(text)[0]
    except ValueError:
        raise ValueError(
            f"initial time {text!r} is not a date; write it as 2001-03-01 or 2001-03-01T12:00"
        ) from None
    unit = "datetime64[M]" if store.time_step.is_calendar else "datetime64[ns]"
    known = store.time.astype(unit)
    found = np.flatnonzero(known == time.astype(unit))
    if not len(found):
        first, last, nearest = (
            calendar.label(store.time[i], "m")
            for i in (0, -1, int(np.abs(store.time - time).argmin()))
        )
        gaps = "" if store.time_step.consecutive(store.time).all() else ", with gaps"
        raise ValueError(
            f"{store.path} has no state at {text}; it has {first} to {last} every "
            f"{store.time_step}{gaps} (nearest: {nearest})"
        )
    return int(found[0])
