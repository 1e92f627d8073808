"""Read access to a training store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from configs import layout
from configs.schema import SplitRanges, TimesConfig
from configs.splits import assign_splits
from configs.time.step import TimeStep
from configs.variables import Role, Variable
from data_prep.store.arrays import open_store, time_step, times
from data_prep.store.damage import damage_named
from data_prep.store.selection.choice import choose_channels, choose_names, choose_times
from data_prep.store.selection.field_reader import FieldReader
from data_prep.store.selection.longer_step import LongerStepStatistics
from data_prep.store.selection.training_statistics import ChannelStatistics, TrainingStatistics
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current

log = logging.getLogger(__name__)


class Store:
    """Training store, or a part of one: fields on a grid, their statistics and splits.

    In a mesh, each rank reads its own rows of all fields.

    Attributes:
        path: Path of the store.
        grid: Grid of all fields.
        rows: Rows that this rank reads; all rows without a mesh.
        reader: Reader of the fields.
        channels: Variables of the channels, in the order of the fields.
        time: Valid times, datetime64[ns], shape (n,); see `configs.time.calendar`. All trajectories
            have the same times.
        time_step: Interval of the times, in their calendar. There may be gaps between them.
        split: Split of each trajectory, or of each time of a series, str, shape (n,).
        has_trajectories: True for a store of trajectories, False for one time series.
        mask: True where channels have values, (c, own rows, nlon); None if all channels have
            values everywhere. Of a channel of `moving_mask`, True where it ever has values.
        static: Time-independent fields by name, float32, (own rows, nlon).
        static_variables: Variables of the time-independent fields.
        statistics: Statistics by name (`mean`, `std`, `std_step`, `climatology`, ...). Those that
            the store lacks are absent.
        attributes: Attributes of the store.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a store. Fields are not read yet.

        Raises:
            FileNotFoundError: if the path does not exist.
            ValueError: if the path is not a store, has another format version, or is damaged.
        """
        self.path = Path(path)
        group = open_store(self.path)
        with (
            damage_named(self.path),
            xr.open_zarr(self.path, consolidated=False, chunks=None, decode_times=False) as store,
        ):
            self.attributes: dict[str, Any] = dict(store.attrs)
            self.grid = Grid.from_coordinates(store.latitude.values, store.longitude.values)
            _check_order(self.path, store, self.grid)
            self.channels = _variables(store, layout.CHANNEL)
            self.time, self.time_step = times(group), time_step(group)
            self.split: NDArray[Any] = np.array([str(s) for s in store[layout.SPLIT].values])
            self.has_trajectories = layout.TRAJECTORY in store[layout.FIELDS].dims
            self.rows = own_rows(self.grid)
            self.reader = FieldReader(
                self.path,
                store[layout.FIELDS].shape,
                tuple(range(len(self.channels))),
                np.arange(len(self.time)),
                self.rows,
            )
            self.mask: Tensor | None = None
            if layout.MASK in store:
                self.mask = torch.from_numpy(_of_rows(store[layout.MASK], self.rows).values == 1)
            self.static_variables: tuple[Variable, ...] = ()
            self.static: dict[str, Tensor] = {}
            if layout.STATIC in store:
                self.static_variables = _variables(store, layout.CHANNEL_STATIC)
                fields = torch.from_numpy(_of_rows(store[layout.STATIC], self.rows).values)
                self.static = {
                    v.name: f for v, f in zip(self.static_variables, fields, strict=True)
                }
            self._parent: Store | None = None
            self._of_parent: list[int] = []
            self.statistics = {
                name: torch.from_numpy(_of_rows(store[name], self.rows).values)
                for name in _STATISTICS
                if name in store
            }

    def select(
        self,
        *,
        channels: Sequence[str] | None = None,
        forcing: Sequence[str] = (),
        roles: Mapping[str, Role] | None = None,
        static: Sequence[str] | None = None,
        times: TimesConfig | None = None,
        time_step: TimeStep | None = None,
        splits: SplitRanges | None = None,
        phases: bool = False,
    ) -> Store:
        """Return a part of the store, which has the interface of a store.

        Statistics are entries of those of the store. If the training states change, they are
        computed over those of the part when they are first needed; with `phases`, which keeps all
        states, only the change over a step is.

        Args:
            channels: Short names of the channels to forecast, in the order of the part. Default:
                all that `forcing` does not name.
            forcing: Short names of the channels that are given at every time. They follow.
            roles: Roles that replace those of the store, by short name.
            static: Short names of the static fields. Default: all.
            times: Times to keep.
            time_step: Interval of the part, a multiple of that of the store. Only the times that
                are whole intervals after the first one are kept.
            splits: Splits of the part, for a store of one time series. Default: as in the store.
            phases: True to keep all times, in several series one after another, each with this
                interval: more windows for training. `find` needs ascending times.

        Raises:
            ValueError: if the store lacks a name, or no time is left.
        """
        part = copy(self)
        part.__dict__.pop("statistics", None)
        part.__dict__.pop("n_before", None)
        part.channels, part._of_parent = choose_channels(
            self.channels, channels, forcing, roles or {}, str(self.path)
        )
        part._parent = self
        if self.mask is not None:
            mask = self.mask[part._of_parent]
            everywhere = current().gather_rows(mask, self.grid.nlat, everywhere=True).all()
            part.mask = None if everywhere else mask
        if static is not None:
            names = [v.name for v in self.static_variables]
            chosen = choose_names(static, names, "data.static", str(self.path))
            part.static_variables = tuple(self.static_variables[i] for i in chosen)
            part.static = {name: self.static[name] for name in static}
        part.time_step = self.time_step
        if time_step is not None:
            part.time_step = replace(time_step, calendar=self.time_step.calendar)
        kept = choose_times(
            self.time, self.time_step, times, part.time_step, str(self.path), phases=phases
        )
        part.time, part.reader = self.time[kept], self.reader.part(part._of_parent, kept)
        if not self.has_trajectories:
            part.split = (
                self.split[kept]
                if splits is None
                else assign_splits(
                    part.time, splits, part.time_step, f"the chosen times of {self.path}"
                )
            )
        return part

    @cached_property
    def statistics(self) -> Mapping[str, Tensor]:
        """Statistics of a part of a store; see `select`."""
        parent = self._parent
        assert parent is not None
        states, of_parent = self._training_states, parent._training_states
        of_states = ChannelStatistics(parent.statistics, self._of_parent)
        same_step = self.time_step.multiple_of(parent.time_step) == 1
        if same_step and np.array_equal(states, of_parent):
            return of_states
        n = f"{len(states):,}"
        if not self.has_trajectories and np.array_equal(np.sort(states, axis=0), of_parent):
            log.info("the change over %s is computed over %s training states", self.time_step, n)
            pairs = parent._pairs(self.time_step)
            reader = parent.reader.part(self._of_parent, np.arange(len(parent.time)))
            return LongerStepStatistics(of_states, reader, parent.time, pairs, self.grid)
        log.info("statistics are computed over the %s training states that were chosen", n)
        return TrainingStatistics(self)

    def _pairs(self, step: TimeStep) -> NDArray[np.int64]:
        """Return places of training states and of those one step later, (2, pair)."""
        first = np.flatnonzero(self.split == "train")
        second = self.find(step.advance(self.time[first], 1))
        found = (second >= 0) & (self.split[second] == "train")
        return np.stack([first[found], second[found]])

    @property
    def _training_states(self) -> NDArray[np.int64]:
        """Places in the file of all states of the training split, (n, 1 or 2)."""
        train = np.flatnonzero(self.split == "train")
        if not self.has_trajectories:
            return self.reader.times[train, None]
        return np.stack(np.meshgrid(train, self.reader.times, indexing="ij"), -1).reshape(-1, 2)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Short names of the channels."""
        return tuple(v.name for v in self.channels)

    @property
    def moving_mask(self) -> tuple[str, ...]:
        """Channels that are also missing at points inside the mask, at times that change."""
        names = str(self.attributes.get(layout.MOVING_MASK, "")).split()
        return tuple(name for name in self.channel_names if name in names)

    @property
    def provenance(self) -> str:
        """Origin of the store, JSON text."""
        return str(self.attributes.get(layout.PROVENANCE, "{}"))

    def split_indices(self, split: str) -> NDArray[np.int64]:
        """Return the indices of a split: trajectories, or times of a series.

        Raises:
            ValueError: if the split is empty.
        """
        indices = np.flatnonzero(self.split == split)
        if not len(indices):
            present = sorted({str(s) for s in self.split if s})
            raise ValueError(
                f"{self.path} has nothing in split {split!r}; it has "
                f"{', '.join(present) or 'no splits at all'}"
            )
        return indices

    def state(self, index: int, step: int = 0) -> Tensor:
        """Return one state, float32, (c, own rows, nlon), physical units, NaN outside the mask.

        Args:
            index: Index of a trajectory, or of a time of a series (see `split_indices`).
            step: Number of steps after the first state of the trajectory, or after that time.
        """
        return self.states(index, step, 1)[0]

    def states(self, index: int, step: int, count: int) -> Tensor:
        """Return consecutive states, float32, (count, c, own rows, nlon); see `state`.

        Raises:
            ValueError: if a file of the fields is damaged.
        """
        first = step if self.has_trajectories else index + step
        trajectory = (int(index),) if self.has_trajectories else ()
        fields = self.reader.states(*trajectory, slice(first, first + count))
        return torch.from_numpy(np.ascontiguousarray(fields))

    def valid_time(self, index: int, step: int = 0) -> np.datetime64:
        """Return the valid time of `state(index, step)`."""
        return self.time[step if self.has_trajectories else index + step]

    def find(self, time: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """Return the place of each valid time on the time axis, -1 if absent, of the same shape.

        Of monthly data, the month counts.
        """
        unit = "datetime64[M]" if self.time_step.is_calendar else "datetime64[ns]"
        known, wanted = self.time.astype(unit), time.astype(unit)
        place = np.searchsorted(known, wanted).clip(max=len(known) - 1)
        return np.where(known[place] == wanted, place, -1)

    def windows(self, split: str, n_steps: int, n_history: int = 0) -> NDArray[np.int64]:
        """Return the starts of all windows of consecutive states inside a split.

        A window holds `n_history` states, the start, and `n_steps` states after it. It never
        crosses a gap between the times.

        Returns:
            Arguments `index` and `step` of `state` for each start, shape (n, 2).

        Raises:
            ValueError: if no part of the split is long enough.
        """
        indices, count = self.split_indices(split), n_history + n_steps + 1
        if self.has_trajectories:
            steps = np.flatnonzero(self.n_before >= count - 1) - n_steps
            starts = np.stack(np.meshgrid(indices, steps, indexing="ij"), -1).reshape(-1, 2)
        else:
            linked = self.time_step.consecutive(self.time) & (self.split[1:] == self.split[:-1])
            first = indices[_n_before(linked)[indices] >= count - 1] - n_steps
            starts = np.stack([first, np.zeros_like(first)], -1)
        if not len(starts):
            raise ValueError(
                f"split {split!r} of {self.path} has no {count} consecutive states; ask for "
                f"fewer rollout steps{', for less model.history' * bool(n_history)} or give the "
                "store longer series"
            )
        return starts

    @cached_property
    def n_before(self) -> NDArray[np.int64]:
        """Number of times before each time without a gap between them, (n,)."""
        return _n_before(self.time_step.consecutive(self.time))

    def describe(self, index: int, step: int = 0) -> str:
        """Return a name of a state for reports: its valid time, and its trajectory if any."""
        time = self.time_step.calendar.label(self.valid_time(index, step))
        return f"trajectory {index}, {time}" if self.has_trajectories else time

    @property
    def in_memory(self) -> bool:
        """True if the fields are small enough to be kept in memory."""
        return self.reader.in_memory

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, without the whole of which this store is a part."""
        return {k: v for k, v in self.__dict__.items() if k != "_parent"}


_STATISTICS = (
    layout.MEAN,
    layout.STD,
    layout.STD_STEP,
    layout.TIME_MEAN,
    layout.MINIMUM,
    layout.MAXIMUM,
    layout.CLIMATOLOGY,
    layout.CLIMATOLOGY_STD,
    layout.CLIMATOLOGY_STD_STEP,
    layout.LARGEST_POWER,
    layout.CLIMATOLOGY_LARGEST_POWER,
)


def _check_order(path: Path, store: xr.Dataset, grid: Grid) -> None:
    """Raise a ValueError if rows or columns are not in the order of the grid."""
    for name, expected in ((layout.LATITUDE, grid.latitude), (layout.LONGITUDE, grid.longitude)):
        found, wanted = store[name].values, expected.numpy()
        if np.abs(found - wanted).max() > 0.5 * np.abs(np.diff(wanted)).min():
            raise ValueError(
                f"{name} of {path} goes from {found[0]:g} to {found[-1]:g}; expected a store's "
                f"order, from {wanted[0]:g} to {wanted[-1]:g}; put it in that order, or ingest "
                "the files that it was made from"
            )


def _n_before(linked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of elements that are linked to each one from before, (n,).

    Args:
        linked: True for each element that its successor is linked to, (n - 1,).
    """
    index = np.arange(len(linked) + 1)
    first = np.where(np.concatenate([[False], linked]), 0, index)
    return index - np.maximum.accumulate(first)


def _of_rows(values: xr.DataArray, rows: slice) -> xr.DataArray:
    return values.isel({layout.LATITUDE: rows}) if layout.LATITUDE in values.dims else values


def _variables(store: xr.Dataset, dim: str) -> tuple[Variable, ...]:
    def column(attribute: str, default: Any) -> list[Any]:
        name = f"{dim}_{attribute}"
        return list(store[name].values) if name in store.variables else [default] * store.sizes[dim]

    return tuple(
        Variable(
            name=str(name),
            standard_name=str(standard_name),
            long_name=str(long_name),
            units=str(units),
            role=str(role),  # type: ignore[arg-type]
            conserved=bool(conserved),
            positive=bool(positive),
            accumulated=bool(accumulated),
        )
        for name, standard_name, long_name, units, role, conserved, positive, accumulated in zip(
            store[dim].values,
            column("standard_name", ""),
            column("long_name", ""),
            column("units", "1"),
            column("role", "static" if dim == layout.CHANNEL_STATIC else "prognostic"),
            column("conserved", False),
            column("positive", False),
            column("accumulated", False),
            strict=True,
        )
    )
