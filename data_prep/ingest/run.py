"""Ingestion of gridded files into a training store, block by block in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.load import dump_config
from configs.schema import FilesData
from configs.time.calendar import Times
from configs.variables import BUILT_IN, Variable, VariableTable
from data_prep.ingest.catalogue.fields import read_fields
from data_prep.ingest.missing import ValidPoints, first_mask
from data_prep.ingest.plan import Plan, make_plan
from data_prep.ingest.reading import BlockReader
from data_prep.ingest.sources import Sources
from data_prep.ingest.verify import refuse_changed_sources
from data_prep.ingest.workers import (
    BlockWork,
    blocks_at_once,
    in_cluster,
    in_threads,
    memory_for_blocks,
)
from data_prep.store.arrays import open_store, times
from data_prep.store.blocks import Block
from data_prep.store.outputs import check_output
from data_prep.store.spec import StoreSpec, Trajectories
from data_prep.store.writer import StoreWriter

_MOUNTAINS = (2000.0, 9000.0)  # plausible maximum of a global orography, m
_LEAST = 64 * 2**20  # bytes of a source to read at once, if memory is short
_WRITTEN_PER_SECOND = 2e8  # bytes, to estimate the time


def ingest(
    paths: Sequence[str | Path],
    config: FilesData,
    out: str | Path,
    *,
    table: VariableTable = BUILT_IN,
    at: Times | None = None,
    append: bool = False,
    memory: int | None = None,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    announce: Callable[[Plan, float], None] = lambda plan, seconds: None,
) -> Path:
    """Write a training store from gridded files.

    An ingestion that was killed goes on where it was when it is started again with the same
    settings and unchanged sources.

    Args:
        paths: Files, globs, folders or addresses of netCDF, GRIB or zarr data; variables and times
            may be distributed over them in any way.
        config: Variables, grid, times and splits.
        out: Path of the store.
        table: Table of variables.
        at: Valid times to take, instead of those that the configuration chooses.
        append: True to add later times to the store `out`.
        memory: Bytes of memory that the process may take; by default half of what is available.
            One block and one part of a chunk are in memory in any case.
        scheduler: Address of a dask scheduler, whose workers make the blocks.
        progress: Callback with the numbers of states written and of all states.
        announce: Callback with the plan and the estimated time in seconds, before anything is
            written.

    Returns:
        Path of the store.

    Raises:
        ValueError: if the sources lack a variable, or if a variable has gaps, duplicate times,
            unknown units, undeclared missing values or no global grid.
        FileNotFoundError: if an input does not exist.
        FileExistsError: if the output exists.
    """
    out = Path(out)
    after = None
    if append:
        after = times(open_store(out))[-1]
    else:
        check_output(out)
    with Sources(paths, config) as sources:
        plan = make_plan(sources, config, table, after, at)
        if append:
            refuse_changed_sources(out, sources, plan.used)
        blocks = all_blocks(plan)
        first = Block(0, 0, 1)
        budget = memory_for_blocks(memory)
        reader = BlockReader(plan, sources, max(_LEAST, budget // 4))
        reader.expect([first, *blocks])
        began = time.monotonic()
        mask = first_mask(reader.read(first)[0], plan.channels, config)
        seconds = (time.monotonic() - began) * reader.n_groups(blocks) / reader.n_groups([first])
        spec = _spec(plan, sources, reader, mask)
        announce(plan, seconds + plan.n_bytes / _WRITTEN_PER_SECOND)
        with StoreWriter(out, spec, resume=True, append=append) as writer:
            try:
                _write(writer, plan, reader, mask, budget, scheduler, progress)
                return writer.finalise()
            except ValueError:
                writer.resume = False  # with other settings nothing of it could be kept
                raise


def all_blocks(plan: Plan) -> list[Block]:
    """Return the blocks of a store, in the order of trajectories and times."""
    count = 1 if plan.trajectories is None else len(plan.trajectories)
    n, total = plan.block_times, len(plan.time)
    return [Block(k, i, min(i + n, total)) for k in range(count) for i in range(0, total, n)]


def _write(
    writer: StoreWriter,
    plan: Plan,
    reader: BlockReader,
    mask: NDArray[np.bool_] | None,
    memory: int,
    scheduler: str | None,
    progress: Callable[[int, int], None],
) -> None:
    """Write the blocks that are missing, in threads or on the workers of a cluster."""
    blocks = writer.missing_blocks
    names = [v.name for v in plan.channels]
    moving = tuple(names.index(name) for name in plan.config.moving_mask)
    valid = ValidPoints(writer.scratch, moving)
    work = BlockWork(plan, mask, writer.handle, valid, writer.first)
    total = len(plan.time) * (1 if plan.trajectories is None else len(plan.trajectories))
    done = total - sum(b.stop - b.start for b in blocks)
    reader.expect([work.of_plan(block) for block in blocks])
    if scheduler is None:
        stream = in_threads(partial(work.write, reader), blocks, blocks_at_once(plan, memory))
    else:
        stream = in_cluster(scheduler, work, reader.sources.paths, blocks)
    for block in stream:
        done += block.stop - block.start
        progress(done, total)
    valid.put(writer.group, writer.earlier_mask)


def _spec(
    plan: Plan, sources: Sources, reader: BlockReader, mask: NDArray[np.bool_] | None
) -> StoreSpec:
    """Return the specification of the store of a plan."""
    config = plan.config
    return StoreSpec(
        grid=plan.grid,
        channels=plan.channels,
        time=plan.time,
        time_step=plan.step.label,
        calendar=plan.step.calendar.name,
        split=plan.split.tolist(),
        title=f"Training store of {', '.join(v.name for v in plan.channels)}",
        source="; ".join(plan.titles),
        configuration=dump_config(config),
        sources=[sources.fingerprint(path) for path in plan.used],
        trajectories=_trajectories(plan),
        static={v: _static(reader, v) for v in plan.static},
        mask=mask,
        moving_mask=config.moving_mask,
        block_times=plan.block_times,
        row_chunks=config.row_chunks,
        climatology_window=config.climatology.window if config.climatology.by == "day" else None,
        plan=plan.to_json(),
    )


def _trajectories(plan: Plan) -> Trajectories | None:
    if plan.trajectories is None:
        return None
    dim = plan.config.trajectories or "trajectory"
    names = tuple(f"{dim} {value}" for value in plan.trajectories)
    return Trajectories(np.arange(len(names)), names)


def _static(reader: BlockReader, static: Variable) -> NDArray[np.floating]:
    """Read a time-independent field on the target grid, (nlat, nlon)."""
    field = reader.plan.static[static]
    # Some archives repeat static fields at all times, with nothing before the first year of data.
    at = np.flatnonzero(field.time == reader.plan.time[0])[:1]
    values = read_fields(reader.sources, [field], at if len(at) else np.zeros(1, dtype=np.intp), 0)[
        0
    ]
    values = reader.to_grid(values, field.grid, static)[0]
    if not np.isfinite(values).all():
        raise ValueError(f"{field.path}: static field {field.name} has missing values")
    low, high = _MOUNTAINS
    if static.name == "orography" and not field.convert.is_identity:
        top = float(values.max())
        if not low <= top <= high:
            raise ValueError(
                f"{field.path}: {field.name} reaches {top:.0f} m after its units were "
                f"converted, expected {low:.0f} to {high:.0f} m; if the units in the file are "
                f"wrong give data.units.{field.name}=m"
            )
    return values
