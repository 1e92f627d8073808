"""Division of a run into months, each of which a restart state precedes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.gcm.worker.settings import RunSettings

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Segment:
    """Month of a run, or the part of it that the run covers.

    The states of a month are valid from its first midnight on. The first one ends the last step of
    the month before, so that an amount over a step belongs to the month of its end.

    Attributes:
        first: First day, datetime64[D].
        end: Day after the last one, datetime64[D].
        kept: True if states are written, False in the spin-up.
    """

    first: np.datetime64
    end: np.datetime64
    kept: bool

    @property
    def name(self) -> str:
        """Name of its files; see `name_of`."""
        return name_of(self.first)

    @property
    def n_days(self) -> int:
        """Number of days."""
        return int((self.end - self.first) / _DAY)

    def times(self, step_seconds: int) -> NDArray[np.datetime64]:
        """Return the valid times of its states, datetime64[s]."""
        start, end = (d.astype("datetime64[s]") for d in (self.first, self.end))
        return np.arange(start, end, np.timedelta64(step_seconds, "s"))


def name_of(day: np.datetime64) -> str:
    """Return the name of what starts on a day: its month, and the day if it is not the first."""
    text = str(day)
    return text[:7] if text.endswith("-01") else text


def segments(settings: RunSettings) -> list[Segment]:
    """Return the segments of a run in the order of time, those of the spin-up first.

    States before `settings.since` are not kept. The segment in which this day lies is divided.
    """
    first, last = np.datetime64(settings.first, "D"), np.datetime64(settings.last, "D")
    since = np.datetime64(settings.since, "D") if settings.since else first
    start = first - settings.spin_up_days * _DAY
    return [
        *_months(start, first, kept=False),
        *_months(first, since, kept=False),
        *_months(since, last + _DAY, kept=True),
    ]


def _months(start: np.datetime64, end: np.datetime64, *, kept: bool) -> Iterator[Segment]:
    while start < end:
        following = (start.astype("datetime64[M]") + 1).astype("datetime64[D]")
        stop = min(following, end)
        yield Segment(start, stop, kept)
        start = stop
