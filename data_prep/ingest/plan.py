"""Plan of an ingestion: which entries of the sources make each channel at each time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.schema import FilesData
from configs.splits import assign_splits, split_later_times, split_trajectories
from configs.time.calendar import Times
from configs.time.step import TimeStep
from configs.variables import Variable, VariableTable
from data_prep.ingest.catalogue.fields import SourceField
from data_prep.ingest.catalogue.search import Search
from data_prep.ingest.recipes import Recipe
from data_prep.ingest.regridding.derived import WindPair
from data_prep.ingest.sources import Sources
from data_prep.ingest.timeline import Timeline
from data_prep.ingest.wanted import not_found, wanted_channels
from sphere_ops.grid import Grid

_SHARD_BYTES = 64 * 2**20


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
        variables: Entries of the table of variables that are not the built-in ones.
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
    variables: Mapping[str, Any] = field(default_factory=dict)
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
                "variables": self.variables,
                "times": len(self.time),
            }
        )


def make_plan(
    sources: Sources,
    config: FilesData,
    table: VariableTable,
    after: np.datetime64 | None = None,
    at: Times | None = None,
) -> Plan:
    """Search the sources and decide what is read; nothing is written.

    Args:
        sources: Open sources.
        config: Settings.
        table: Table of variables.
        after: Last time of a store that is extended: only later times are planned.
        at: Times to take, instead of those that the configuration chooses.

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

    timeline = Timeline(catalogue, inputs, config)
    time, dropped, recipes = timeline.resolve(after, at)
    step, grid = timeline.step, _target_grid(timeline.fields, config)
    if catalogue.trajectories is not None:
        split = split_trajectories(len(catalogue.trajectories), config.splits)
    elif after is not None:
        split = split_later_times(time, config.splits, step)
    else:
        split = assign_splits(time, config.splits, step)
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
        variables={name: dict(entry) for name, entry in table.changes.items()},
        remarks=tuple(catalogue.remarks),
    )


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
