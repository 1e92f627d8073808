"""Text on what sources hold, and on what a preset would take from them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from configs.schema import FilesData
from configs.variables import BUILT_IN, Variable, VariableTable
from data_prep.ingest.catalogue.search import Catalogue, Search
from data_prep.ingest.contents import contents_of, date_label, table_lines
from data_prep.ingest.plan import Plan, make_plan
from data_prep.ingest.sources import Sources
from data_prep.ingest.wanted import wanted_channels
from data_prep.store.describe import size_label


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
        lines = contents_of(sources, settings, table)
        if config is not None:
            lines += ["", *_taken(sources, config, table)]
    return "\n".join(lines)


def plan_lines(plan: Plan) -> list[str]:
    """Return a short description of a plan."""
    n, names = len(plan.time), [v.name for v in plan.channels]
    date = partial(date_label, calendar=plan.step.calendar)
    parts = [
        f"{n} times from {date(plan.time[0])} to {date(plan.time[-1])}, one every {plan.step}",
        f"{len(names)} channels on {plan.grid}: {' '.join(names)}",
        f"{len(plan.used)} sources; {size_label(plan.n_bytes)} before compression, in blocks of "
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


def _taken(sources: Sources, config: FilesData, table: VariableTable) -> list[str]:
    """Return lines on what a configuration would take, and on what is missing."""
    wanted = [*wanted_channels(config, table), *(table.variable(name) for name in config.static)]
    rows: list[tuple[str, ...]] = [("channel", "from", "levels (hPa)", "sources")]
    refused: dict[str, ValueError] = {}
    try:
        catalogue = Search(config, table).run(sources, wanted, refused)
        for channel in wanted:
            error = refused.get(channel.name)
            unusable = (channel.name, f"not usable: {error}", "", "")
            rows.append(_from(catalogue, channel) if error is None else unusable)
        plan = ["plan:", *(f"  {line}" for line in plan_lines(make_plan(sources, config, table)))]
    except ValueError as error:
        plan = [f"no store can be made: {error}"]
    return [*table_lines(rows), "", *plan]


def _from(catalogue: Catalogue, channel: Variable) -> tuple[str, str, str, str]:
    """Return the line of a channel: variable, level, number of sources."""
    if not catalogue.holds(channel.name):
        return (channel.name, _way_out(catalogue, channel), "", "")
    names = catalogue.levels_of(channel.name)
    fields = [field for name in names for field in catalogue.found[name]]
    variables = " ".join(dict.fromkeys(field.name for field in fields))
    levels = " ".join(n.removeprefix(channel.base) for n in names) if channel.level else "-"
    return (channel.name, variables, levels, str(len({field.path for field in fields})))


def _way_out(catalogue: Catalogue, channel: Variable) -> str:
    """Return the setting that would supply a channel which the sources do not have."""
    rename = f"missing; data.rename.NAME={channel.name} if another variable is it"
    if channel.level is None:
        return rename
    around = [
        name
        for name, levels in catalogue.held.items()
        if levels and min(levels) < channel.level < max(levels)
    ]
    between = "data.interpolate_levels=true if it is one of" if around else ""
    return f"{rename}; {between} {' '.join(around)}" if around else rename
