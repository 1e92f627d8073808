"""Text on what sources hold: variables, levels, times, grids, units, packing, missing values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import xarray as xr

from configs.schema import FilesData
from configs.time.calendar import DAY, GREGORIAN, Calendar
from configs.time.step import TimeStep
from configs.variables import VariableTable
from data_prep.ingest.catalogue.coordinates import file_grid, horizontal_dim
from data_prep.ingest.catalogue.matching import Candidate, candidates_of
from data_prep.ingest.catalogue.times import find_time, valid_times
from data_prep.ingest.sources import Sources

_MANY_LEVELS = 8
_READ_BYTES = 64 * 2**20  # larger chunks are not read to count missing values


@dataclass(frozen=True)
class _Variable:
    """Variable of sources, the same in all of them.

    Attributes:
        grid: Description of its grid.
        calendar: Calendar of its times.
        name: Name in the sources.
        channel: Short name in the table of variables, or "-".
        levels: Its levels.
        units: Its units.
        packing: Type of the values in the sources.
    """

    grid: str
    calendar: Calendar
    name: str
    channel: str
    levels: str
    units: str
    packing: str


@dataclass
class _Found:
    """Sources of a variable.

    Attributes:
        missing: Missing values of the first field of the first source.
        paths: Sources.
        times: Valid times in each of them.
    """

    missing: str
    paths: list[str] = field(default_factory=list)
    times: list[np.ndarray] = field(default_factory=list)


def contents_of(sources: Sources, config: FilesData, table: VariableTable) -> list[str]:
    """Return lines on what the sources hold: a table for each set of sources, grid and times."""
    variables: dict[_Variable, _Found] = {}
    for path in sources.paths:
        for dataset in sources[path]:
            for variable, times, missing in _variables(dataset, config, table):
                if variable not in variables:  # missing values are counted in the first source
                    variables[variable] = _Found(missing())
                found = variables[variable]
                found.paths.append(path)
                found.times.append(times)
    tables: dict[tuple[object, ...], list[tuple[_Variable, _Found]]] = {}
    for variable, found in variables.items():
        when = tuple(time.tobytes() for time in found.times)
        key = (*found.paths, variable.grid, variable.calendar, when)
        tables.setdefault(key, []).append((variable, found))
    lines: list[str] = []
    for together in tables.values():
        variable, found = together[0]
        paths = list(dict.fromkeys(found.paths))
        more = f" and {len(paths) - 1} more, to {paths[-1]}" if len(paths) > 1 else ""
        lines += [*([""] if lines else []), f"{paths[0]}{more}", f"  grid   {variable.grid}"]
        lines.append(f"  times  {_time_line(found.times, variable.calendar)}")
        rows = [("variable", "channel", "levels", "units", "packing", "missing")]
        rows += [(v.name, v.channel, v.levels, v.units, v.packing, f.missing) for v, f in together]
        lines += [f"  {line}" for line in table_lines(rows)]
    return lines or ["no variable on latitude and longitude"]


def _variables(
    dataset: xr.Dataset, config: FilesData, table: VariableTable
) -> Iterator[tuple[_Variable, np.ndarray, Callable[[], str]]]:
    """Yield each variable of a data set on latitude and longitude.

    Yields:
        The variable, its valid times, and a function that counts missing values.
    """
    grids: dict[tuple[str, str], str] = {}
    for one in candidates_of(dataset, table):
        array = dataset[one.name]
        try:
            place = (
                horizontal_dim(dataset, array, "latitude"),
                horizontal_dim(dataset, array, "longitude"),
            )
        except ValueError:
            continue
        if place not in grids:
            grids[place] = _grid(*(dataset[dim].values for dim in place))
        times, calendar = _times(dataset, one.name, config)
        variable = _Variable(
            grid=grids[place],
            calendar=calendar,
            name=one.name,
            channel=config.rename.get(one.name, one.owner.name if one.owner else "-"),
            levels=_levels(one),
            units=str(config.units.get(one.name, array.attrs.get("units", "none"))),
            packing=_packing(array),
        )
        yield variable, times, partial(_missing, array, place)


def _levels(one: Candidate) -> str:
    """Return pressure levels in hPa, or the type of another level of GRIB."""
    levels = one.levels
    if not len(levels):
        return one.level_type or "-"
    if len(levels) > _MANY_LEVELS:
        return f"{len(levels)} from {levels[0]:g} to {levels[-1]:g} hPa"
    return f"{' '.join(f'{level:g}' for level in levels)} hPa"


def _packing(array: xr.DataArray) -> str:
    """Return the type of the values in a source, and the step of packed ones."""
    encoding = array.encoding
    if "bits_per_value" in encoding:
        return f"{encoding['bits_per_value']} bits"
    text = str(encoding.get("dtype", array.dtype))
    return f"{text} × {encoding['scale_factor']:.3g}" if "scale_factor" in encoding else text


def _missing(array: xr.DataArray, place: tuple[str, str]) -> str:
    """Return the number of missing values of the first field, if it can be read cheaply."""
    chunks = array.encoding.get("preferred_chunks") or {}
    n = 4 * np.prod([chunks.get(d, 1 if d not in place else array.sizes[d]) for d in array.dims])
    if n > _READ_BYTES:
        return "not read"
    first = array.isel({d: 0 for d in array.dims if d not in place})
    missing = int(np.isnan(first.values).sum()) if first.dtype.kind == "f" else 0
    return f"{missing} of {first.size}" if missing else "0"


def _grid(latitude: np.ndarray, longitude: np.ndarray) -> str:
    """Return a description of rows and columns."""
    where = (
        f"latitude {latitude[0]:g} to {latitude[-1]:g}, longitude {longitude[0]:g} to "
        f"{longitude[-1]:g}"
    )
    try:
        found = file_grid(latitude, longitude, False)
    except ValueError as error:
        return f"{len(latitude)}×{len(longitude)}, {where}; not usable: {error}"
    kind = str(found.grid) if found.grid is not None else f"{found.nlat}×{found.nlon} of no known "
    return f"{kind}{'' if found.grid is not None else 'kind'}, {where}"


def _times(dataset: xr.Dataset, name: str, config: FilesData) -> tuple[np.ndarray, Calendar]:
    """Return the valid times of a variable and their calendar; none if they cannot be read."""
    time = find_time(dataset, name, config)
    try:
        if time is not None:
            times, calendar = valid_times(dataset, time, TimeStep.parse(config.time_step), config)
            return times.reshape(-1), calendar
    except ValueError:
        pass
    return np.empty(0, dtype="M8[ns]"), GREGORIAN


def _time_line(times: list[np.ndarray], calendar: Calendar) -> str:
    time = np.unique(np.concatenate(times))
    if not len(time):
        return "none"
    if len(time) == 1:
        return date_label(time[0], calendar)
    intervals = np.diff(calendar.elapsed(time))
    steps, counts = np.unique(intervals, return_counts=True)
    usual = steps[counts.argmax()]
    gaps = int((intervals > usual).sum())
    about = f"{len(time)} from {date_label(time[0], calendar)} to {date_label(time[-1], calendar)}"
    if calendar != GREGORIAN:
        about += f" in the calendar {calendar}"
    months = np.diff(time.astype("M8[M]").astype(int))
    if usual >= 28 * DAY and (months == months[0]).all():
        return f"{about}, monthly" if months[0] == 1 else f"{about}, every {months[0]} months"
    hours = usual / (DAY // 24)
    at = time[:-1][intervals > usual]
    where = f", the first after {date_label(at[0], calendar)}" if gaps else ""
    return f"{about}, every {hours:g} h, {gaps or 'no'} gap{'' if gaps == 1 else 's'}{where}"


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines with aligned columns."""
    widths = [max(min(len(row[k]), 40) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(f"{v:<{w}}" for v, w in zip(row, widths, strict=True)).rstrip()
            for row in rows]  # fmt: skip


def date_label(time: np.datetime64, calendar: Calendar) -> str:
    """Return the true date of a time to the minute, without the time of day at midnight."""
    return calendar.label(time, "m").removesuffix("T00:00")
