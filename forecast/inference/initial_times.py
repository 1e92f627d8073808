"""Initial times of forecasts, as positions in a store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.store.reader import Store

InitialTime = tuple[int, int]
"""Arguments `index` and `step` of `Store.state`."""


def find_initial_times(
    store: Store,
    split: str = "test",
    init_times: Sequence[str] | None = None,
    *,
    n_history: int = 0,
) -> list[InitialTime]:
    """Find the initial states of a split, or those at given times.

    Args:
        store: store with the states.
        split: all times of this split, or the first state of its trajectories; where earlier ones
            are needed, the first that has them.
        init_times: ISO dates; of monthly data the month counts. Of trajectories, all in the split.
        n_history: states of the store that have to be before each.

    Returns:
        The arguments `index` and `step` of `Store.state` for each.

    Raises:
        ValueError: if a time is not in the store, or not enough are before it; what there is, and
            the nearest, are named.
    """
    if n_history >= len(store.time):
        raise ValueError(
            f"{store.path} has {len(store.time)} times, the model sees {n_history + 1} at once "
            "(model.history); give a longer store"
        )
    if not init_times:
        try:
            indices = store.split_indices(split)
        except ValueError as error:
            raise ValueError(f"{error}; name times to start from with --init-time") from None
        if store.has_trajectories:
            return [(int(i), n_history) for i in indices]
        if indices[-1] < n_history:
            raise ValueError(
                f"no time in split {split!r} of {store.path} has the {n_history} before it that "
                "the model sees too (model.history); name a later one with --init-time"
            )
        return [(int(i), 0) for i in indices if i >= n_history]
    # Not nanoseconds, which end in 2262: a later date would wrap around.
    unit = "datetime64[M]" if store.time_step.is_calendar else "datetime64[s]"
    known = store.time.astype(unit)
    steps = []
    for text in init_times:
        try:
            time = np.datetime64(text.strip().removesuffix("Z").replace(" ", "T")).astype(unit)
        except ValueError:
            raise ValueError(
                f"initial time {text!r} is not a date; write it as 2001-03-01 or 2001-03-01T12:00"
            ) from None
        found = np.flatnonzero(known == time)
        if not len(found):
            nearest = store.time[int(np.abs(known - time).argmin())]
            raise ValueError(
                f"{store.path} has no state at {text}; it has {_minute(store.time[0])} to "
                f"{_minute(store.time[-1])} every {store.time_step.label} (nearest: "
                f"{_minute(nearest)})"
            )
        if found[0] < n_history:
            raise ValueError(
                f"the model sees {n_history + 1} states (model.history), and {store.path} begins "
                f"at {_minute(store.time[0])}; the first time to start from is "
                f"{_minute(store.time[n_history])}, not {text}"
            )
        steps.append(int(found[0]))
    if store.has_trajectories:
        return [(int(i), step) for i in store.split_indices(split) for step in steps]
    return [(step, 0) for step in steps]


def _minute(time: np.datetime64) -> str:
    return str(time.astype("datetime64[m]"))
