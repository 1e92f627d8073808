"""Facts that all diagnostics share, and blocks of states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.time.calendar import Times
from configs.time.step import TimeStep
from configs.variables import Variable
from sphere_ops.grid import EARTH_RADIUS, Grid

Array = NDArray[np.floating[Any]]

_DAY = 86400.0


@dataclass(frozen=True)
class Setting:
    """Facts that forecast and truth share, which diagnostics depend on.

    Attributes:
        grid: Grid of the fields.
        channels: Variables of the channels.
        interval: Interval of the states, in their calendar.
        valid: Points with values in forecast and truth, bool (c, nlat, nlon).
        reference: Mean state (c, nlat, nlon), NaN where unknown; None if there is none.
        low: Lower ends of the ranges of histograms, (c,).
        high: Upper ends, (c,).
        longest: Number of consecutive states of the longest run; the smaller one of forecast and
            truth.
        segment: Number of consecutive states of a segment for spectra in time; 0 if runs are too
            short.
        seasonal: True if forecast and truth cover all months of the year.
        long_term: True if trends are per year, False if they are per day.
        static: Time-independent fields by name, (nlat, nlon).
        radius: Radius of the sphere, m.
    """

    grid: Grid
    channels: tuple[Variable, ...]
    interval: TimeStep
    valid: NDArray[np.bool_]
    reference: Array | None
    low: Array
    high: Array
    longest: int
    segment: int = 0
    seasonal: bool = False
    long_term: bool = False
    static: Mapping[str, Array] = field(default_factory=dict)
    radius: float = EARTH_RADIUS

    @cached_property
    def area(self) -> Array:
        """Area weights of the rows, (nlat, 1), whose sum over the grid is 1."""
        return self.grid.area_weights.numpy()

    @cached_property
    def latitude(self) -> Array:
        """Latitudes, degrees north, (nlat,)."""
        return self.grid.latitude.numpy()

    @property
    def names(self) -> tuple[str, ...]:
        """Short names of the channels."""
        return tuple(v.name for v in self.channels)

    @cached_property
    def place(self) -> dict[str, int]:
        """Index of each channel by its short name."""
        return {name: c for c, name in enumerate(self.names)}

    @property
    def trend_unit(self) -> str:
        """Unit of time of trends."""
        return "year" if self.long_term else "day"

    @property
    def days(self) -> float | None:
        """Interval of the states, days; None for calendar months."""
        seconds = self.interval.seconds
        return None if seconds is None else seconds / _DAY

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """True for channels whose departure from the reference is defined at all times, (c,)."""
        if self.reference is None:
            return np.asarray(self.valid.all((-2, -1)))
        return np.asarray(~(np.isnan(self.reference) & self.valid).any((-2, -1)))

    def complete(self, *names: str) -> bool:
        """Return True if all given channels are there and have values at all points."""
        return all(n in self.place and self.valid[self.place[n]].all() for n in names)


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive states of one run, all of one group.

    Attributes:
        setting: Facts on the states.
        fields: States (k, c, nlat, nlon), float64, NaN where missing.
        time: Valid times, (k,).
        group: Index of the group of times.
        first: True at the start of a run: no state before these is consecutive.
    """

    setting: Setting
    fields: Array
    time: Times
    group: int
    first: bool

    def __len__(self) -> int:
        """Return the number of states."""
        return len(self.fields)

    @cached_property
    def missing(self) -> NDArray[np.bool_] | None:
        """Missing values at valid points, (k, c, nlat, nlon); None if there are none."""
        missing = np.isnan(self.fields) & self.setting.valid
        return missing if missing.any() else None

    @cached_property
    def filled(self) -> Array:
        """States with 0 in place of missing values."""
        if self.missing is None and self.setting.valid.all():
            return self.fields
        return np.nan_to_num(self.fields)

    @cached_property
    def count(self) -> NDArray[np.int64]:
        """Number of values at each valid point, (c, nlat, nlon), or (1, 1, 1) if always the same.

        It is k at points without any value too: they are left out by `Setting.valid`.
        """
        if self.missing is None:
            return np.full((1, 1, 1), len(self))
        return len(self) - self.missing.sum(0)

    @cached_property
    def departure(self) -> Array:
        """States minus the reference, 0 where missing; the states themselves without reference."""
        reference = self.setting.reference
        if reference is None:
            return self.filled
        return np.nan_to_num(self.fields - reference)
