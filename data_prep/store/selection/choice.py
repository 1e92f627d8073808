"""Choice of a part of a store: its channels, static fields and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from configs.schema import TimesConfig
from configs.time.calendar import Times
from configs.time.step import TimeStep
from configs.time_axis import select_times
from configs.variables import Role, Variable


def choose_channels(
    known: tuple[Variable, ...],
    channels: Sequence[str] | None,
    forcing: Sequence[str],
    roles: Mapping[str, Role],
    store: str,
) -> tuple[tuple[Variable, ...], list[int]]:
    """Choose channels of a store and their roles.

    Args:
        known: Channels of the store.
        channels: Short names of the channels to forecast; all but `forcing` if None.
        forcing: Short names of the channels that are given at every time.
        roles: Roles by short name that replace those of the store.
        store: Name of the store for messages.

    Returns:
        The channels to forecast in their order, then those that are given; and the place of each
        in `known`.

    Raises:
        ValueError: if the store lacks a name, or a name is chosen twice.
    """
    names = [v.name for v in known]
    if channels is None:
        roles = {v.name: v.role for v in known} | dict(roles)
        channels = [name for name in names if name not in forcing]
    if twice := sorted(set(channels) & set(forcing)):
        raise ValueError(
            f"{', '.join(twice)} is both in data.variables and in data.forcing; a channel is "
            "either forecast or given"
        )
    given = {name for name in channels if roles.get(name) == "forcing"} | set(forcing)
    ordered = [n for n in channels if n not in given]
    places = choose_names(ordered, names, "data.variables", store)
    last = [n for n in channels if n in given] + list(forcing)
    places += choose_names(last, names, "data.forcing", store)
    chosen = []
    for variable in (known[i] for i in places):
        kept: Role = "prognostic" if variable.role == "forcing" else variable.role
        role = "forcing" if variable.name in given else roles.get(variable.name, kept)
        chosen.append(replace(variable, role=role))
    return tuple(chosen), places


def choose_names(names: Sequence[str], known: Sequence[str], setting: str, store: str) -> list[int]:
    """Return the place of each name among those of a store.

    Args:
        names: Chosen names.
        known: Names in the store.
        setting: Setting of the names, for messages.
        store: Name of the store, likewise.

    Raises:
        ValueError: if a name is unknown, or given twice.
    """
    for i, name in enumerate(names):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ValueError(
                f"{setting} names {name!r}, which {store} does not have"
                f"{''.join(f' (nearest: {n})' for n in near)}; it has {', '.join(known) or 'none'}"
            )
        if name in names[:i]:
            raise ValueError(f"{setting} names {name!r} twice; name each once")
    return [known.index(name) for name in names]


def choose_times(
    time: Times,
    step: TimeStep,
    wanted: TimesConfig | None,
    new_step: TimeStep,
    store: str,
    *,
    phases: bool = False,
) -> NDArray[np.intp]:
    """Return the places of chosen times.

    Args:
        time: Valid times of a store.
        step: Interval of the store.
        wanted: Period, hours and months; all times if None. They may leave gaps.
        new_step: Interval of the chosen times.
        store: Name of the store for messages.
        phases: True for all times, in one series after another: of an interval of two steps, the
            even ones and then the odd ones.

    Raises:
        ValueError: if the new interval is not a multiple of the interval of the store, or no time
            is left.
    """
    count = new_step.multiple_of(step)
    if count is None:
        raise ValueError(
            f"data.time_step is {new_step}, but {store} has a step of {step}; take a multiple of "
            "it, or make the store again"
        )
    settings = (
        TimesConfig(gaps=True) if wanted is None else wanted.model_copy(update={"gaps": True})
    )
    if count == 1 and settings == TimesConfig(gaps=True):
        return np.arange(len(time))
    holder = f"the times of {store}"
    places = select_times(time, settings, new_step, holder)
    if not phases or count == 1:
        return places
    every = select_times(time, settings, step, holder)
    phase = np.round(step.steps_since(time[places[0]], time[every])).astype(int) % count
    return every[np.argsort(phase, kind="stable")]
