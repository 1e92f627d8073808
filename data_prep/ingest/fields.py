"""Search for a channel in a file by its names, level and dimensions, and reading of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.calendar import GREGORIAN, Calendar, Times
from configs.schema import FilesData
from configs.timestep import TimeStep
from configs.variables import VARIABLES, Variable
from data_prep.ingest.coordinates import file_grid, horizontal_dim, pressure_levels
from data_prep.ingest.readers import Files, read_errors, unreadable
from data_prep.ingest.regrid import FileGrid
from data_prep.ingest.times import find_time, valid_times
from data_prep.ingest.units import Conversion, conversion

_HEIGHT = {"t2m": 2.0, "u10": 10.0, "v10": 10.0}
_GRID_TYPES = {
    "reduced_gg": "reduced Gaussian; make it regular first: cdo setgridtype,regular IN OUT",
    "reduced_ll": "reduced; make it regular first: cdo setgridtype,regular IN OUT",
    "sh": "spherical-harmonic coefficients; make it a grid first: cdo sp2gp IN OUT",
}


@dataclass(frozen=True, eq=False)
class FileField:
    """Values of one channel in one file.

    Attributes:
        path: Path of the file.
        dataset: Index of the data set in the file.
        name: Name of the variable in the file.
        time: Valid times, datetime64[ns], (n,); empty for a file without times.
        calendar: Calendar of the times.
        time_dim: Dimension of the times, None for a single time.
        at: Index along each further dimension.
        grid: Rows and columns.
        latitude_dim: Name of the dimension of rows.
        longitude_dim: Name of the dimension of columns.
        convert: Conversion from the units of the file to those of the variable table.
    """

    path: Path
    dataset: int
    name: str
    time: Times
    calendar: Calendar
    time_dim: str | None
    at: Mapping[str, int]
    grid: FileGrid
    latitude_dim: str
    longitude_dim: str
    convert: Conversion

    def read(self, files: Files, index: NDArray[np.intp]) -> NDArray[np.floating]:
        """Read the fields of some times in the canonical order.

        Args:
            files: Open files.
            index: Indices into `time`, (k,).

        Returns:
            Fields (k, nlat, nlon), north first, from the first longitude, in the units of the
            variable table. Missing values are NaN.
        """
        array = files[self.path][self.dataset][self.name].isel(self.at)
        if self.time_dim is not None:
            run = len(index) > 0 and bool((np.diff(index) == 1).all())
            array = array.isel({self.time_dim: slice(index[0], index[-1] + 1) if run else index})
        order = [d for d in (self.time_dim, self.latitude_dim, self.longitude_dim) if d]
        if "expver" in array.dims:
            order.insert(0, "expver")
        try:
            values = array.transpose(*order).values
        except read_errors() as error:
            raise unreadable(self.path, error) from error
        if "expver" in array.dims:
            # Final and preliminary ERA5 data in one array, each missing where the other is valid.
            values = np.where(np.isfinite(values[0]), values[0], values[-1])
        values = values.reshape(len(index), self.grid.nlat, self.grid.nlon)
        return self.convert(self.grid.ordered(values))


class AmbiguousField(ValueError):
    """Error of a field that a setting of the configuration would make unambiguous."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


def find_fields(
    files: Files, path: Path, channel: Variable, config: FilesData, *, exact_grid: bool
) -> list[FileField]:
    """Find a channel in a file.

    Args:
        files: Open files.
        path: Path of the file.
        channel: Channel to find.
        config: Renames, units and selections.
        exact_grid: True if the grid of the file must be of a known kind.

    Returns:
        One field for each data set of the file that holds the channel.

    Raises:
        ValueError: if the channel is there but cannot be used.
        AmbiguousField: if a setting would help, for instance if two variables match.
    """
    step = TimeStep.parse(config.time_step)
    found = []
    for number, dataset in enumerate(files[path]):
        name = _find_variable(dataset, channel, config, path)
        if name is not None:
            try:
                found.append(
                    _describe(path, number, dataset, name, channel, config, step, exact_grid)
                )
            except AmbiguousField as error:
                reason = f"{path}: variable {name}: {error.reason}"
                raise AmbiguousField(reason, error.remedy) from None
            except ValueError as error:
                raise ValueError(f"{path}: variable {name}: {error}") from None
    return found


def names_of(channel: Variable, config: FilesData) -> set[str]:
    """Return the names, in lower case, that a channel may have in files."""
    table = VARIABLES[base_name(channel)]
    renamed = {k for k, v in config.rename.items() if v in (channel.name, table.name)}
    return {n.lower() for n in (channel.name, table.name, *table.aliases, *renamed)}


def base_name(channel: Variable) -> str:
    """Return the short name of a channel without its level."""
    return channel.name if channel.level is None else channel.name.removesuffix(str(channel.level))


def _find_variable(
    dataset: xr.Dataset, channel: Variable, config: FilesData, path: Path
) -> str | None:
    """Return the name of a channel in a data set; None if the data set does not hold it."""
    base, names = base_name(channel), names_of(channel, config)
    exact: list[str] = []
    named: list[str] = []
    standard: list[str] = []
    for key, array in dataset.data_vars.items():
        name = str(key)
        renamed = config.rename.get(name)
        has_level = _has_level(dataset, name, channel)
        if renamed is not None:
            if renamed == channel.name or (renamed == base and has_level):
                exact.append(name)
        elif not has_level and not (channel.level and name.lower() == channel.name):
            continue
        elif names & {name.lower(), str(array.attrs.get("GRIB_shortName", "")).lower()}:
            named.append(name)
        elif channel.standard_name and _same_quantity(dataset, array, channel):
            standard.append(name)
    for candidates in (exact, named, standard):
        if len(candidates) > 1:
            raise AmbiguousField(
                f"{path}: {channel.name} could be any of {', '.join(candidates)}",
                f"say which with data.rename.{candidates[0]}={channel.name}",
            )
        if candidates:
            return candidates[0]
    return None


def _has_level(dataset: xr.Dataset, name: str, channel: Variable) -> bool:
    """Return True if a variable has the level of the channel, or neither has a level."""
    dim, levels = pressure_levels(dataset, name)
    if channel.level is None:
        return dim is None
    return bool(np.isclose(levels, channel.level, rtol=1e-4).any())


def _same_quantity(dataset: xr.Dataset, array: xr.DataArray, channel: Variable) -> bool:
    """Return True if the standard name is that of the channel, and the height where it matters."""
    name = array.attrs.get("standard_name")
    height = {"geopotential_height": "geopotential"} if channel.level is not None else {}
    if height.get(str(name), name) != channel.standard_name:
        return False
    if channel.level is not None:
        return True
    heights = [
        float(v.values)
        for v in dataset.variables.values()
        if v.ndim == 0 and v.attrs.get("standard_name") == "height"
    ]
    wanted = _HEIGHT.get(channel.name)
    return wanted is None or heights == [wanted]


def _describe(
    path: Path,
    number: int,
    dataset: xr.Dataset,
    name: str,
    channel: Variable,
    config: FilesData,
    step: TimeStep,
    exact_grid: bool,
) -> FileField:
    array = dataset[name]
    grid_type = str(array.attrs.get("GRIB_gridType", "regular_ll"))
    if not grid_type.startswith("regular_"):
        way_out = _GRID_TYPES.get(grid_type, "not regular; regrid it first: cdo remapcon,...")
        raise ValueError(f"its grid ({grid_type}) is {way_out}")
    latitude = horizontal_dim(dataset, array, "latitude")
    longitude = horizontal_dim(dataset, array, "longitude")
    grid = file_grid(dataset[latitude].values, dataset[longitude].values, exact_grid)
    time, time_dim = find_time(dataset, name, config), None
    times, calendar = np.empty(0, dtype="M8[ns]"), GREGORIAN
    static = channel.role == "static"
    if time is not None and time.ndim > 1:
        raise ValueError(
            f"it has times along {' and '.join(map(str, time.dims))}, several forecasts in one "
            "file; keep one valid time for each field first"
        )
    if time is not None:
        time_dim = str(time.dims[0]) if time.ndim else None
        if not static:  # the time of a static field has no meaning
            times, calendar = valid_times(dataset, time, step, config)
            times = np.atleast_1d(times)
    elif not static:
        raise ValueError(
            f"it has no valid times (its dimensions are {', '.join(map(str, array.dims))}); give "
            "a file with a time coordinate"
        )
    rest = [str(d) for d in array.dims if d not in (latitude, longitude, time_dim)]
    at = _indices(dataset, name, rest, channel, config)
    units = config.units.get(name, array.attrs.get("units"))
    if units is None:
        raise AmbiguousField(
            "it has no units", f"give them with data.units.{name}='{channel.units}'"
        )
    try:
        convert = conversion(str(units), channel.units)
    except ValueError as error:
        wrong = f"if the file's units are wrong give data.units.{name}"
        raise AmbiguousField(str(error), wrong) from None
    return FileField(
        path, number, name, times, calendar, time_dim, at, grid, latitude, longitude, convert
    )  # fmt: skip


def _indices(
    dataset: xr.Dataset, name: str, dims: list[str], channel: Variable, config: FilesData
) -> dict[str, int]:
    """Return the index along each dimension that is neither time nor horizontal."""
    level_dim, levels = pressure_levels(dataset, name)
    at: dict[str, int] = {}
    for dim in dims:
        size = dataset.sizes[dim]
        values: Any = dataset[dim].values if dim in dataset.variables else np.arange(size)
        if dim == level_dim and channel.level is not None:
            at[dim] = int(np.abs(levels - channel.level).argmin())
        elif dim in config.select:
            matches = np.flatnonzero(values == config.select[dim])
            if len(matches) != 1:
                raise ValueError(
                    f"data.select.{dim}={config.select[dim]:g} is not among its values "
                    f"{', '.join(map(str, values[:12]))}"
                )
            at[dim] = int(matches[0])
        elif size == 1:
            at[dim] = 0
        elif dim != "expver":
            raise AmbiguousField(
                f"it has {size} values along {dim}", f"keep one with data.select.{dim}={values[0]}"
            )
    return at
