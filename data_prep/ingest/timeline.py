"""Times of a store, and the recipe of each channel at these times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from configs.schema import FilesData
from configs.time.calendar import Times
from configs.time.step import TimeStep
from configs.time_axis import select_times
from configs.variables import Variable
from data_prep.ingest.catalogue.fields import SourceField
from data_prep.ingest.catalogue.search import Catalogue
from data_prep.ingest.recipes import Recipe, Series, between_levels, recipe_of


class Timeline:
    """Choice of times at which all channels can be made.

    Args:
        catalogue: Fields of the sources.
        inputs: Channels to make from them.
        config: Settings.

    Attributes:
        step: Interval of the store, in the calendar of the sources.
    """

    def __init__(self, catalogue: Catalogue, inputs: Sequence[Variable], config: FilesData) -> None:
        self._catalogue, self._inputs, self._config = catalogue, inputs, config
        self.step = TimeStep.parse(config.time_step, catalogue.calendar.name)
        self._series: dict[str, Series] = {}
        for variable in inputs:
            for name in catalogue.levels_of(variable.name):
                found = catalogue.found[name]
                self._series.setdefault(name, Series.of(name, found, catalogue.calendar))

    @property
    def fields(self) -> list[SourceField]:
        """All fields that may contribute."""
        return [field for series in self._series.values() for field in series.fields]

    def resolve(
        self, after: np.datetime64 | None, at: Times | None = None
    ) -> tuple[Times, Times, list[Recipe]]:
        """Return the times of the store, those that are left out, and the recipes.

        Times are left out at the beginning, for want of earlier accumulations, and in gaps.

        Args:
            after: Last time of a store that is extended; None for a new one.
            at: Times to take, instead of those that the configuration chooses.

        Raises:
            ValueError: if the times cannot be chosen, or if a channel has no field at a time of
                another one.
        """
        time = self._chosen() if at is None else self._at(at)
        if after is not None:
            time = self._later(time, after)
        recipes = [self._recipe(variable, time) for variable in self._inputs]
        first = 0
        for variable, recipe in zip(self._inputs, recipes, strict=True):
            if recipe.missing.any() and (variable.accumulated or variable.rate_of):
                first = max(first, int((~recipe.missing).argmax()))
        lost = np.any([recipe.missing for recipe in recipes], axis=0)
        if lost[first:].any() and not self._config.times.gaps:
            raise self._incomplete(recipes, time, first + int(lost[first:].argmax()))
        lost[:first] = True
        if lost.all():
            raise ValueError("no time has a field of all variables; give files of the same times")
        if not lost.any():
            return time, time[:0], recipes
        kept = time[~lost]
        return kept, time[lost], [self._recipe(variable, kept) for variable in self._inputs]

    def _all(self) -> Times:
        """Return the times of all predicted channels."""
        predicted = [v for v in self._inputs if v.role != "forcing"] or self._inputs
        series = [self._series[self._catalogue.levels_of(v.name)[0]] for v in predicted]
        instants = [one for one in series if one.fields[0].amount is None] or series
        return np.unique(np.concatenate([one.time for one in instants]))

    def _chosen(self) -> Times:
        """Return the times that the configuration chooses."""
        union = self._all()
        return union[select_times(union, self._config.times, self.step)]

    def _at(self, at: Times) -> Times:
        """Return given times of the sources; of monthly data the month counts."""
        union, unit = self._all(), "M8[M]" if self.step.is_calendar else "M8[ns]"
        known, wanted = union.astype(unit), np.unique(at.astype(unit))
        if not np.isin(wanted, known).all():
            label = self.step.calendar.label
            i = int(np.isin(wanted, known).argmin())
            nearest = union[np.abs(union - wanted[i].astype("M8[ns]")).argmin()]
            first, last, near = (label(t, "m") for t in (union[0], union[-1], nearest))
            raise ValueError(
                f"the files have no fields at {label(wanted[i].astype('M8[ns]'), 'm')}; they have "
                f"{first} to {last} (nearest: {near})"
            )
        return union[np.isin(known, wanted)]

    def _later(self, time: Times, after: np.datetime64) -> Times:
        """Return the times after the last one of a store."""
        step, config = self.step, self._config.times
        later = time[time > after]
        if not len(later):
            raise ValueError(
                f"the files have no time after {step.show(after)}, the last one of the store; give "
                "files of later times"
            )
        ends = np.array([after, later[0]], dtype="M8[ns]")
        if not (config.gaps or config.months or step.consecutive(ends).all()):
            raise ValueError(
                f"the store ends at {step.show(after)}, and the first later time of the files is "
                f"{step.show(later[0])}; give the files of the times between, or allow missing "
                "times with data.times.gaps=true"
            )
        return later

    def _recipe(self, channel: Variable, time: Times) -> Recipe:
        names = self._catalogue.levels_of(channel.name)
        recipes = [recipe_of(self._series[name], channel, time, self.step) for name in names]
        if len(recipes) == 1:
            return recipes[0]
        below, above = recipes
        return between_levels(below, above, self._catalogue.between[channel.name][2], channel.name)

    def _incomplete(self, recipes: Sequence[Recipe], time: Times, t: int) -> ValueError:
        """Return the error of a time at which a channel has no field."""
        lacks = next(recipe for recipe in recipes if recipe.missing[t])
        has = next((recipe for recipe in recipes if not recipe.missing[t]), None)
        return ValueError(
            f"{lacks.name} has no field at {self.step.calendar.label(time[t])}"
            + (f" where {has.name} has one" if has is not None else "")
            + "; give files of the same times for all variables, or data.times.gaps=true to leave "
            "such times out"
        )
