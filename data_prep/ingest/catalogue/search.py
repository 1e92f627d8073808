"""Catalogue of sources: fields of the wanted channels, found with each source opened once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.schema import FilesData
from configs.time.calendar import GREGORIAN, Calendar, Times
from configs.time.step import TimeStep
from configs.variables import Variable, VariableTable
from data_prep.ingest.catalogue.accumulation import amount_of, converted
from data_prep.ingest.catalogue.coordinates import file_grid, horizontal_dim
from data_prep.ingest.catalogue.fields import AmbiguousField, SourceField
from data_prep.ingest.catalogue.matching import Candidate, Matcher, candidates_of, heights_of
from data_prep.ingest.catalogue.times import common_calendar, find_time, valid_times
from data_prep.ingest.regridding.regrid import FileGrid
from data_prep.ingest.sources import Sources

_GRID_TYPES = {
    "reduced_gg": "reduced Gaussian; make it regular first: cdo setgridtype,regular IN OUT",
    "reduced_ll": "reduced; make it regular first: cdo setgridtype,regular IN OUT",
    "sh": "spherical-harmonic coefficients; make it a grid first: cdo sp2gp IN OUT",
}


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
        self.matcher = Matcher(config, table)
        self._grids: dict[tuple[bytes, bytes, bool], FileGrid] = {}
        self._times: dict[Any, Any] = {}
        self._calendars: dict[str, Calendar] = {}

    def run(
        self,
        sources: Sources,
        channels: Iterable[Variable],
        refused: dict[str, ValueError] | None = None,
    ) -> Catalogue:
        """Search all sources.

        Args:
            sources: Sources, each of which is opened once.
            channels: Wanted channels and static fields.
            refused: Receives the first error of each channel, which is raised without it.

        Raises:
            ValueError: if a channel is there but cannot be used.
            AmbiguousField: if a setting would help, for instance if two variables match.
        """
        channels = list(channels)
        for path in sources.paths:
            for number, dataset in enumerate(sources[path]):
                self._times.clear()  # coordinates are the same objects within a data set only
                candidates, heights = candidates_of(dataset, self.table), heights_of(dataset)
                self._note(path, dataset, candidates)
                for channel in channels:
                    try:
                        candidate = self.matcher.match(candidates, channel, heights, path)
                        if candidate is not None:
                            self._search(path, number, dataset, candidate, channel)
                    except ValueError as error:
                        if refused is None:
                            raise
                        refused.setdefault(channel.name, error)
        self.result.calendar = common_calendar(self._calendars)
        for name, fields in self.result.found.items():
            # A mean rate stands for an amount, or the other way round, only if there is no other.
            own = [field for field in fields if not field.is_related]
            self.result.found[name] = own or fields
        return self.result

    def _note(self, path: str, dataset: xr.Dataset, candidates: Sequence[Candidate]) -> None:
        """Note the title and the variables of a data set, for messages."""
        for one in candidates:
            if dataset[one.name].ndim >= 2 and not one.name.endswith(("_bnds", "_bounds")):
                held = self.result.held.setdefault(one.name, set())
                held.update(np.round(one.levels, 4).tolist())
        title = str(dataset.attrs.get("title") or path.rstrip("/").rpartition("/")[2])
        if title not in self.result.titles:
            self.result.titles.append(title)

    def _grid(self, dataset: xr.Dataset, latitude: str, longitude: str, *, exact: bool) -> FileGrid:
        """Return the grid of rows and columns; many sources share one."""
        rows, columns = dataset[latitude].values, dataset[longitude].values
        key = (rows.tobytes(), columns.tobytes(), exact)
        if key not in self._grids:
            self._grids[key] = file_grid(rows, columns, exact)
        return self._grids[key]

    def _search(
        self, path: str, number: int, dataset: xr.Dataset, candidate: Candidate, channel: Variable
    ) -> None:
        """Describe the fields of a channel in the variable that it is."""
        exact = self.matcher.exact_level(candidate, channel)
        levels = [] if exact is None else [(exact, channel)]
        if exact is None:
            around = self.matcher.between(candidate, channel)
            assert around is not None  # it would not match without the level
            levels = [
                (i, self.table.variable(f"{channel.base}{candidate.levels[i]:g}"))
                for i in (around.below, around.above)
            ]
            names = [variable.name for _, variable in levels]
            self.result.between[channel.name] = (names[0], names[1], around.weight)
        try:
            for level, variable in levels:
                found = self._describe(path, number, dataset, candidate, variable, level)
                known = self.result.found.setdefault(variable.name, [])
                # A level may be wanted for itself and to interpolate another one.
                if all((f.slab, f.level) != (found.slab, found.level) for f in known[-2:]):
                    known.append(found)
        except AmbiguousField as error:
            reason = f"{path}: variable {candidate.name}: {error.reason}"
            raise AmbiguousField(reason, error.remedy) from None
        except ValueError as error:
            raise ValueError(f"{path}: variable {candidate.name}: {error}") from None

    def _describe(
        self,
        path: str,
        number: int,
        dataset: xr.Dataset,
        candidate: Candidate,
        channel: Variable,
        level: int,
    ) -> SourceField:
        name, config = candidate.name, self.config
        array = dataset[name]
        grid_type = str(array.attrs.get("GRIB_gridType", "regular_ll"))
        if not grid_type.startswith("regular_"):
            way_out = _GRID_TYPES.get(grid_type, "not regular; regrid it first: cdo remapcon,...")
            raise ValueError(f"its grid ({grid_type}) is {way_out}")
        latitude = horizontal_dim(dataset, array, "latitude")
        longitude = horizontal_dim(dataset, array, "longitude")
        static = channel.role == "static"
        grid = self._grid(dataset, latitude, longitude, exact=config.grid is None and not static)
        dims, shape, time, start = self._time_of(path, dataset, name, static)
        rest = [str(d) for d in array.dims if d not in (latitude, longitude, *dims)]
        trajectory = self._trajectory_dim(dataset, rest)
        at = self._indices(dataset, rest, {candidate.level_dim, trajectory})
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
        return SourceField(
            path=path,
            dataset=number,
            name=name,
            time=time,
            start=start,
            time_dims=dims,
            time_shape=shape,
            chunk=_entries_of_a_chunk(array, dims),
            level_dim=candidate.level_dim,
            level=level,
            trajectory_dim=trajectory,
            at=at,
            grid=grid,
            latitude_dim=latitude,
            longitude_dim=longitude,
            convert=convert,
            amount=amount,
            is_related=self.matcher.is_related(candidate, channel),
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


def _entries_of_a_chunk(array: xr.DataArray, dims: tuple[str, ...]) -> int:
    """Return the number of times that a source compresses together."""
    sizes = array.encoding.get("chunksizes") or ()
    chunks = dict(zip(array.dims, sizes, strict=False))
    chunks.update(array.encoding.get("preferred_chunks") or {})
    return int(chunks.get(dims[-1], 1)) if dims else 1
