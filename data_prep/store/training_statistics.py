"""Statistics of the training states of a part of a store, computed when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs import layout
from data_prep.store.climatology import Climatology, without_gaps
from data_prep.store.spectra import largest_power
from data_prep.store.statistics import Moments, PointMean
from sphere_ops.parallel.fields import own_shape
from sphere_ops.parallel.mesh import current

if TYPE_CHECKING:
    from data_prep.store.reader import Store

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
        """Mean, standard deviations and mean state of the fields."""
        at_points = self._point_mean()

        def fields() -> Iterator[tuple[NDArray[np.float64], bool]]:
            for _, values, follows in self._states():
                at_points.add(values)
                yield values, follows

        found = self._moments(fields())
        return found | {layout.TIME_MEAN: torch.from_numpy(at_points.mean.astype(np.float32))}

    @cached_property
    def _anomalies(self) -> dict[str, Tensor]:
        """Standard deviations of the anomalies and of their steps."""
        monthly = self._monthly.numpy().astype(np.float64)
        month = _month(self._store.time)
        return self._moments(
            (values - monthly[month[place]], follows) for place, values, follows in self._states()
        )

    @cached_property
    def _monthly(self) -> Tensor:
        """Mean by calendar month, (12, c, own rows, nlon)."""
        store = self._store
        month = _month(store.time)
        train = np.flatnonzero(store.split == "train")
        means = []
        for m in range(12):
            of_month = train[month[train] == m]
            at_points = self._point_mean()
            for i in of_month:
                at_points.add(store.state(int(i)).numpy())
            means.append(at_points.mean.astype(np.float32))
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
            return (store.state(index, step) - baseline(place)) / std

        return largest_power(read, len(starts), store.grid)

    def _point_mean(self) -> PointMean:
        store = self._store
        return PointMean((len(store.channels), *own_shape(store.grid)))

    def _moments(self, fields: Iterator[tuple[NDArray[np.float64], bool]]) -> dict[str, Tensor]:
        """Return mean and standard deviations of fields and of their steps, (c,) float64.

        Args:
            fields: Own rows of each field, and True if it follows the one before it by one step.
        """
        store, mesh = self._store, current()

        def whole(values: NDArray[np.float64]) -> NDArray[np.float64]:
            rows = torch.from_numpy(values)
            return mesh.gather_rows(rows, store.grid.nlat, everywhere=True).numpy()

        shape = (len(store.channels), *store.grid.shape)
        weights = np.broadcast_to(store.grid.area_weights.numpy(), shape)
        if store.mask is not None:
            weights = weights * whole(store.mask.double().numpy())
        state, step = Moments(weights), Moments(weights)
        last = np.empty(0)
        for values, follows in fields:
            values = whole(values)
            state.add(values)
            if follows:
                step.add(values - last)
            last = values
        moments = {layout.MEAN: state.mean, layout.STD: state.std, layout.STD_STEP: step.std}
        return {name: torch.from_numpy(value) for name, value in moments.items()}

    def _states(self) -> Iterator[tuple[int, NDArray[np.float64], bool]]:
        """Iterate over the training states in the order of time.

        Yields:
            Place of the time, own rows of the fields, and True if they follow the last ones by one
            step.
        """
        store = self._store
        train = np.flatnonzero(store.split == "train")
        consecutive = store.time_step.consecutive(store.time)
        state = 4 * len(store.channels) * store.grid.nlat * store.grid.nlon
        longest = max(1, _READ_BYTES // state)
        if store.has_trajectories:
            series = [(int(i), np.arange(len(store.time))) for i in train]
        else:
            series = [(0, train)]
        for index, places in series:
            follows = np.zeros(len(places), dtype=bool)
            follows[1:] = (np.diff(places) == 1) & consecutive[places[:-1]]
            runs = np.split(np.arange(len(places)), np.flatnonzero(np.diff(places) != 1) + 1)
            for run in (r[i : i + longest] for r in runs for i in range(0, len(r), longest)):
                states = store.states(index, int(places[run[0]]), len(run)).numpy()
                for n, values in zip(run, states, strict=True):
                    yield int(places[n]), values.astype(np.float64), bool(follows[n])

    @property
    def _months_of_two_years(self) -> bool:
        """True for a series whose training split has each calendar month of at least two years."""
        if self._store.has_trajectories:
            return False
        time = self._store.time[self._store.split == "train"]
        month = _month(time)
        return all(len(np.unique(time[month == m].astype("M8[Y]"))) >= 2 for m in range(12))


def _month(times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return the calendar month of each time, 0 to 11."""
    return times.astype("M8[M]").astype(np.int64) % 12
