"""Catalogue of sources: fields of the wanted channels, found with each source opened once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.calendar import GREGORIAN, Calendar, Times
from configs.schema import FilesData
from configs.timestep import TimeStep
from configs.variables import Variable, VariableTable
from data_prep.ingest.catalogue.accumulation import amount_of, converted
from data_prep.ingest.catalogue.coordinates import file_grid, horizontal_dim, pressure_levels
from data_prep.ingest.catalogue.fields import AmbiguousField, SourceField
from data_prep.ingest.catalogue.times import common_calendar, find_time, valid_times
from data_prep.ingest.regridding.levels import bracket
from data_prep.ingest.sources import Sources

_GRID_TYPES = {
    "reduced_gg": "reduced Gaussian; make it regular first: cdo setgridtype,regular IN OUT",
    "reduced_ll": "reduced; make it regular first: cdo setgridtype,regular IN OUT",
    "sh": "spherical-harmonic coefficients; make it a grid first: cdo sp2gp IN OUT",
}
_LAYERS = 16 * 2**20  # bytes of a source that are read at once, if its chunks are smaller


@dataclass
class Catalogue:
    """Fields of the wanted channels in all sources.

    Attributes:
        found: Fields by the name of their channel; a channel that lies between two levels of the
            sources has the fields of these levels, by names such as "z600".
        between: Names of the channels below and above a channel that lies between two levels, and
            the weight of the latter.
        held: Levels in hPa of each variable of the sources, empty for a single level.
        trajectories: Values along the dimension of trajectories; None without it.
        calendar: Calendar of all times.
        titles: Titles of the data sets, or names of the sources.
        remarks: What is to be known of the values: that they are forecasts, or anomalies.
    """

    found: dict[str, list[SourceField]] = field(default_factory=dict)
    between: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    held: dict[str, set[float]] = field(default_factory=dict)
    trajectories: NDArray[Any] | None = None
    calendar: Calendar = GREGORIAN
    titles: list[str] = field(default_factory=list)
    remarks: dict[str, None] = field(default_factory=dict)

    def holds(self, name: str) -> bool:
        """Return True if the sources have a channel, or levels on both sides of it."""
        return name in self.found or name in self.between

    def levels_of(self, name: str) -> tuple[str, ...]:
        """Return the channels of the sources that make a channel: itself, or two levels."""
        return (name,) if name in self.found else self.between[name][:2]


class Search:
    """Search for channels in sources.

    Args:
        config: Renames, units and selections.
        table: Table of variables.
    """

    def __init__(self, config: FilesData, table: VariableTable) -> None:
        self.config, self.table = config, table
        self.step = TimeStep.parse(config.time_step)
        self.result = Catalogue()
        self._times: dict[Any, Any] = {}
        self._calendars: dict[str, Calendar] = {}

    def run(self, sources: Sources, channels: Iterable[Variable]) -> Catalogue:
        """Search all sources.

        Args:
            sources: Sources, each of which is opened once.
            channels: Wanted channels and static fields.

        Raises:
            ValueError: if a channel is there but cannot be used.
            AmbiguousField: if a setting would help, for instance if two variables match.
        """
        channels = list(channels)
        for path in sources.paths:
            for number, dataset in enumerate(sources[path]):
                self._times.clear()  # coordinates are the same objects within a data set only
                self._note(path, dataset)
                for channel in channels:
                    self._search(path, number, dataset, channel)
        self.result.calendar = common_calendar(self._calendars)
        for name, fields in self.result.found.items():
            # A mean rate stands for an amount, or the other way round, only if there is no other.
            own = [field for field in fields if not field.is_related]
            self.result.found[name] = own or fields
        return self.result

    def _note(self, path: str, dataset: xr.Dataset) -> None:
        for key, array in dataset.data_vars.items():
            if array.ndim >= 2 and not str(key).endswith(("_bnds", "_bounds")):
                levels = pressure_levels(dataset, str(key))[1]
                self.result.held.setdefault(str(key), set()).update(np.round(levels, 4).tolist())
        title = str(dataset.attrs.get("title") or path.rstrip("/").rpartition("/")[2])
        if title not in self.result.titles:
            self.result.titles.append(title)

    def _search(self, path: str, number: int, dataset: xr.Dataset, channel: Variable) -> None:
        name = self._find_variable(dataset, channel, path)
        if name is None:
            return
        try:
            level_dim, levels = pressure_levels(dataset, name)
            for at, variable in self._levels(levels, channel):
                found = self._describe(path, number, dataset, name, variable, level_dim, at)
                known = self.result.found.setdefault(variable.name, [])
                # A level may be wanted for itself and to interpolate another one.
                if all((f.slab, f.level) != (found.slab, found.level) for f in known[-2:]):
                    known.append(found)
        except AmbiguousField as error:
            reason = f"{path}: variable {name}: {error.reason}"
            raise AmbiguousField(reason, error.remedy) from None
        except ValueError as error:
            raise ValueError(f"{path}: variable {name}: {error}") from None

    def _find_variable(self, dataset: xr.Dataset, channel: Variable, path: str) -> str | None:
        """Return the name of a channel in a data set; None if the data set does not hold it."""
        rename = self.config.rename
        exact: list[str] = []
        named: list[str] = []
        standard: list[str] = []
        related: list[str] = []  # the mean rate of an amount, or the other way round
        for key, array in dataset.data_vars.items():
            name = str(key)
            renamed = rename.get(name)
            has_level = self._has_level(dataset, name, channel)
            if renamed is not None:
                if renamed == channel.name or (renamed == channel.base and has_level):
                    exact.append(name)
            elif not has_level and not self._says_level(dataset, name, channel):
                continue
            elif (owner := self._owner(dataset, name)) is not None:
                if owner.base == channel.base:
                    named.append(name)
                elif owner.name == channel.rate_of or owner.rate_of == channel.name:
                    related.append(name)
            elif channel.standard_name and _same_quantity(dataset, array, channel):
                standard.append(name)
        for candidates in (exact, named, standard, related):
            candidates = self._of_this_step(candidates)
            if len(candidates) > 1:
                raise AmbiguousField(
                    f"{path}: {channel.name} could be any of {', '.join(candidates)}",
                    f"say which with data.rename.{candidates[0]}={channel.name}",
                )
            if candidates:
                return candidates[0]
        return None

    def _of_this_step(self, candidates: list[str]) -> list[str]:
        """Return the names with the period of the store, if the names say their periods."""
        same = [name for name in candidates if self.table.period_of(name) == self.step.label]
        return same or candidates

    def _owner(self, dataset: xr.Dataset, name: str) -> Variable | None:
        """Return the variable of the table that the names of a variable of a file belong to."""
        has_levels = len(pressure_levels(dataset, name)[1]) > 0
        short = str(dataset[name].attrs.get("GRIB_shortName", ""))
        return self.table.find(name, has_levels) or self.table.find(short, has_levels)

    def _is_related(self, dataset: xr.Dataset, name: str, channel: Variable) -> bool:
        """Return True for the mean rate of the channel, or for the amount whose rate it is."""
        owner = self._owner(dataset, name)
        return owner is not None and name not in self.config.rename and owner.base != channel.base

    def _says_level(self, dataset: xr.Dataset, name: str, channel: Variable) -> bool:
        """Return True for a variable without levels whose name says that of the channel."""
        if channel.level is None or len(pressure_levels(dataset, name)[1]):
            return False
        found = self.table.find(name, has_levels=False)
        return found is not None and found.name == channel.name

    def _has_level(self, dataset: xr.Dataset, name: str, channel: Variable) -> bool:
        """Return True if a variable has the level of the channel, or neither has a level."""
        dim, levels = pressure_levels(dataset, name)
        if channel.level is None:
            return dim is None and not len(levels)
        return len(levels) > 0 and bool(self._levels(levels, channel))

    def _levels(self, levels: NDArray[np.float64], channel: Variable) -> list[tuple[int, Variable]]:
        """Return the indices of the levels that a channel takes, and the channel of each."""
        if channel.level is None or not len(levels):
            return [(0, channel)]
        exact = np.flatnonzero(np.isclose(levels, channel.level, rtol=1e-4))
        if len(exact):
            return [(int(exact[0]), channel)]
        inside = levels.min() < channel.level < levels.max()
        if not (self.config.interpolate_levels and inside):
            return []
        below, above, weight = bracket(levels, float(channel.level))
        pair = [(i, self.table.variable(f"{channel.base}{levels[i]:g}")) for i in (below, above)]
        self.result.between[channel.name] = (pair[0][1].name, pair[1][1].name, weight)
        return pair

    def _describe(
        self,
        path: str,
        number: int,
        dataset: xr.Dataset,
        name: str,
        channel: Variable,
        level_dim: str | None,
        level: int,
    ) -> SourceField:
        array, config = dataset[name], self.config
        grid_type = str(array.attrs.get("GRIB_gridType", "regular_ll"))
        if not grid_type.startswith("regular_"):
            way_out = _GRID_TYPES.get(grid_type, "not regular; regrid it first: cdo remapcon,...")
            raise ValueError(f"its grid ({grid_type}) is {way_out}")
        latitude = horizontal_dim(dataset, array, "latitude")
        longitude = horizontal_dim(dataset, array, "longitude")
        static = channel.role == "static"
        exact = config.grid is None and not static
        grid = file_grid(dataset[latitude].values, dataset[longitude].values, exact)
        dims, shape, time, start = self._time_of(path, dataset, name, static)
        rest = [str(d) for d in array.dims if d not in (latitude, longitude, *dims)]
        trajectory = self._trajectory_dim(dataset, rest)
        at = self._indices(dataset, rest, {level_dim, trajectory})
        units = config.units.get(name, array.attrs.get("units"))
        if units is None:
            raise AmbiguousField(
                "it has no units", f"give them with data.units.{name}='{channel.units}'"
            )
        calendar = self._calendars.get(path, GREGORIAN)
        amount = amount_of(
            dataset, name, str(units), channel, config, self.table, time, start, calendar, self.step
        )
        try:
            convert = converted(str(units), channel, amount)
        except ValueError as error:
            wrong = f"if the file's units are wrong give data.units.{name}"
            raise AmbiguousField(str(error), wrong) from None
        self._remark(array, channel, time, start)
        chunk, at_once = _entries_at_once(array, dims, latitude, longitude)
        return SourceField(
            path=path,
            dataset=number,
            name=name,
            time=time,
            start=start,
            time_dims=dims,
            time_shape=shape,
            chunk=chunk,
            time_chunk=at_once,
            level_dim=level_dim if level_dim in array.dims else None,
            level=level,
            trajectory_dim=trajectory,
            at=at,
            grid=grid,
            latitude_dim=latitude,
            longitude_dim=longitude,
            convert=convert,
            amount=amount,
            is_related=self._is_related(dataset, name, channel),
        )

    def _remark(
        self, array: xr.DataArray, channel: Variable, time: Times, start: Times | None
    ) -> None:
        """Note that values are forecasts or anomalies, which no later use of a store can see."""
        if start is not None and len(time) and (time > start).any() and not channel.accumulated:
            lead = np.unique((time - start).astype("m8[h]").astype(int))
            hours = f"{lead[0]} h" if len(lead) == 1 else f"{lead[0]} to {lead[-1]} h"
            self.result.remarks[f"{channel.name} is a forecast, {hours} ahead"] = None
        said = " ".join(str(array.attrs.get(k, "")) for k in ("standard_name", "long_name"))
        if "anomal" in f"{said} {array.name}".lower():
            self.result.remarks[f"{channel.name} is an anomaly ({array.name})"] = None

    def _time_of(
        self, path: str, dataset: xr.Dataset, name: str, static: bool
    ) -> tuple[tuple[str, ...], tuple[int, ...], Times, Times | None]:
        """Return the dimensions of time of a variable, their sizes, valid times and starts."""
        time = find_time(dataset, name, self.config)
        if time is None:
            if not static:
                dims = ", ".join(map(str, dataset[name].dims))
                raise ValueError(
                    f"it has no valid times (its dimensions are {dims}); give a file with a time "
                    "coordinate"
                )
            return (), (), np.empty(0, dtype="M8[ns]"), None
        names: tuple[str, ...] = tuple(map(str, time.dims))
        if static:
            return names, time.shape, self._static_times(dataset, time), None
        key = (time.name, names)
        if key not in self._times:
            valid, calendar = valid_times(dataset, time, self.step, self.config)
            self._calendars[path] = calendar
            self._times[key] = valid.reshape(-1), _starts(dataset, time, self.step)
        valid, start = self._times[key]
        return names, time.shape, valid, start

    def _static_times(self, dataset: xr.Dataset, time: xr.DataArray) -> Times:
        """Return the times of a static field; empty if they mean nothing."""
        try:
            return valid_times(dataset, time, self.step, self.config)[0].reshape(-1)
        except ValueError:
            return np.empty(0, dtype="M8[ns]")

    def _trajectory_dim(self, dataset: xr.Dataset, dims: Sequence[str]) -> str | None:
        """Return the dimension of trajectories of a variable, and note its values."""
        dim = self.config.trajectories or "trajectory"
        if dim not in dims:
            return None
        size = dataset.sizes[dim]
        values = dataset[dim].values if dim in dataset.variables else np.arange(size)
        known = self.result.trajectories
        if known is not None and not np.array_equal(known, values):
            raise ValueError(
                f"it has {size} trajectories along {dim} and other sources have {len(known)} or "
                "other ones; give sources of the same trajectories"
            )
        self.result.trajectories = values
        return dim

    def _indices(
        self, dataset: xr.Dataset, dims: Sequence[str], known: set[str | None]
    ) -> dict[str, int]:
        """Return the index along each dimension that is none of time, level and place."""
        at: dict[str, int] = {}
        for dim in dims:
            if dim in known or dim == "expver":
                continue
            size = dataset.sizes[dim]
            values: Any = dataset[dim].values if dim in dataset.variables else np.arange(size)
            if dim in self.config.select:
                matches = np.flatnonzero(values == self.config.select[dim])
                if len(matches) != 1:
                    raise ValueError(
                        f"data.select.{dim}={self.config.select[dim]:g} is not among its values "
                        f"{', '.join(map(str, values[:12]))}"
                    )
                at[dim] = int(matches[0])
            elif size == 1:
                at[dim] = 0
            else:
                raise AmbiguousField(
                    f"it has {size} values along {dim}",
                    f"keep one with data.select.{dim}={values[0]}, or make each a trajectory with "
                    f"data.trajectories={dim}",
                )
        return at


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
    return channel.height is None or heights == [channel.height]


def _starts(dataset: xr.Dataset, valid: xr.DataArray, step: TimeStep) -> Times | None:
    """Return the start of the forecast of each valid time, flat; None if no coordinate gives it."""
    for key, array in dataset.coords.items():
        is_start = array.attrs.get("standard_name") == "forecast_reference_time" or (
            str(key) == "time" and valid.name == "valid_time"
        )
        if is_start and set(array.dims) <= set(valid.dims):
            times, _ = valid_times(dataset, array, step)
            like = xr.DataArray(times, dims=array.dims).broadcast_like(
                xr.DataArray(np.empty(valid.shape), dims=valid.dims)
            )
            return np.asarray(like.transpose(*valid.dims).values, dtype="M8[ns]").reshape(-1)
    return None


def _entries_at_once(
    array: xr.DataArray, dims: tuple[str, ...], latitude: str, longitude: str
) -> tuple[int, int]:
    """Return the number of entries of a chunk, and of the chunks to read at once."""
    if not dims:
        return 1, 1
    sizes = array.encoding.get("chunksizes") or ()
    chunks = dict(zip(array.dims, sizes, strict=False))
    chunks.update(array.encoding.get("preferred_chunks") or {})
    chunk = int(chunks.get(dims[-1], 1))
    layer = 4 * array.sizes[latitude] * array.sizes[longitude]
    return chunk, chunk * max(1, _LAYERS // (layer * chunk))
