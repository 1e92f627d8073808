"""Comparison of a store with the sources that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from configs import layout
from configs.schema import FilesData
from configs.variables import BUILT_IN, VariableTable
from data_prep.ingest.plan import make_plan
from data_prep.ingest.reading import BlockReader
from data_prep.ingest.sources import Sources
from data_prep.store.arrays import array, open_store, times
from data_prep.store.blocks import Block

_TOLERANCE = 1e-6


def compare_with_sources(
    store: str | Path,
    paths: Sequence[str | Path],
    *,
    table: VariableTable = BUILT_IN,
    states: int = 8,
    seed: int = 0,
) -> list[str]:
    """Compare a random sample of the states of a store with its sources.

    Args:
        store: Path of the store.
        paths: Sources from which it was made.
        table: Table of variables.
        states: Number of states to compare.
        seed: Seed of the sample.

    Returns:
        A sentence for each difference; empty if all values agree to rounding.

    Raises:
        ValueError: if the sources cannot be read or lack a time of the store.
    """
    group = open_store(store)
    known = {time: i for i, time in enumerate(times(group).tolist())}
    fields = array(group, layout.FIELDS)
    config = FilesData(**yaml.safe_load(str(group.attrs[layout.CONFIGURATION])))
    with Sources(paths, config) as sources:
        plan = make_plan(sources, config, table)
        draw = np.random.default_rng(seed)
        chosen = draw.choice(len(plan.time), min(states, len(plan.time)), replace=False)
        reader = BlockReader(plan, sources)
        problems = []
        for t in sorted(chosen.tolist()):
            time, label = plan.time[t], plan.step.calendar.label(plan.time[t])
            if (place := known.get(time.item())) is None:
                problems.append(f"{label} is in the sources and not in the store")
                continue
            trajectory = 0
            where: tuple[int, ...] = (place,)
            if plan.trajectories is not None:
                trajectory = int(draw.integers(len(plan.trajectories)))
                where = (trajectory, place)
            found = np.asarray(fields[where])
            expected = reader.read(Block(trajectory, t, t + 1))[0]
            problems += _differences(found, expected, [v.name for v in plan.channels], label)
        return problems


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
