"""Check that a store holds the truth of a forecast."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from data_prep.store.reader import Store

if TYPE_CHECKING:
    from forecast.inference.reader import ForecastFile


def check_fits(file: ForecastFile, store: Store, *, started_there: bool) -> None:
    """Refuse a store that does not hold the truth of a forecast.

    Args:
        file: forecast.
        store: store.
        started_there: True if the forecast started from the store, which then has its initial
            times. A store with other times may have a longer step.

    Raises:
        ValueError: naming what differs.
    """
    advice = "give the store that the forecast started from"
    if not started_there:
        advice = "give a truth of the same kind, on the grid of the forecast"
    if not file.channel_names:
        raise ValueError(
            f"{file.path} holds no channel of the model, only {', '.join(file.derived_names)}; "
            "make a forecast with channels, named in --variables too"
        )
    step = file.time_step.multiple_of(store.time_step)
    same_kind_of_step = file.time_step.is_calendar == store.time_step.is_calendar
    facts: tuple[tuple[str, Callable[[Any], object], bool], ...] = (
        ("the grid", lambda x: str(x.grid), str(file.grid) == str(store.grid)),
        (
            "a time step of",
            lambda x: x.time_step.label,
            step is not None if started_there else same_kind_of_step,
        ),
        (
            "the calendar",
            lambda x: x.time_step.calendar.name,
            file.time_step.calendar == store.time_step.calendar,
        ),
    )
    for what, fact, fits in facts:
        if not fits:
            raise ValueError(
                f"forecast {file.path} and store {store.path} do not fit: {what} {fact(file)} "
                f"against {fact(store)}; {advice}"
            )
    absent = [name for name in file.channel_names if name not in store.channel_names]
    if absent:
        raise ValueError(
            f"store {store.path} has no {', '.join(absent)}, which {file.path} forecasts; it "
            f"has {', '.join(store.channel_names)}"
        )
    if store.has_trajectories != (file.trajectory is not None):
        kinds = ("one series", "trajectories")
        raise ValueError(
            f"forecast {file.path} is of {kinds[file.trajectory is not None]}, store "
            f"{store.path} of {kinds[store.has_trajectories]}; {advice}"
        )
    if file.trajectory is not None and file.trajectory.max() >= len(store.split):
        raise ValueError(
            f"forecast {file.path} is of trajectory {file.trajectory.max()}, store "
            f"{store.path} has {len(store.split)}; {advice}"
        )
