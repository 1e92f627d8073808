"""Statistics of the training states of a store for a longer step than its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs import layout
from configs.time.calendar import Times
from data_prep.store.climatology import month_number
from data_prep.store.gather.moments import Array, Moments, block_statistics
from data_prep.store.selection.field_reader import FieldReader
from data_prep.store.selection.over_rows import over_rows
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import own_rows

_OF_A_STEP = (layout.STD_STEP, layout.CLIMATOLOGY_STD_STEP)
_READ_BYTES = 32 * 2**20
"""Size of the states that are read at once."""


class LongerStepStatistics(Mapping[str, Tensor]):
    """Statistics by name: those of the states, but for the standard deviations of a step.

    The fields are read once, in the order of time, when one of the latter is needed.
    """

    def __init__(
        self,
        of_states: Mapping[str, Tensor],
        reader: FieldReader,
        time: Times,
        pairs: NDArray[np.int64],
        grid: Grid,
    ) -> None:
        """Choose the states that are one step apart.

        Args:
            of_states: Statistics of the states, which do not depend on the step.
            reader: Reader of the fields of a series.
            time: Their valid times, (n,).
            pairs: Places of each state and of that one step later, ascending, (2, pair).
            grid: Grid of the fields.
        """
        self._of_states, self._reader, self._time, self._pairs = of_states, reader, time, pairs
        self._grid = grid

    def __getitem__(self, name: str) -> Tensor:
        """Return a statistic; those of a step are computed once."""
        if name in _OF_A_STEP and name in self._of_states:
            return self._steps[_OF_A_STEP.index(name)]
        return self._of_states[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._of_states)

    def __len__(self) -> int:
        """Return the number of statistics."""
        return len(self._of_states)

    def __contains__(self, name: object) -> bool:
        """Return True for the name of a statistic, without computing it."""
        return name in self._of_states

    @cached_property
    def _steps(self) -> tuple[Tensor, Tensor]:
        """Standard deviations of the steps of the fields and of the anomalies, float64, (c,).

        Those of the anomalies are those of the fields without a climatology.
        """
        month = month_number(self._time)
        monthly = None
        if layout.CLIMATOLOGY in self._of_states:
            monthly = self._of_states[layout.CLIMATOLOGY].numpy().astype(np.float64)
        of_fields = of_anomalies = Moments.empty(len(self._reader.channels))
        for first, second, change in self._changes():
            within = month[first] == month[second]
            if monthly is None:
                within[:] = True
            same = self._moments(change[within])
            of_fields, of_anomalies = of_fields.merged(same), of_anomalies.merged(same)
            if monthly is not None and not within.all():
                between = change[~within]
                of_fields = of_fields.merged(self._moments(between))
                before, after = month[first[~within]], month[second[~within]]
                departure = between - (monthly[after] - monthly[before])
                of_anomalies = of_anomalies.merged(self._moments(departure))
        fields, anomalies = (over_rows(found).std for found in (of_fields, of_anomalies))
        return torch.from_numpy(fields), torch.from_numpy(anomalies)

    def _changes(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Array]]:
        """Yield places of pairs (n,), (n,) and their differences, (n, c, own rows, nlon)."""
        state = 4 * len(self._reader.channels) * self._grid.nlat * self._grid.nlon
        longest = max(1, _READ_BYTES // state)
        firsts, seconds = self._pairs
        start = 0
        while start < len(firsts):
            begin = int(firsts[start])
            stop = max(start + 1, int(np.searchsorted(firsts, begin + longest)))
            first, second = firsts[start:stop], seconds[start:stop]
            fields = self._reader.read(slice(begin, int(second[-1]) + 1))
            before, after = fields[first - begin], fields[second - begin]
            yield first, second, np.subtract(after, before, dtype=np.float64)
            start = stop

    def _moments(self, change: Array) -> Moments:
        """Return the moments of differences, (n, c, own rows, nlon)."""
        area = self._grid.area_weights[own_rows(self._grid), 0].numpy()
        n = len(change)
        return block_statistics(change, np.ones(n, bool), np.zeros(n, bool), area).state
