"""The read side of the store."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import zarr
from numpy.typing import NDArray
from torch import Tensor

from configs import layout
from configs.timestep import TimeStep
from configs.variables import Variable
from data_prep.store.damage import damage_named, refuse_missing_chunks
from sphere_ops.grid import Grid
from sphere_ops.memory import available_memory
from sphere_ops.parallel.fields import own_rows

_IN_MEMORY_BYTES = 2 * 1024**3
_IN_MEMORY_SHARE = 0.25
"""Stores up to this size, and this share of the memory that there is, are read once; larger ones
state by state, by worker processes."""


class Store:
    """A training store: fields on a grid at regular times, their statistics and splits.

    Attributes:
        path: where it is.
        grid: the grid of all fields.
        rows: the rows that this process reads of all fields: all, unless it is in a mesh.
        channels: what the channels are, in the order of the fields.
        time: valid times, datetime64[ns] (n,); of trajectories, the times that they share.
        time_step: interval of the times.
        split: the split of each trajectory, or of each time of a series, str (n,).
        has_trajectories: whether the store holds many trajectories instead of one series.
        mask: where channels have values, bool (c, nlat, nlon); None if all have everywhere. In a
            mesh own rows.
        static: time-independent fields by name, float32 (nlat, nlon); in a mesh own rows.
        static_variables: what they are.
        statistics: by name (`mean`, `std`, `std_step`, `climatology`, ...), as the store has them.
        attributes: the attributes of the store.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a store; fields are read when they are asked for.

        Raises:
            FileNotFoundError: if there is nothing at the path.
            ValueError: if it is no store, one of another format version, or damaged.
        """
        self.path = Path(path)
        with damage_named(self.path), _open(self.path) as store:
            refuse_missing_chunks(self.path)
            self.attributes: dict[str, Any] = dict(store.attrs)
            self.grid = Grid.from_coordinates(store.latitude.values, store.longitude.values)
            _check_order(self.path, store, self.grid)
            self.channels = _variables(store, layout.CHANNEL)
            self.time = store[layout.TIME].values.astype("datetime64[ns]")
            self.time_step = TimeStep.parse(self.attributes[layout.TIME_STEP])
            self.split: NDArray[Any] = np.array([str(s) for s in store[layout.SPLIT].values])
            self.has_trajectories = layout.TRAJECTORY in store[layout.FIELDS].dims
            self.rows = own_rows(self.grid)
            share = (self.rows.stop - self.rows.start) / self.grid.nlat
            self.n_bytes = int(store[layout.FIELDS].nbytes * share)
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
            self.statistics = {
                name: torch.from_numpy(_of_rows(store[name], self.rows).values)
                for name in _STATISTICS
                if name in store
            }

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Short names of the channels."""
        return tuple(v.name for v in self.channels)

    @property
    def provenance(self) -> str:
        """JSON: what the store was made from."""
        return str(self.attributes.get(layout.PROVENANCE, "{}"))

    def split_indices(self, split: str) -> NDArray[np.int64]:
        """Indices of a split: trajectories, or times of a series.

        Raises:
            ValueError: if the store has nothing in that split.
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
        """One state, float32 (c, nlat, nlon), physical units, NaN outside the mask.

        In a mesh its own rows.

        Args:
            index: a trajectory, or a time of a series (see `split_indices`).
            step: steps after the trajectory's first state, or after that time.
        """
        return self.states(index, step, 1)[0]

    def states(self, index: int, step: int, count: int) -> Tensor:
        """Consecutive states, float32 (count, c, nlat, nlon), in a mesh own rows; see `state`.

        Raises:
            ValueError: if the file that holds them is damaged.
        """
        first = step if self.has_trajectories else index + step
        trajectory = (int(index),) if self.has_trajectories else ()
        where = (*trajectory, slice(first, first + count))
        if self.in_memory:
            fields = self._fields[where]
        else:
            with damage_named(self.path, where):
                fields = self._fields[(*where, slice(None), self.rows)]
        return torch.from_numpy(np.ascontiguousarray(fields))

    def valid_time(self, index: int, step: int = 0) -> np.datetime64:
        """Valid time of `state(index, step)`."""
        return self.time[step if self.has_trajectories else index + step]

    def windows(self, split: str, n_steps: int, n_history: int = 0) -> NDArray[np.int64]:
        """Where `n_steps + 1` consecutive states of a split start, with so many before them.

        Returns:
            (n, 2): the arguments `index` and `step` of `state`.

        Raises:
            ValueError: if no part of the split is that long.
        """
        indices, count = self.split_indices(split), n_history + n_steps + 1
        if self.has_trajectories:
            steps = np.arange(n_history, len(self.time) - n_steps)
            starts = np.stack(np.meshgrid(indices, steps, indexing="ij"), -1).reshape(-1, 2)
        else:
            inside = np.isin(np.arange(len(self.time)), indices).astype(int)
            length = np.convolve(inside, np.ones(count, dtype=int), "valid")
            first = np.flatnonzero(length == count) + n_history
            starts = np.stack([first, np.zeros_like(first)], -1)
        if not len(starts):
            raise ValueError(
                f"split {split!r} of {self.path} has no {count} consecutive states; ask for "
                f"fewer rollout steps{', for less model.history' * bool(n_history)} or give the "
                "store longer series"
            )
        return starts

    def describe(self, index: int, step: int = 0) -> str:
        """A state in words, for reports."""
        time = np.datetime_as_string(self.valid_time(index, step), unit="s")
        return f"trajectory {index}, {time}" if self.has_trajectories else str(time)

    @cached_property
    def in_memory(self) -> bool:
        """Whether the fields are small enough to be read once."""
        return self.n_bytes <= min(_IN_MEMORY_BYTES, _IN_MEMORY_SHARE * available_memory())

    @cached_property
    def _fields(self) -> Any:
        with damage_named(self.path, ()):
            array = zarr.open_array(self.path / layout.FIELDS, mode="r")
            return array[..., self.rows, :] if self.in_memory else array

    def __getstate__(self) -> dict[str, Any]:
        """What a worker process gets: it opens the fields itself."""
        return {k: v for k, v in self.__dict__.items() if k != "_fields"}


_STATISTICS = (
    layout.MEAN,
    layout.STD,
    layout.STD_STEP,
    layout.TIME_MEAN,
    layout.CLIMATOLOGY,
    layout.CLIMATOLOGY_STD,
    layout.CLIMATOLOGY_STD_STEP,
    layout.LARGEST_POWER,
    layout.CLIMATOLOGY_LARGEST_POWER,
)


def _open(path: Path) -> xr.Dataset:
    if not path.exists():
        raise FileNotFoundError(
            f"no store at {path}; make one with `forecast data swe` or `forecast data ingest`"
        )
    wrong = f"{path} is not a training store; make one with `forecast data swe` or `ingest`"
    try:
        store = xr.open_zarr(path, consolidated=False, chunks=None)
    except Exception as error:  # zarr and xarray raise many kinds for a folder that is not theirs
        raise ValueError(wrong) from error
    if layout.FIELDS not in store:
        raise ValueError(wrong)
    version = store.attrs.get(layout.FORMAT_VERSION)
    if version != layout.STORE_VERSION:
        raise ValueError(
            f"{path} has format version {version}, this program reads {layout.STORE_VERSION}; "
            "make the store again"
        )
    return store


def _check_order(path: Path, store: xr.Dataset, grid: Grid) -> None:
    """Refuse fields that are not in the order of their grid, which are read as they lie."""
    for name, expected in ((layout.LATITUDE, grid.latitude), (layout.LONGITUDE, grid.longitude)):
        found, wanted = store[name].values, expected.numpy()
        if np.abs(found - wanted).max() > 0.5 * np.abs(np.diff(wanted)).min():
            raise ValueError(
                f"{name} of {path} goes from {found[0]:g} to {found[-1]:g}; expected a store's "
                f"order, from {wanted[0]:g} to {wanted[-1]:g}; put it in that order, or ingest "
                "the files that it was made from"
            )


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
        )
        for name, standard_name, long_name, units, role, conserved in zip(
            store[dim].values,
            column("standard_name", ""),
            column("long_name", ""),
            column("units", "1"),
            column("role", "static" if dim == layout.CHANNEL_STATIC else "prognostic"),
            column("conserved", False),
            strict=True,
        )
    )
