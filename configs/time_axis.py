"""Time axis of a store or of a part of one: choice among the times that there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from configs.schema import TimesConfig
from configs.time.calendar import DAY, SECOND, Times
from configs.time.step import TimeStep

_HOUR = DAY // 24
_UNITS = {"d": 86400, "h": 3600, "min": 60, "s": 1}
_APART = "apart; set data.time_step"


def select_times(
    times: Times, config: TimesConfig, step: TimeStep, holder: str = "the files"
) -> NDArray[np.intp]:
    """Choose the times of a store from those of the files, or of a part from those of a store.

    Chosen are the times from the first to the last, at the hours and in the months of the
    configuration, at every step from midnight of the first day. If no time is at such a step
    (daily means at noon), steps count from the first time.

    Args:
        times: All times of the files in ascending order without duplicates, datetime64, (n,).
        config: Period, hours, months, and gaps.
        step: Interval of the store, with the calendar of the times.
        holder: Name of what has the times, for messages.

    Returns:
        Indices of the chosen times, ascending.

    Raises:
        ValueError: if no time is chosen, hours or months are not in the files, the step does not
            fit the times of the files, or times are missing and gaps are not allowed.
    """
    chosen = np.arange(len(times))[_in_period(times, config, step, holder)]
    months, hours = _month(times), step.calendar.time_of_day(times) / _HOUR
    for name, values, wanted in (("months", months, config.months), ("hours", hours, config.hours)):
        if wanted:
            of_times = values[chosen]
            _check_in_files(name, of_times, wanted, holder)
            chosen = chosen[np.isin(of_times, wanted)]
    candidates = times[chosen]
    on_step = _on_step(candidates, step)
    _check_step(candidates, on_step, config, step)
    return chosen[on_step]


def _in_period(times: Times, config: TimesConfig, step: TimeStep, holder: str) -> NDArray[np.bool_]:
    """Return True for the times from the first to the last date."""
    if not len(times):
        raise ValueError("the files hold no times; give files of fields with a time coordinate")
    inside = np.ones(len(times), dtype=bool)
    limits = {"first": config.first, "last": config.last}
    for name, text in limits.items():
        if text is not None:
            try:
                start, end = step.calendar.period(text)
            except ValueError as error:
                raise ValueError(f"data.times.{name}: {error}") from None
            inside &= times >= start if name == "first" else times < end
    if not inside.any():
        given = " ".join(f"data.times.{name}={text}" for name, text in limits.items() if text)
        raise ValueError(
            f"{given} leaves no time of {holder}, which run from {step.show(times[0])} to "
            f"{step.show(times[-1])}; change the period, or give the files that hold it"
        )
    return inside


def _check_in_files(
    name: str, of_times: NDArray[np.number], wanted: tuple[int, ...], holder: str
) -> None:
    """Raise a ValueError for an hour or month at which the files have no time."""
    if absent := sorted(set(wanted) - set(of_times.tolist())):
        known = np.unique(of_times)
        raise ValueError(
            f"data.times.{name}={_list(wanted)}: {holder} have no time with {name[:-1]} "
            f"{absent[0]} in this period, but {', '.join(f'{h:g}' for h in known[:24])}; leave it "
            "out, or give the files that hold it"
        )


def _on_step(times: Times, step: TimeStep) -> NDArray[np.bool_]:
    """Return True for the times at a whole number of steps from midnight, or from the first."""
    midnight = step.calendar.elapsed(times[:1]) // DAY * DAY
    for origin in (step.calendar.times(midnight)[0], times[0]):
        steps = step.steps_since(origin, times)
        tolerance = 1e-6 if step.seconds is None else min(0.5, 1 / step.seconds)
        on_step = np.abs(steps - np.round(steps)) < tolerance
        if on_step.any():
            break
    return np.asarray(on_step)


def _check_step(
    times: Times, on_step: NDArray[np.bool_], config: TimesConfig, step: TimeStep
) -> None:
    """Raise a ValueError if times are left out that others do not represent, or for a gap.

    Args:
        times: Times that may be chosen.
        on_step: True for those that are chosen.
        config: Gaps that are allowed.
        step: Interval of the store.
    """
    chosen = times[on_step]
    position = step.steps_since(chosen[0], times)
    own = position[on_step]
    edge = np.diff(np.concatenate([[True], on_step, [True]]).astype(int))
    first, last = np.flatnonzero(edge == -1), np.flatnonzero(edge == 1) - 1  # of runs left out
    interval = np.concatenate([[np.inf], np.diff(position), [np.inf]])
    alone = np.minimum(interval[1:], interval[:-1]) > 1 - 1e-9
    wrong = (position[last] - position[first] >= 2) | alone[first] | alone[last]
    if wrong.any():
        i, k = first[wrong][0], last[wrong][0]
        if spacing := _spacing(times, step):
            raise ValueError(f"the times of the files are {spacing} {_APART}={spacing}")
        raise ValueError(
            f"the times from {step.show(times[i])} to {step.show(times[k])} are no whole numbers "
            f"of time steps of {step} from {step.show(chosen[0])}; choose times that belong "
            "together with data.times.first, data.times.last or data.times.hours"
        )
    if config.gaps:
        return
    missing = np.flatnonzero(~step.consecutive(chosen))
    gaps = [i for i in missing if not _between_months(chosen[i : i + 2], config.months, step)]
    if not gaps:
        return
    i = gaps[0]
    n_missing = round(float(own[i + 1] - own[i])) - 1
    if spacing := _spacing(chosen, step):
        way_out = f"the times of the files are {spacing} {_APART}={spacing}"
    else:
        way_out = (
            f"{n_missing} missing time{'s' * (n_missing > 1)} in the first of {len(gaps)} "
            f"gap{'s' * (len(gaps) > 1)}; give the files that hold them, set data.time_step to the "
            "files' own step, or allow missing times with data.times.gaps=true"
        )
    raise ValueError(
        f"the time axis has a gap: {step.show(chosen[i])} is followed by "
        f"{step.show(chosen[i + 1])}, expected {step.show(step.advance(chosen[i : i + 1])[0])} for "
        f"a time step of {step}; {way_out}"
    )


def _spacing(times: Times, step: TimeStep) -> str:
    """Return the interval of times that are evenly spaced, as a label; "" for others."""
    intervals = np.diff(step.calendar.elapsed(times)) / SECOND
    if len(intervals) < 2:
        return ""
    if step.is_calendar:
        months = np.unique(np.diff(step.steps_since(times[0], times)) * step.count)
        return f"{months[0]:.0f}mo" if len(months) == 1 else ""
    if np.ptp(intervals) < 1:
        length, unit = next((n, u) for u, n in _UNITS.items() if intervals[0] % n == 0)
        return f"{intervals[0] / length:.0f}{unit}"
    return "1mo" if 27 <= intervals.min() / 86400 <= intervals.max() / 86400 <= 32 else ""


def _between_months(ends: Times, months: tuple[int, ...], step: TimeStep) -> bool:
    """Return True if all times between two are in months that are not among those chosen."""
    if not months:
        return False
    n = round(float(step.steps_since(ends[0], ends[1:])[0]))
    return not np.isin(_month(step.advance(ends[:1], np.arange(1, n))), months).any()


def _month(times: Times) -> NDArray[np.int64]:
    """Return the calendar month of each time, 1 to 12."""
    return times.astype("M8[M]").astype(np.int64) % 12 + 1


def _list(values: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, values))}]"
