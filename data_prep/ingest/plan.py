"""Plan of an ingestion: which entries of the sources make each channel at each time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.calendar import Times
from configs.schema import FilesData
from configs.time_axis import assign_splits, select_times
from configs.timestep import TimeStep
from configs.variables import Variable, VariableTable
from data_prep.ingest.catalogue.fields import SourceField
from data_prep.ingest.catalogue.search import Catalogue, Search
from data_prep.ingest.recipes import Recipe, Series, between_levels, recipe_of
from data_prep.ingest.regridding.derived import WindPair
from data_prep.ingest.sources import Sources
from data_prep.ingest.splits import split_trajectories
from sphere_ops.grid import Grid

_SHARD_BYTES = 64 * 2**20
_COMPUTED = frozenset({"insolation", "daily_insolation", "sin_year", "cos_year"})
_POSITIONAL = frozenset({"sin_latitude", "cos_latitude", "sin_longitude", "cos_longitude"})


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that is decided about a store before it is written.

    Attributes:
        config: Settings.
        channels: Channels of the store: predicted ones, then forcings.
        inputs: Channels that are read: those of the store that the sources have, then winds from
            which others follow.
        recipes: Recipe of each input.
        pairs: Winds from which vorticity and divergence are computed.
        time: Times of the store, datetime64[ns], (n,).
        dropped: Times that are left out, at the beginning for want of earlier accumulations.
        step: Interval of the times.
        grid: Grid of the store.
        static: Field of each static variable.
        trajectories: Value along the dimension of trajectories of each trajectory; None without.
        split: Split of each time or trajectory.
        block_times: Number of times that are written at once.
        titles: Titles of the sources.
        remarks: What is to be known of the values: that they are forecasts, or anomalies.
    """

    config: FilesData
    channels: tuple[Variable, ...]
    inputs: tuple[Variable, ...]
    recipes: tuple[Recipe, ...]
    pairs: tuple[WindPair, ...]
    time: Times
    dropped: Times
    step: TimeStep
    grid: Grid
    static: dict[Variable, SourceField]
    trajectories: NDArray[Any] | None
    split: NDArray[np.str_]
    block_times: int
    titles: Sequence[str] = ()
    remarks: Sequence[str] = ()

    @property
    def used(self) -> list[str]:
        """Paths of the sources that contribute, sorted."""
        fields = [term.field for recipe in self.recipes for term in recipe.terms]
        return sorted({f.path for f in fields} | {f.path for f in self.static.values()})

    @property
    def n_bytes(self) -> int:
        """Size of the fields before compression."""
        count = 1 if self.trajectories is None else len(self.trajectories)
        return 4 * count * len(self.time) * len(self.channels) * self.grid.nlat * self.grid.nlon

    def to_json(self) -> str:
        """Return the plan as JSON: sources of each channel, and what is done to them."""
        names = self.used
        number = {path: i for i, path in enumerate(names)}
        channels = {}
        for variable, recipe in zip(self.inputs, self.recipes, strict=True):
            count: Counter[tuple[int, str]] = Counter()
            for term in recipe.terms:
                count[number[term.field.path], term.field.name] += len(term.target)
            channels[variable.name] = {
                "from": [[path, name, n] for (path, name), n in sorted(count.items())],
                **({"how": recipe.how} if recipe.how else {}),
            }
        for pair in self.pairs:
            for name in pair.outputs:
                channels[name] = {"how": f"from the winds {pair.u} and {pair.v}"}
        return json.dumps(
            {
                "sources": names,
                "channels": channels,
                "static": {v.name: [number[f.path], f.name] for v, f in self.static.items()},
                "remarks": list(self.remarks),
                "times": len(self.time),
            }
        )


def make_plan(
    sources: Sources,
    config: FilesData,
    table: VariableTable,
    after: np.datetime64 | None = None,
) -> Plan:
    """Search the sources and decide what is read; nothing is written.

    Args:
        sources: Open sources.
        config: Settings.
        table: Table of variables.
        after: Last time of a store that is extended: only later times are planned.

    Raises:
        ValueError: if the sources lack a variable or a time, or cannot be used together.
    """
    channels = wanted_channels(config, table)
    statics = [table.variable(name) for name in config.static]
    pairs = {v.name: WindPair.of(v) for v in channels if v.base in ("vo", "d")}
    winds = [table.variable(name) for pair in pairs.values() for name in (pair.u, pair.v)]
    names = list(dict.fromkeys([*channels, *statics, *winds]))
    catalogue = Search(config, table).run(sources, names)
    computed = {
        name: pair
        for name, pair in pairs.items()
        if not catalogue.holds(name) and catalogue.holds(pair.u) and catalogue.holds(pair.v)
    }
    for variable in (*channels, *statics):
        if not catalogue.holds(variable.name) and variable.name not in computed:
            raise not_found(catalogue, variable)
    inputs = [v for v in channels if v.name not in computed]
    needed = {name for pair in computed.values() for name in (pair.u, pair.v)}
    inputs += [w for w in dict.fromkeys(winds) if w.name in needed and w not in inputs]

    series: dict[str, Series] = {}
    for variable in inputs:
        for name in catalogue.levels_of(variable.name):
            series.setdefault(name, Series.of(name, catalogue.found[name], catalogue.calendar))
    step = TimeStep.parse(config.time_step, catalogue.calendar.name)
    time = _target_times(inputs, series, catalogue, config, step)
    if after is not None:
        time = _later(time, after, config, step)
    recipes = [_recipe(v, series, catalogue, time, step) for v in inputs]
    time, dropped, recipes = _common_times(recipes, inputs, time, config, step, series, catalogue)
    every = [f for name in series for f in series[name].fields]
    grid = _target_grid(every, config)
    if catalogue.trajectories is None:
        split = assign_splits(time, config.splits, step)
    else:
        split = split_trajectories(len(catalogue.trajectories), config.splits)
    return Plan(
        config=config,
        channels=tuple(channels),
        inputs=tuple(inputs),
        recipes=tuple(recipes),
        pairs=tuple(dict.fromkeys(computed.values())),
        time=time,
        dropped=dropped,
        step=step,
        grid=grid,
        static={v: catalogue.found[v.name][0] for v in statics},
        trajectories=catalogue.trajectories,
        split=split,
        block_times=_block_times(recipes, len(channels), grid, len(time)),
        titles=tuple(catalogue.titles[:3]),
        remarks=tuple(catalogue.remarks),
    )


def wanted_channels(config: FilesData, table: VariableTable) -> list[Variable]:
    """Return the channels of a configuration with their roles: predicted ones, then forcings.

    Raises:
        ValueError: if a name is in the wrong list, or in a list twice.
    """
    predicted = [table.variable(name) for name in config.variables]
    for channel in predicted:
        if channel.role == "static":
            raise ValueError(
                f"{channel.name} in data.variables is a static field; name it in data.static "
                "instead"
            )
        if channel.role == "forcing":
            where = "model.forcing" if channel.name in _COMPUTED else "data.forcing"
            raise ValueError(
                f"{channel.name} in data.variables is a forcing field; name it in {where} instead"
            )
    for name in config.static:
        static = table.variable(name)
        if static.role != "static" or static.name in _POSITIONAL:
            raise ValueError(
                f"{static.name} in data.static is not a static field of files; expected "
                "orography or land_fraction (fields computed from the grid go into model.static)"
            )
    given = [replace(table.variable(name), role="forcing") for name in config.forcing]
    names = [v.name for v in (*predicted, *given)]
    for setting in ("mask", "moving_mask"):
        if strangers := set(getattr(config, setting)) - set(names):
            raise ValueError(
                f"data.{setting} names {', '.join(sorted(strangers))}, expected only "
                f"data.variables: {', '.join(names)}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"data.variables names one twice: {', '.join(names)}")
    return [*predicted, *given]


def not_found(catalogue: Catalogue, channel: Variable) -> ValueError:
    """Return the error of a channel that no source holds; it lists the variables of the sources."""
    described = [
        f"{name} (at {', '.join(f'{level:g}' for level in sorted(levels))} hPa)" if levels else name
        for name, levels in sorted(catalogue.held.items())
    ]
    what = f"{channel.base} at {channel.level} hPa" if channel.level else channel.long_name
    return ValueError(
        f"{channel.name} ({what}) is not in the files; "
        + (
            f"they have {'; '.join(described)}; if one of these is it, give "
            f"data.rename.NAME={channel.name}"
            if described
            else "they have no variable on latitude and longitude; give other files"
        )
    )


def _recipe(
    channel: Variable,
    series: dict[str, Series],
    catalogue: Catalogue,
    time: Times,
    step: TimeStep,
) -> Recipe:
    recipes = [
        recipe_of(series[name], channel, time, step) for name in catalogue.levels_of(channel.name)
    ]
    if len(recipes) == 1:
        return recipes[0]
    below, above = recipes
    return between_levels(below, above, catalogue.between[channel.name][2], channel.name)


def _target_times(
    inputs: Sequence[Variable],
    series: dict[str, Series],
    catalogue: Catalogue,
    config: FilesData,
    step: TimeStep,
) -> Times:
    """Return the chosen times among those of all predicted channels."""
    predicted = [v for v in inputs if v.role != "forcing"] or list(inputs)
    names = [catalogue.levels_of(v.name)[0] for v in predicted]
    instants = [n for n in names if series[n].fields[0].amount is None] or names
    union = np.unique(np.concatenate([series[n].time for n in instants]))
    return union[select_times(union, config.times, step)]


def _later(time: Times, after: np.datetime64, config: FilesData, step: TimeStep) -> Times:
    """Return the times after the last one of a store.

    Raises:
        ValueError: if there is none, or if times between are missing.
    """
    later = time[time > after]
    if not len(later):
        raise ValueError(
            f"the files have no time after {step.show(after)}, the last one of the store; give "
            "files of later times"
        )
    ends = np.array([after, later[0]], dtype="M8[ns]")
    if not (config.times.gaps or config.times.months or step.consecutive(ends).all()):
        raise ValueError(
            f"the store ends at {step.show(after)}, and the first later time of the files is "
            f"{step.show(later[0])}; give the files of the times between, or allow missing times "
            "with data.times.gaps=true"
        )
    return later


def _common_times(
    recipes: list[Recipe],
    inputs: Sequence[Variable],
    time: Times,
    config: FilesData,
    step: TimeStep,
    series: dict[str, Series],
    catalogue: Catalogue,
) -> tuple[Times, Times, list[Recipe]]:
    """Leave out times without earlier accumulations, and those of declared gaps.

    Raises:
        ValueError: if a channel has no field at a time of another one.
    """
    first = 0
    for variable, recipe in zip(inputs, recipes, strict=True):
        if variable.accumulated or variable.rate_of:
            first = max(first, int((~recipe.missing).argmax()) if recipe.missing.any() else 0)
    lost = np.any([recipe.missing for recipe in recipes], axis=0)
    if lost[first:].any() and not config.times.gaps:
        t = first + int(lost[first:].argmax())
        lacks = next(r for r in recipes if r.missing[t])
        has = next((r for r in recipes if not r.missing[t]), None)
        raise ValueError(
            f"{lacks.name} has no field at {step.calendar.label(time[t])}"
            + (f" where {has.name} has one" if has is not None else "")
            + "; give files of the same times for all variables, or data.times.gaps=true to leave "
            "such times out"
        )
    kept = ~lost
    kept[:first] = False
    if not kept.any():
        raise ValueError("no time has a field of all variables; give files of the same times")
    if kept.all():
        return time, time[:0], recipes
    chosen = time[kept]
    return chosen, time[~kept], [_recipe(v, series, catalogue, chosen, step) for v in inputs]


def _target_grid(found: Sequence[SourceField], config: FilesData) -> Grid:
    """Return the grid of the store: that of the configuration, or that of all sources."""
    first = found[0].grid.grid
    if config.grid is not None:
        wanted = Grid.of(config.grid.kind, config.grid.nlat, config.grid.nlon)
        # The same grid up to a shift in longitude needs no interpolation.
        same = first is not None and (first.kind, first.shape) == (wanted.kind, wanted.shape)
        return first if same and first is not None else wanted
    assert first is not None
    for field_ in found:
        if field_.grid.grid != first:
            raise ValueError(
                f"{field_.path} is on {field_.grid.grid} and {found[0].path} on {first}; set "
                "data.grid to bring them onto one grid"
            )
    return first


def _block_times(recipes: Sequence[Recipe], channels: int, grid: Grid, n_times: int) -> int:
    """Return the number of times of a block: whole chunks of the sources, if these are smaller."""
    most = max(1, _SHARD_BYTES // (4 * channels * grid.nlat * grid.nlon))
    chunk = 1
    for recipe in recipes:
        for term in recipe.terms[:1]:
            steps = np.diff(term.entry[:2])
            every = int(steps[0]) if len(steps) and steps[0] > 0 else 1
            chunk = max(chunk, term.field.chunk // every)
    if 1 < chunk <= most:
        most = most // chunk * chunk
    return min(n_times, most)
