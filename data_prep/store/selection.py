"""Choice of a part of a store: its channels, static fields, times and splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from configs import layout
from configs.schema import SplitRanges, TimeRange, TimesConfig
from configs.timestep import TimeStep
from configs.variables import Role, Variable

Times = NDArray[np.datetime64]


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
    time: Times, step: TimeStep, wanted: TimesConfig | None, new_step: TimeStep | None, store: str
) -> NDArray[np.int64]:
    """Return the places of chosen times.

    Args:
        time: Valid times of a store.
        step: Interval of the store.
        wanted: Period, hours and months; all times if None.
        new_step: Interval of the chosen times; that of the store if None.
        store: Name of the store for messages.

    Raises:
        ValueError: if the new interval is not a multiple of the interval of the store, or no time
            is left.
    """
    count = 1 if new_step is None else new_step.multiple_of(step)
    if count is None:
        raise ValueError(
            f"data.time_step is {new_step}, but {store} has a step of {step}; take a multiple of "
            "it, or make the store again"
        )
    kept = np.arange(len(time)) if wanted is None else np.flatnonzero(in_period(time, wanted))
    if not len(kept):
        assert wanted is not None
        chosen = ", ".join(f"{k}={v}" for k, v in wanted.model_dump(exclude_defaults=True).items())
        raise ValueError(
            f"data.times ({chosen}) leaves no time of {store}, which has {_day(time[0])} to "
            f"{_day(time[-1])} every {step}; choose other times"
        )
    if count == 1 or new_step is None:
        return kept
    if new_step.months is not None:
        months = time[kept].astype("datetime64[M]").astype(np.int64)
        return kept[(months - months[0]) % new_step.months == 0]
    assert new_step.seconds is not None
    seconds = (time[kept] - time[kept[0]]).astype("timedelta64[s]").astype(np.int64)
    return kept[seconds % new_step.seconds == 0]


def in_period(time: Times, wanted: TimesConfig) -> NDArray[np.bool_]:
    """Return True for the times of a period, at chosen hours of the day and in chosen months.

    Raises:
        ValueError: if the first or last time of the period is not a date.
    """
    inside = np.ones(len(time), dtype=bool)
    if wanted.first is not None:
        inside &= time >= _date(wanted.first, "data.times.first")
    if wanted.last is not None:
        inside &= time < _date(wanted.last, "data.times.last") + 1
    if wanted.hours:
        day = time.astype("datetime64[D]").astype(time.dtype)
        inside &= np.isin(time - day, np.array(wanted.hours, dtype="timedelta64[h]"))
    if wanted.months:
        inside &= np.isin(time.astype("datetime64[M]").astype(np.int64) % 12 + 1, wanted.months)
    return inside


def split_by_ranges(time: Times, ranges: SplitRanges, store: str) -> NDArray[np.str_]:
    """Return the name of the split of each time, "" for none, (n,).

    Raises:
        ValueError: if a range has no time or is not of dates, or two of them overlap.
    """
    split = np.full(len(time), "", dtype="U10")
    for name in layout.SPLITS:
        limits: TimeRange = getattr(ranges, name)
        first = _date(limits.first, f"data.splits.{name}.first")
        end = _date(limits.last, f"data.splits.{name}.last") + 1
        inside = (time >= first) & (time < end)
        if not inside.any():
            raise ValueError(
                f"data.splits.{name} from {limits.first} to {limits.last} holds no chosen time of "
                f"{store}, which run from {_day(time[0])} to {_day(time[-1])}; change it, or take "
                "the splits of the store with data.splits=null"
            )
        if (taken := split[inside & (split != "")]).size:
            raise ValueError(
                f"data.splits.{name} from {limits.first} to {limits.last} overlaps with "
                f"{taken[0]}; a time belongs to one split only"
            )
        split[inside] = name
    return split


def _date(text: str, setting: str) -> np.datetime64:
    """Return a date in the unit of its text, so that adding 1 gives the end of its period."""
    try:
        return np.datetime64(text)
    except ValueError:
        raise ValueError(
            f"{setting} is {text!r}; expected a date such as 1950, 1950-07 or 1950-07-01T06"
        ) from None


def _day(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, "s")).removesuffix("T00:00:00")
