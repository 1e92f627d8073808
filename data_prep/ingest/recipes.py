"""Recipes of channels: weighted sums of fields of the sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.time.calendar import SECOND, Calendar, Times
from configs.time.step import TimeStep
from configs.variables import Variable
from data_prep.ingest.catalogue.fields import SourceField

Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Term:
    """Contribution of the entries of one field to one channel.

    Attributes:
        field: Field of a source.
        target: Indices of the times of the store, ascending and distinct, (k,).
        entry: Entry of the field for each of them, (k,).
        weight: Factor of each entry, (k,).
    """

    field: SourceField
    target: Index
    entry: Index
    weight: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """All entries of a channel in the order of time.

    Attributes:
        name: Name of the channel.
        fields: Fields of the channel in the sources.
        time: Valid times, datetime64[ns], (n,).
        field: Index into `fields` for each time, (n,).
        entry: Entry of that field for each time, (n,).
        start: Start of the forecast for each time, (n,); None for values at an instant.
    """

    name: str
    fields: Sequence[SourceField]
    time: Times
    field: Index
    entry: Index
    start: Times | None

    @staticmethod
    def of(name: str, fields: Sequence[SourceField], calendar: Calendar) -> Series:
        """Sort the entries of fields by time.

        Raises:
            ValueError: if two entries have the same time.
        """
        time = np.concatenate([field.time for field in fields])
        which = np.concatenate([np.full(len(f.time), i, np.intp) for i, f in enumerate(fields)])
        entry = np.concatenate([np.arange(len(f.time)) for f in fields])
        keys = [time]
        start = None
        if any(f.amount is not None and f.amount.seconds is None for f in fields):
            start = np.concatenate([f.time if f.start is None else f.start for f in fields])
            keys.insert(0, start)  # the later start wins where two forecasts have a time
        order = np.lexsort(keys)
        time, which, entry = time[order], which[order], entry[order]
        start = None if start is None else start[order]
        same = time[1:] == time[:-1]
        if start is not None:
            same &= start[1:] == start[:-1]
        if same.any():
            k = int(same.argmax())
            where = sorted({str(fields[which[j]].path) for j in (k, k + 1)})
            raise ValueError(
                f"{name} occurs twice at {calendar.label(time[k])} (in "
                f"{' and '.join(where)}), a duplicate on the time axis; give each time once"
                + (", or one forecast with data.select" if fields[0].start is not None else "")
            )
        return Series(name, fields, time, which, entry, start)

    def at(self, times: Times) -> Index:
        """Return the position of each time among those of the series; -1 where it has none."""
        place = np.searchsorted(self.time, times)
        there = np.minimum(place, len(self.time) - 1)
        return np.where(self.time[there] == times, there, -1)

    def terms(self, target: Index, place: Index, weight: NDArray[np.float64]) -> list[Term]:
        """Return the terms of positions of the series, one for each field."""
        found = []
        for number in np.unique(self.field[place]):
            here = np.flatnonzero(self.field[place] == number)
            field = self.fields[number]
            found.append(Term(field, target[here], self.entry[place[here]], weight[here]))
        return found


@dataclass(frozen=True, eq=False)
class Recipe:
    """Weighted sum of entries that is a channel at each time of the store.

    Attributes:
        name: Name of the channel.
        terms: Contributions; empty for a channel that is computed from others.
        missing: True at the times that cannot be made, (n,).
        how: Short description of anything but a plain copy.
    """

    name: str
    terms: Sequence[Term]
    missing: NDArray[np.bool_]
    how: str = ""


def recipe_of(series: Series, channel: Variable, time: Times, step: TimeStep) -> Recipe:
    """Return the recipe of a channel that the sources have at its level.

    Args:
        series: Entries of the channel.
        channel: Channel.
        time: Times of the store, datetime64[ns], (n,).
        step: Interval of the times.
    """
    amount = series.fields[0].amount
    if amount is not None and step.seconds is not None:
        if amount.seconds is None:
            return _differences(series, channel, time, step)
        return _sums(series, channel, time, amount.seconds, step)
    target, place = np.arange(len(time)), series.at(time)
    missing = place < 0
    if missing.any() and channel.role == "forcing":
        return _interpolated_in_time(series, time, step)
    there = ~missing
    terms = series.terms(target[there], place[there], np.ones(int(there.sum())))
    return Recipe(series.name, terms, missing)


def between_levels(below: Recipe, above: Recipe, weight: float, name: str) -> Recipe:
    """Return the recipe of a level between two others; `weight` is that of the level above."""
    terms = [
        Term(term.field, term.target, term.entry, term.weight * factor)
        for recipe, factor in ((below, 1 - weight), (above, weight))
        for term in recipe.terms
    ]
    how = f"between {below.name} and {above.name}, linear in log p"
    return Recipe(name, terms, below.missing | above.missing, how)


def _sums(series: Series, channel: Variable, time: Times, period: int, step: TimeStep) -> Recipe:
    """Return the amounts, or the mean rates, of all periods of a step."""
    assert step.seconds is not None
    if step.seconds % period:
        raise ValueError(
            f"{series.name} is accumulated over {_hours(period)}, and a step of {step} is no whole "
            "number of these; take another data.time_step, or correct "
            f"data.accumulation.{series.fields[0].name}"
        )
    count = step.seconds // period
    places = np.stack([series.at(_earlier(time, k * period, step)) for k in range(count)])
    missing = np.any(places < 0, axis=0)
    target = np.flatnonzero(~missing)
    weight = np.full(len(target), 1 / count if channel.rate_of else 1.0)
    terms = [t for place in places for t in series.terms(target, place[target], weight)]
    kind = "mean" if channel.rate_of else "sum"
    how = f"{kind} of {count} values of {_hours(period)}" if count > 1 else ""
    return Recipe(series.name, terms, missing, how)


def _differences(series: Series, channel: Variable, time: Times, step: TimeStep) -> Recipe:
    """Return the differences of values that are accumulated from the start of their forecast."""
    assert series.start is not None and step.seconds is not None
    keys = {
        (s, v): k for k, (s, v) in enumerate(zip(series.start.tolist(), series.time.tolist(),
                                                 strict=True))
    }  # fmt: skip
    first = _earlier(time, step.seconds, step)
    later, earlier = np.full(len(time), -1), np.full(len(time), -1)
    whole = np.zeros(len(time), dtype=bool)
    ends = np.searchsorted(series.time, time, side="right")
    begins = np.searchsorted(series.time, time, side="left")
    for i, (a, b) in enumerate(zip(begins, ends, strict=True)):
        for k in range(b - 1, a - 1, -1):  # the latest forecast first
            start = series.start[k]
            if start == first[i]:
                later[i], whole[i] = k, True
                break
            before = keys.get((start.tolist(), first[i].tolist()))
            if start < first[i] and before is not None:
                later[i], earlier[i] = k, before
                break
    missing = later < 0
    factor = 1.0 / step.seconds if channel.rate_of else 1.0
    there = np.flatnonzero(~missing)
    terms = series.terms(there, later[there], np.full(len(there), factor))
    minus = np.flatnonzero(~missing & ~whole)
    if len(minus):
        terms += series.terms(minus, earlier[minus], np.full(len(minus), -factor))
    return Recipe(series.name, terms, missing, "difference of accumulations from the start")


def _interpolated_in_time(series: Series, time: Times, step: TimeStep) -> Recipe:
    """Return the recipe of a forcing whose sources have longer steps than the store."""
    right = np.clip(np.searchsorted(series.time, time), 1, max(len(series.time) - 1, 1))
    if len(series.time) < 2:
        return Recipe(series.name, [], np.ones(len(time), dtype=bool))
    left = right - 1
    known, wanted = step.calendar.elapsed(series.time), step.calendar.elapsed(time)
    weight = (wanted - known[left]) / (known[right] - known[left])
    # Half a step beyond the ends holds the last value: a mean stands for all of its period.
    missing = (weight < -0.5) | (weight > 1.5)
    weight = np.clip(weight, 0, 1)
    there = np.flatnonzero(~missing)
    terms = []
    for place, factor in ((left, 1 - weight), (right, weight)):
        used = there[factor[there] > 0]
        terms += series.terms(used, place[used], factor[used])
    return Recipe(series.name, terms, missing, "linear in time between its values")


def _earlier(time: Times, seconds: int, step: TimeStep) -> Times:
    """Return times some seconds earlier, in the calendar of a step."""
    calendar = step.calendar
    return calendar.times(calendar.elapsed(time) - seconds * SECOND)


def _hours(seconds: int) -> str:
    return f"{seconds // 3600}h" if seconds % 3600 == 0 else f"{seconds // 60}min"
