"""Comparison of a store with the sources that it was made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
import zarr

from configs import layout
from configs.schema import FilesData
from configs.variables import BUILT_IN, VariableTable
from data_prep.ingest.plan import make_plan
from data_prep.ingest.reading import BlockReader
from data_prep.ingest.sources import Sources
from data_prep.store.append import as_list
from data_prep.store.arrays import array, open_store, times
from data_prep.store.blocks import Block

_TOLERANCE = 1e-6


def compare_with_sources(
    store: str | Path,
    paths: Sequence[str | Path],
    *,
    states: int = 8,
    seed: int = 0,
) -> list[str]:
    """Compare a random sample of the states of a store with its sources.

    Args:
        store: Path of the store.
        paths: Sources from which it was made.
        states: Number of states to compare, of the times that both have.
        seed: Seed of the sample.

    Returns:
        A sentence for each difference; empty if all values agree to rounding.

    Raises:
        ValueError: if the store was not made from files, or if the sources cannot be read or have
            no time of the store.
    """
    group = open_store(store)
    known = {time: i for i, time in enumerate(times(group).tolist())}
    fields = array(group, layout.FIELDS)
    settings = yaml.safe_load(str(group.attrs[layout.CONFIGURATION])) or {}
    if settings.get("source") != "files":
        raise ValueError(f"{store} was not made from files; verify it without naming sources")
    # The files may have a part of the times, which need not hold any of a split.
    config = FilesData(**settings).model_copy(update={"splits": None})
    with Sources(paths, config) as sources:
        plan = make_plan(sources, config, _table(group))
        common = [i for i, time in enumerate(plan.time.tolist()) if time in known]
        if not common:
            raise ValueError(f"the sources have none of the times of {store}; give those it has")
        draw = np.random.default_rng(seed)
        chosen = draw.choice(common, min(states, len(common)), replace=False)
        reader = BlockReader(plan, sources)
        problems = []
        for t in sorted(chosen.tolist()):
            label, place = plan.step.calendar.label(plan.time[t]), known[plan.time[t].item()]
            trajectory = 0
            where: tuple[int, ...] = (place,)
            if plan.trajectories is not None:
                trajectory = int(draw.integers(len(plan.trajectories)))
                where = (trajectory, place)
            found = np.asarray(fields[where])
            expected = reader.read(Block(trajectory, t, t + 1))[0]
            problems += _differences(found, expected, [v.name for v in plan.channels], label)
        return problems


def _table(group: zarr.Group) -> VariableTable:
    """Return the table of variables with which a store was made."""
    table = BUILT_IN
    for text in as_list(group.attrs.get(layout.PLAN)):
        table = table.extended(json.loads(text).get("variables", {}))
    return table


def refuse_changed_sources(store: Path, sources: Sources, growing: Sequence[str]) -> None:
    """Raise a ValueError for a source of a store that is not as it was when the store was made.

    Args:
        store: Path of the store.
        sources: Sources that were given again, among others.
        growing: Paths of the sources of new times, which may have grown.
    """
    origin = json.loads(str(open_store(store).attrs[layout.PROVENANCE]))
    digests: dict[str, set[str | None]] = {}
    for source in origin["sources"]:
        digests.setdefault(source.get("name", ""), set()).add(source.get("digest"))
    for path in sources.paths:
        now = {} if path in growing else sources.fingerprint(path)
        then = digests.get(now.get("name", ""), {None})
        # Files of the same name may lie in several folders; one of them is to be the same.
        if None not in then | {now.get("digest")} and now["digest"] not in then:
            raise ValueError(
                f"{path} has changed since {store} was made from it; make the store again, or give "
                "the sources of the new times only"
            )


def _differences(
    found: np.ndarray, expected: np.ndarray, names: Sequence[str], time: str
) -> list[str]:
    """Return a sentence for each channel that differs."""
    problems = []
    for name, a, b in zip(names, found, expected, strict=True):
        missing = np.isnan(a) != np.isnan(b)
        scale = np.nanmax(np.abs(b), initial=0.0)
        wrong = missing | (np.abs(a - b) > _TOLERANCE * scale)
        if wrong.any():
            problems.append(
                f"{name} at {time} differs from the sources at {int(wrong.sum()):,} of "
                f"{wrong.size:,} points, by up to {np.nanmax(np.abs(a - b), initial=0.0):.3g}"
            )
    return problems
