"""Statistics of the training states of a part of a store, computed when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs import layout
from data_prep.store.climatology import Climatology, month_number, without_gaps
from data_prep.store.gather.merge import Sums
from data_prep.store.gather.moments import BlockStatistics, block_statistics
from data_prep.store.selection.over_rows import over_rows
from data_prep.store.spectra import largest_power
from sphere_ops.parallel.fields import own_rows, own_shape
from sphere_ops.parallel.mesh import current

if TYPE_CHECKING:
    from data_prep.store.reader import Store

_States = tuple[NDArray[np.int64], NDArray[Any], NDArray[np.bool_]]
_READ_BYTES = 32 * 2**20
"""Size of the states that are read at once."""


class ChannelStatistics(Mapping[str, Tensor]):
    """Entries of statistics for some of their channels."""

    def __init__(self, whole: Mapping[str, Tensor], channels: list[int]) -> None:
        """Choose the channels.

        Args:
            whole: Statistics by name.
            channels: Places of the channels.
        """
        self._whole, self._channels = whole, channels

    def __getitem__(self, name: str) -> Tensor:
        """Return a statistic of the chosen channels."""
        values = self._whole[name]
        # A climatology has the channels in its second dimension.
        return values[:, self._channels] if values.ndim == 4 else values[self._channels]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._whole)

    def __len__(self) -> int:
        """Return the number of statistics."""
        return len(self._whole)

    def __contains__(self, name: object) -> bool:
        """Return True for the name of a statistic, without computing it."""
        return name in self._whole


class TrainingStatistics(Mapping[str, Tensor]):
    """Statistics by name, as in a store that was made of the same states alone.

    In a mesh all ranks ask for the same ones. Each holds its own rows of fields, and all hold the
    same numbers of each channel.
    """

    def __init__(self, store: Store) -> None:
        """Choose the statistics that the training states can give.

        Args:
            store: Store whose statistics are computed.
        """
        self._store = store
        names: list[str] = []
        if "train" in store.split:
            names = [
                layout.MEAN,
                layout.STD,
                layout.STD_STEP,
                layout.MINIMUM,
                layout.MAXIMUM,
                layout.TIME_MEAN,
                layout.LARGEST_POWER,
            ]
            if self._months_of_two_years:
                names += [
                    layout.CLIMATOLOGY,
                    layout.CLIMATOLOGY_STD,
                    layout.CLIMATOLOGY_STD_STEP,
                    layout.CLIMATOLOGY_LARGEST_POWER,
                ]
        self._names = tuple(names)

    def __getitem__(self, name: str) -> Tensor:
        """Return a statistic, which is computed once."""
        if name not in self._names:
            raise KeyError(name)
        if name == layout.CLIMATOLOGY:
            return self._monthly
        if name in (layout.LARGEST_POWER, layout.CLIMATOLOGY_LARGEST_POWER):
            return self._power if name == layout.LARGEST_POWER else self._anomaly_power
        found = self._anomalies if name.startswith(layout.CLIMATOLOGY) else self._fields
        return found[name.removeprefix(f"{layout.CLIMATOLOGY}_")]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return the number of statistics."""
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        """Return True for the name of a statistic, without computing it."""
        return name in self._names

    @cached_property
    def _fields(self) -> dict[str, Tensor]:
        """Mean, standard deviations, extremes and mean state of the fields."""
        sums = self._empty_sums()

        def fields() -> Iterator[_States]:
            for places, states, follows in self._states():
                sums.add_states(states)
                yield places, states, follows

        found = self._moments(fields())
        return found | {layout.TIME_MEAN: torch.from_numpy(sums.mean)}

    @cached_property
    def _anomalies(self) -> dict[str, Tensor]:
        """Standard deviations of the anomalies and of their steps."""
        monthly = self._monthly.numpy().astype(np.float64)
        month = month_number(self._store.time)
        return self._moments(
            (places, states - monthly[month[places]], follows)
            for places, states, follows in self._states()
        )

    @cached_property
    def _monthly(self) -> Tensor:
        """Mean by calendar month, (12, c, own rows, nlon)."""
        store = self._store
        month = month_number(store.time)
        train = np.flatnonzero(store.split == "train")
        means = []
        for m in range(12):
            sums = self._empty_sums()
            sums.add_states(store.state(int(i)).numpy() for i in train[month[train] == m])
            means.append(sums.mean)
        return torch.from_numpy(np.stack(means))

    @cached_property
    def _power(self) -> Tensor:
        """Largest power of each degree of the departures from the mean."""
        mean, std = (self[name].float()[:, None, None] for name in (layout.MEAN, layout.STD))
        return self._largest(lambda place: mean, std)

    @cached_property
    def _anomaly_power(self) -> Tensor:
        """Largest power of each degree of the anomalies."""
        climatology = Climatology(without_gaps(self._monthly).nan_to_num(), self._store.time_step)
        std = self[layout.CLIMATOLOGY_STD].float()[:, None, None]
        time = self._store.time
        return self._largest(lambda place: climatology.at(time[place : place + 1])[0], std)

    def _largest(self, baseline: Callable[[int], Tensor], std: Tensor) -> Tensor:
        """Return the largest power of departures from a baseline at a place of the time axis."""
        store, starts = self._store, self._store.windows("train", 0)

        def read(i: int) -> Tensor:
            index, step = (int(n) for n in starts[i])
            place = step if store.has_trajectories else index
            return (store.state(index, step).double() - baseline(place)) / std

        return largest_power(read, len(starts), store.grid)

    def _empty_sums(self) -> Sums:
        store = self._store
        return Sums.empty((len(store.channels), *own_shape(store.grid)))

    def _moments(self, states: Iterator[_States]) -> dict[str, Tensor]:
        """Return mean, standard deviations and extremes of fields and of their steps, (c,) float64.

        Args:
            states: Some states at a time, as `_states` yields them.
        """
        grid = self._store.grid
        area = grid.area_weights[own_rows(grid), 0].numpy()

        def statistics(fields: NDArray[Any], follows: NDArray[np.bool_]) -> BlockStatistics:
            return block_statistics(fields, np.ones(len(fields), dtype=bool), follows, area)

        found = BlockStatistics.empty(len(self._store.channels))
        last = np.empty(0)
        for _, fields, follows in states:
            into = None
            if follows[0]:
                into = statistics(np.stack([last, fields[0]]), np.ones(2, dtype=bool)).step
            found, last = found.merged(statistics(fields, follows), into), fields[-1].copy()
        state, step = over_rows(found.state), over_rows(found.step)
        values = {
            layout.MEAN: state.mean_or_nan,
            layout.STD: state.std,
            layout.STD_STEP: step.std,
            layout.MINIMUM: _of_ranks(found.minimum).min(0),
            layout.MAXIMUM: _of_ranks(found.maximum).max(0),
        }
        return {name: torch.from_numpy(value) for name, value in values.items()}

    def _states(self) -> Iterator[_States]:
        """Iterate over the training states in the order of time, some at a time.

        Yields:
            Places of the times (n,), own rows of the fields (n, c, rows, nlon), and True for those
            that follow the state before them by one step, (n,).
        """
        store = self._store
        train = np.flatnonzero(store.split == "train")
        consecutive = store.time_step.consecutive(store.time)
        state = 4 * len(store.channels) * store.grid.nlat * store.grid.nlon
        longest = max(1, _READ_BYTES // state)
        series = [(0, train)]
        if store.has_trajectories:
            series = [(int(i), np.arange(len(store.time))) for i in train]
        for index, places in series:
            follows = np.zeros(len(places), dtype=bool)
            follows[1:] = (np.diff(places) == 1) & consecutive[places[:-1]]
            runs = np.split(np.arange(len(places)), np.flatnonzero(np.diff(places) != 1) + 1)
            for run in (r[i : i + longest] for r in runs for i in range(0, len(r), longest)):
                states = store.states(index, int(places[run[0]]), len(run)).numpy()
                yield places[run], states, follows[run]

    @property
    def _months_of_two_years(self) -> bool:
        """True for a series whose training split has each calendar month of at least two years."""
        if self._store.has_trajectories:
            return False
        time = self._store.time[self._store.split == "train"]
        month = month_number(time)
        return all(len(np.unique(time[month == m].astype("M8[Y]"))) >= 2 for m in range(12))


def _of_ranks(own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values (c,) of the rows of all ranks, (rank, c)."""
    latitude = current().latitude
    values = torch.zeros(latitude.ranks, len(own), dtype=torch.float64)
    values[latitude.rank] = torch.from_numpy(own)
    return np.asarray(current().sum_rows(values).numpy())
