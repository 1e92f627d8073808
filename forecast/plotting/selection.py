"""Forecast of a file, or one of its members, as pictures read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from configs.time.step import TimeStep
from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.inference.reading.lead_times import time_label
from forecast.verification.truth import Truth

Array = NDArray[np.floating[Any]]

_BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Selection:
    """Forecast of a file, and one of its members or their mean.

    Attributes:
        file: Forecast file.
        forecast_index: Index of the forecast.
        member: Position of the member; None for the mean over the members.
    """

    file: ForecastFile
    forecast_index: int
    member: int | None = None

    @classmethod
    def find(
        cls, file: ForecastFile, init: str | int | None = None, member: int | None = None
    ) -> Selection:
        """Find a forecast.

        Args:
            file: Forecast file.
            init: Start, number of a trajectory, or index; the first if None.
            member: Number of the member; None for the mean over the members.

        Raises:
            ValueError: If the file does not have it.
        """
        index = file.find_forecast(init)
        if member is None:
            return cls(file, index)
        if file.member is None:
            raise ValueError(
                f"{file.path} has no members, and member {member} was asked for; leave it out"
            )
        found = np.flatnonzero(file.member == member)
        if not len(found):
            raise ValueError(
                f"{file.path} has no member {member}; it has {len(file.member)} members, from "
                f"{file.member[0]} to {file.member[-1]}"
            )
        return cls(file, index, int(found[0]))

    @property
    def last_step(self) -> int:
        """Last model step with finite values: of the member, or of all members."""
        if self.member is None:
            return int(self.file.last_step[self.forecast_index])
        return int(self.file.member_last_step[self.forecast_index, self.member])

    @property
    def n_alive(self) -> int:
        """Number of lead times at which the forecast has not ended."""
        return int((self.file.steps <= self.last_step).sum())

    def field(self, variable: str, position: int) -> Array:
        """Read a field (nlat, nlon).

        Raises:
            ValueError: If the file has no such variable, the forecast has ended, or the file is
                damaged.
        """
        self.check_alive(position)
        return self.file.field(variable, self.forecast_index, position, self.member)

    def members(self, variable: str, position: int) -> Iterator[Array]:
        """Read the fields (nlat, nlon) of all members, one after the other.

        Raises:
            ValueError: See `field`; and if the file has no members.
        """
        self.check_members()
        self.check_alive(position)
        for member in range(self.file.n_members):
            yield self.file.field(variable, self.forecast_index, position, member)

    def blocks(self, variable: str) -> Iterator[tuple[slice, Array]]:
        """Read the fields at all lead times until the end of the forecast, in blocks.

        Yields:
            Positions of the lead times, and fields (k, nlat, nlon).
        """
        self.file.check_variable(variable)
        size = max(1, _BLOCK_BYTES // (4 * self.file.grid.nlat * self.file.grid.nlon))
        for first in range(0, self.n_alive, size):
            span = slice(first, min(first + size, self.n_alive))
            yield span, self.file.field(variable, self.forecast_index, span, self.member)

    def check_alive(self, position: int) -> None:
        """Raise an error if the forecast had ended at a lead time."""
        if position >= self.n_alive:
            raise ValueError(
                f"the forecast from {self.file.forecast_label(self.forecast_index)} ended at step "
                f"{self.last_step}; there is nothing to draw at "
                f"{self.file.lead_label(position)}"
            )

    def check_members(self) -> None:
        """Raise an error if the file has no members."""
        if self.file.member is None or self.file.n_members < 2:
            raise ValueError(
                f"{self.file.path} has no members; this picture needs an ensemble, made with "
                "`forecast rollout --members`"
            )

    def label(self, of_member: bool = True) -> str:
        """Return trajectory, start and, unless left out, the member in words."""
        file = self.file
        start = f"init {time_label(file.init_time[self.forecast_index], file.time_step)}"
        parts = [] if file.trajectory is None else [file.forecast_label(self.forecast_index)]
        parts.append(start)
        if of_member and file.member is not None and file.n_members > 1:
            parts.append(
                f"mean of {file.n_members} members"
                if self.member is None
                else f"member {file.member[self.member]}"
            )
        return ", ".join(parts)

    def title(self, name: str, position: int | None = None, *, of_member: bool = True) -> str:
        """Return the title of a picture of this forecast, at one lead time or at all.

        Args:
            name: First line.
            position: Position of the lead time; None for all.
            of_member: False to leave out the member.
        """
        lines = f"{name}\n{self.label(of_member)}"
        if position is None:
            return lines
        valid = time_label(self.file.valid_time[self.forecast_index, position], self.file.time_step)
        return f"{lines}, lead {self.file.lead_label(position)}, valid {valid}"


@dataclass(frozen=True)
class TrueFields:
    """Truth of some variables of a forecast.

    Attributes:
        selection: Forecast.
        truth: Store with the truth.
        variables: Short names of the variables.
    """

    selection: Selection
    truth: Truth
    variables: tuple[str, ...]

    @classmethod
    def open(cls, selection: Selection, store: str | Path, *variables: str) -> TrueFields:
        """Open the store with the truth.

        Raises:
            ValueError: If the store does not hold the truth of the forecast.
            FileNotFoundError: If there is no store.
        """
        file, source = selection.file, Store(store)
        source.reader.in_memory = False  # few states are needed
        file.check_fits(source)
        for name in variables:
            if name in file.derived_names:
                raise ValueError(
                    f"{name} in {file.path} was computed from the forecast, and store {source.path}"
                    " does not give its truth; draw it without the truth, or draw a variable out "
                    f"of {', '.join(file.channel_names)}"
                )
            file.check_variable(name)
        truth = Truth(file, source)
        # Members may start from perturbed states.
        truth.check_start(selection.forecast_index, may_differ=file.n_members > 1)
        return cls(selection, truth, variables)

    @property
    def known(self) -> NDArray[np.int64]:
        """Positions of the lead times that the store has."""
        return self.truth.known(self.selection.forecast_index, slice(None))

    def field(self, position: int) -> Array:
        """Return the true field (nlat, nlon) of the first variable.

        Raises:
            ValueError: If the store has no state at the lead time.
        """
        field: Array = self.fields(position)[0]
        return field

    def fields(self, position: int) -> Array:
        """Return the true fields of all variables, (v, nlat, nlon); see `field`."""
        return self._of(self.truth.states, position)

    def reference(self, position: int) -> Array:
        """Return the reference of the first variable's anomaly, (nlat, nlon) or (1, 1)."""
        reference: Array = self._of(self.truth.reference, position)[0]
        return reference

    def _of(self, read: Any, position: int) -> Array:
        file, index = self.selection.file, self.selection.forecast_index
        known = self.truth.known(index, slice(position, position + 1))
        if not len(known):
            raise ValueError(
                f"store {self.truth.store.path} has no state at {file.lead_label(position)} after "
                f"{file.forecast_label(index)}; choose a shorter lead time, or draw without the "
                "truth"
            )
        channels = [file.channel_names.index(name) for name in self.variables]
        values: Array = read(index, known)[0, channels]
        return values


def check_anomaly(anomaly: bool, truth: str | Path | None) -> None:
    """Raise an error if an anomaly is asked for without the store that has its reference."""
    if anomaly and truth is None:
        raise ValueError("an anomaly needs the store with the climatology; name it with --truth")


def fields_at(
    selection: Selection, variable: str, position: int, true: TrueFields | None, anomaly: bool
) -> dict[str, Array]:
    """Read a forecast and its truth, if there is one, by the titles of their panels.

    Args:
        selection: Forecast of an open file.
        variable: Short name of the variable.
        position: Position of the lead time.
        true: Truth of the variable.
        anomaly: True for departures from the climatology of the truth, or from its mean.
    """
    fields = {"Forecast": selection.field(variable, position)}
    if true is not None:
        fields["Truth"] = true.field(position)
        if anomaly:
            reference = true.reference(position)
            fields = {title: field - reference for title, field in fields.items()}
    return fields


def long_name(file: ForecastFile, variable: str, anomaly: bool = False) -> str:
    """Return the name of a variable for titles and colour bars."""
    name = str(file.dataset[file.check_variable(variable)].attrs.get("long_name", variable))
    return f"{name}, anomaly" if anomaly else name


def units_of(file: ForecastFile, variable: str) -> str:
    """Return the units of a variable."""
    return str(file.dataset[variable].attrs.get("units", "1"))


def choose(kind: str, known: Sequence[str], wanted: Sequence[str] | None, path: Path) -> list[str]:
    """Return the wanted names, after a check that all of them are in a file.

    Args:
        kind: Kind of the names, for the error.
        known: Names in the file.
        wanted: Names that were asked for; none if None.
        path: Path of the file.

    Raises:
        ValueError: If a name is not in the file.
    """
    for name in wanted or ():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ValueError(
                f"{path} has no {kind} {name!r}; it has {', '.join(known)}"
                + (f" (nearest: {near[0]})" if near else "")
            )
    return list(wanted or ())


def lead_axis(time_step: TimeStep, steps: NDArray[np.int64]) -> tuple[Array, str]:
    """Return lead times as numbers, and their unit.

    Args:
        time_step: Interval of one model step.
        steps: Lead times in model steps, (k,).
    """
    if time_step.months is not None:
        return steps * float(time_step.months), "months"
    assert time_step.seconds is not None
    days = steps * time_step.seconds / 86400
    if days[-1] > 5 or time_step.seconds % 86400 == 0:
        return days, "days"
    return (days * 24, "h") if days[-1] >= 1 / 12 else (days * 1440, "min")


def lead_ticks(unit: str) -> MaxNLocator:
    """Return the ticks of an axis of lead times in a unit of `lead_axis`."""
    steps = [1, 2, 3, 6, 10] if unit in ("months", "h") else [1, 2, 5, 10]
    return MaxNLocator(integer=True, steps=steps)
