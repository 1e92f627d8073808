"""Fields of a channel in a source: their description, and reading of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.time.calendar import Times
from data_prep.ingest.catalogue.units import Conversion
from data_prep.ingest.regridding.regrid import FileGrid
from data_prep.ingest.sources import Sources, read_errors, unreadable


@dataclass(frozen=True)
class Amount:
    """Relation of the values of an accumulated variable to their times.

    Attributes:
        seconds: Period before its valid time that each value covers; None for accumulation from
            the start of the forecast.
        rate: True for mean rates over that period, False for amounts.
    """

    seconds: int | None
    rate: bool = False


@dataclass(frozen=True, eq=False)
class SourceField:
    """Values of one channel in one variable of a source, at one level.

    An entry is one field (nlat, nlon) at one valid time. Entries are counted along the dimensions
    of time, of which a file of forecasts has two.

    Attributes:
        path: Path or address of the source.
        dataset: Index of the data set in the source.
        name: Name of the variable in the source.
        time: Valid times of the entries, datetime64[ns], (n,); empty for a static field
            whose times mean nothing.
        start: Start of the forecast of each entry, datetime64[ns], (n,); None if unknown.
        time_dims: Dimensions of time, none to two.
        time_shape: Their sizes.
        chunk: Number of entries that the source compresses together, along the last of them.
        level_dim: Dimension of pressure levels; None for a single level.
        level: Index along it.
        trajectory_dim: Dimension of trajectories; None if the variable has none.
        at: Index along each further dimension.
        grid: Rows and columns.
        latitude_dim: Name of the dimension of rows.
        longitude_dim: Name of the dimension of columns.
        convert: Conversion from the units of the source to those of the channel.
        amount: Period of accumulation; None for values at an instant.
        is_related: True for a mean rate that stands for an amount, or the other way round.
    """

    path: str
    dataset: int
    name: str
    time: Times
    start: Times | None
    time_dims: tuple[str, ...]
    time_shape: tuple[int, ...]
    chunk: int
    level_dim: str | None
    level: int
    trajectory_dim: str | None
    at: Mapping[str, int]
    grid: FileGrid
    latitude_dim: str
    longitude_dim: str
    convert: Conversion
    amount: Amount | None = None
    is_related: bool = False

    @property
    def slab(self) -> tuple[Any, ...]:
        """Key of the fields that are read together: all levels of a variable."""
        return (self.path, self.dataset, self.name, *sorted(self.at.items()))


class AmbiguousField(ValueError):
    """Error of a field that a setting of the configuration would make unambiguous."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


def read_fields(
    sources: Sources,
    fields: Sequence[SourceField],
    entries: NDArray[np.intp],
    trajectory: int | None = None,
) -> NDArray[np.floating]:
    """Read some entries of fields that differ in nothing but their level.

    Args:
        sources: Open sources.
        fields: Fields with the same `slab`.
        entries: Numbers of the entries, ascending, (k,).
        trajectory: Index of the trajectory, for a source of trajectories.

    Returns:
        Values (k, field, nlat, nlon) in the canonical order and in the units of the channel, NaN
        where missing.

    Raises:
        ValueError: if the source is damaged.
    """
    one = fields[0]
    array = sources[one.path][one.dataset][one.name].isel(one.at)
    if one.trajectory_dim is not None:
        array = array.isel({one.trajectory_dim: trajectory})
    levels = np.unique([field.level for field in fields])
    if one.level_dim is not None:
        array = array.isel({one.level_dim: slice_or_list(levels)})
    try:
        values = _read_entries(array, one, entries)
    except read_errors() as error:
        raise unreadable(one.path, error) from error
    values = values.reshape(len(entries), len(levels), one.grid.nlat, one.grid.nlon)
    order = np.searchsorted(levels, [field.level for field in fields])
    if not np.array_equal(order, np.arange(len(levels))):
        values = values[:, order]
    return one.convert(one.grid.ordered(values))


def _read_entries(
    array: xr.DataArray, one: SourceField, entries: NDArray[np.intp]
) -> NDArray[np.floating]:
    """Read entries of an array, (k, level, nlat, nlon), without the dimensions that it lacks."""
    if not one.time_dims:
        return _read(array, one)[None]
    if len(one.time_dims) == 1:
        return _read(array.isel({one.time_dims[0]: slice_or_list(entries)}), one)
    first, second = np.unravel_index(entries, one.time_shape)
    rows = []
    for i in np.unique(first):
        index = {one.time_dims[0]: i, one.time_dims[1]: slice_or_list(second[first == i])}
        rows.append(_read(array.isel(index), one))
    return np.concatenate(rows)


def _read(array: xr.DataArray, one: SourceField) -> NDArray[np.floating]:
    """Read an array with its dimensions in the order of time, level, rows and columns."""
    order = ["expver", *one.time_dims, one.level_dim, one.latitude_dim, one.longitude_dim]
    # Transposed after it was read: xarray reads a transposed array point by point.
    values = array.values.transpose([array.dims.index(d) for d in order if d in array.dims])
    if "expver" in array.dims:
        # Final and preliminary ERA5 data in one array, each missing where the other is valid.
        values = np.where(np.isfinite(values[0]), values[0], values[-1])
    return values


def slice_or_list(index: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return an ascending index as a slice if it is evenly spaced, which is read faster."""
    steps = np.diff(index)
    if len(index) == 1 or (steps[0] > 0 and (steps == steps[0]).all()):
        step = int(steps[0]) if len(steps) else 1
        return slice(int(index[0]), int(index[-1]) + 1, step)
    return index
