"""Text on what sources hold, and on what a preset would take from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from configs.calendar import DAY, GREGORIAN, Calendar
from configs.schema import FilesData
from configs.timestep import TimeStep
from configs.variables import BUILT_IN, Variable, VariableTable
from data_prep.ingest.catalogue.coordinates import file_grid, horizontal_dim, pressure_levels
from data_prep.ingest.catalogue.search import Catalogue, Search
from data_prep.ingest.catalogue.times import find_time, valid_times
from data_prep.ingest.plan import Plan, make_plan, not_found, wanted_channels
from data_prep.ingest.sources import Sources

_READ_BYTES = 64 * 2**20  # larger chunks are not read to count missing values


@dataclass
class _Group:
    """Data sets of the same variables, on one grid.

    Attributes:
        grid: Description of the grid.
        rows: Lines of the table of variables.
        paths: Sources.
        times: Valid times of each.
        calendar: Calendar of the times.
        step: Interval of the first.
    """

    grid: str
    rows: tuple[tuple[str, ...], ...]
    paths: list[str] = field(default_factory=list)
    times: list[np.ndarray] = field(default_factory=list)
    calendar: Calendar = GREGORIAN


def describe_sources(
    words: Sequence[str | Path],
    config: FilesData | None = None,
    table: VariableTable = BUILT_IN,
) -> str:
    """Return a description of sources, and of what a configuration would take from them.

    Args:
        words: Files, globs, folders or addresses.
        config: Settings of the store to be made; None to describe the sources alone.
        table: Table of variables.

    Returns:
        Text of several lines.

    Raises:
        FileNotFoundError: if a source does not exist.
        ValueError: if a source cannot be read.
    """
    settings = config or FilesData(variables=("t2m",))
    with Sources(words, settings) as sources:
        lines = _held(sources, settings, table)
        if config is not None:
            lines += ["", *_taken(sources, config, table)]
    return "\n".join(lines)


def plan_lines(plan: Plan) -> list[str]:
    """Return a short description of a plan."""
    n, names = len(plan.time), [v.name for v in plan.channels]
    date = partial(_date, calendar=plan.step.calendar)
    parts = [
        f"{n} times from {date(plan.time[0])} to {date(plan.time[-1])}, one every {plan.step}",
        f"{len(names)} channels on {plan.grid}: {' '.join(names)}",
        f"{len(plan.used)} sources; {_size(plan.n_bytes)} before compression, in blocks of "
        f"{plan.block_times} times",
    ]
    if plan.trajectories is not None:
        parts[0] = f"{len(plan.trajectories)} trajectories of {parts[0]}"
    for variable, recipe in zip(plan.inputs, plan.recipes, strict=True):
        if recipe.how:
            parts.append(f"{variable.name}: {recipe.how}")
    parts += [f"{' '.join(p.outputs)}: from the winds {p.u} and {p.v}" for p in plan.pairs]
    if len(plan.dropped):
        parts.append(
            f"left out: {len(plan.dropped)} of {n + len(plan.dropped)} times, which lack a field "
            f"of a variable or earlier accumulations, first {date(plan.dropped[0])}"
        )
    return [*parts, *plan.remarks]


def _held(sources: Sources, config: FilesData, table: VariableTable) -> list[str]:
    """Return lines on what the sources hold."""
    groups: dict[tuple[object, ...], _Group] = {}
    for path in sources.paths:
        for dataset in sources[path]:
            grid, rows = _variables(dataset, config, table)
            if not rows:
                continue
            times, calendar = _times(dataset, rows[0][0], config)
            key = (grid, calendar, tuple(row[:4] for row in rows))
            group = groups.setdefault(key, _Group(grid, rows, calendar=calendar))
            group.paths.append(path)
            group.times.append(times)
    lines: list[str] = []
    for group in groups.values():
        paths = list(dict.fromkeys(group.paths))
        more = f" and {len(paths) - 1} more, to {paths[-1]}" if len(paths) > 1 else ""
        lines += [*([""] if lines else []), f"{paths[0]}{more}"]
        lines += [f"  grid   {group.grid}", f"  times  {_time_line(group, config)}"]
        head = ("variable", "channel", "levels (hPa)", "units", "packing", "missing")
        lines += [f"  {line}" for line in _table([head, *group.rows])]
    return lines or ["no variable on latitude and longitude"]


def _variables(
    dataset: xr.Dataset, config: FilesData, table: VariableTable
) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """Return the grid of a data set, and a line of the table for each variable on it."""
    grid, rows = "", []
    for key, array in dataset.data_vars.items():
        name = str(key)
        try:
            latitude = horizontal_dim(dataset, array, "latitude")
            longitude = horizontal_dim(dataset, array, "longitude")
        except ValueError:
            continue
        if not grid:
            grid = _grid(dataset[latitude].values, dataset[longitude].values)
        levels = pressure_levels(dataset, name)[1]
        short = str(array.attrs.get("GRIB_shortName", ""))
        known = (
            table.find(config.rename.get(name, name), len(levels) > 0)
            or table.find(short, len(levels) > 0)
        )  # fmt: skip
        packing = str(array.encoding.get("dtype", array.dtype))
        if "scale_factor" in array.encoding:
            packing += f" × {array.encoding['scale_factor']:.3g}"
        rows.append((
            name, known.name if known else "-", " ".join(f"{x:g}" for x in levels) or "-",
            str(config.units.get(name, array.attrs.get("units", "none"))), packing,
            _missing(array, (latitude, longitude)),
        ))  # fmt: skip
    return grid, tuple(rows)


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


def _time_line(group: _Group, config: FilesData) -> str:
    time = np.unique(np.concatenate(group.times))
    if not len(time):
        return "none that can be read"
    calendar = group.calendar
    if len(time) == 1:
        return _date(time[0], calendar)
    intervals = np.diff(calendar.elapsed(time))
    steps, counts = np.unique(intervals, return_counts=True)
    usual = steps[counts.argmax()]
    gaps = int((intervals > usual).sum())
    about = f"{len(time)} from {_date(time[0], calendar)} to {_date(time[-1], calendar)}"
    if calendar != GREGORIAN:
        about += f" in the calendar {calendar}"
    months = np.diff(time.astype("M8[M]").astype(int))
    if usual >= 28 * DAY and (months == months[0]).all():
        return f"{about}, monthly" if months[0] == 1 else f"{about}, every {months[0]} months"
    hours = usual / (DAY // 24)
    at = time[:-1][intervals > usual]
    where = f", the first after {_date(at[0], calendar)}" if gaps else ""
    return f"{about}, every {hours:g} h, {gaps or 'no'} gap{'' if gaps == 1 else 's'}{where}"


def _taken(sources: Sources, config: FilesData, table: VariableTable) -> list[str]:
    """Return lines on what a configuration would take, and on what is missing."""
    wanted = [*wanted_channels(config, table), *(table.variable(name) for name in config.static)]
    rows: list[tuple[str, ...]] = [("channel", "from", "levels (hPa)", "sources")]
    for channel in wanted:
        try:
            rows.append(_from(Search(config, table).run(sources, [channel]), channel))
        except ValueError as error:
            rows.append((channel.name, f"not usable: {error}", "", ""))
    try:
        plan = ["plan:", *(f"  {line}" for line in plan_lines(make_plan(sources, config, table)))]
    except ValueError as error:
        plan = [f"no store can be made: {error}"]
    return [*_table(rows), "", *plan]


def _from(catalogue: Catalogue, channel: Variable) -> tuple[str, str, str, str]:
    """Return the line of a channel: variable, level, number of sources."""
    if not catalogue.holds(channel.name):
        return (channel.name, f"missing: {not_found(catalogue, channel)}", "", "")
    names = catalogue.levels_of(channel.name)
    fields = [field for name in names for field in catalogue.found[name]]
    variables = " ".join(dict.fromkeys(field.name for field in fields))
    levels = " ".join(n.removeprefix(channel.base) for n in names) if channel.level else "-"
    return (channel.name, variables, levels, str(len({field.path for field in fields})))


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(min(len(row[k]), 40) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(f"{v:<{w}}" for v, w in zip(row, widths, strict=True)).rstrip()
            for row in rows]  # fmt: skip


def _date(time: np.datetime64, calendar: Calendar) -> str:
    return calendar.label(time, "m").removesuffix("T00:00")


def _size(n: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB"
