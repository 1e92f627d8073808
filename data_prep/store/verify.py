"""Verification of a store against itself: files, checksums, masks, splits and statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from configs import layout
from data_prep.store.arrays import array, open_store, strings, time_step, times
from data_prep.store.blocks import Block, Blocks
from data_prep.store.gather.merge import Part, merge
from data_prep.store.gather.moments import BlockStatistics, Moments
from data_prep.store.statistics import RecordedParts
from sphere_ops.grid import Grid

_ROUNDING = 1e-9
"""Relative error of a statistic in float64 that is no fault."""


@dataclass(frozen=True)
class Problem:
    """Fault of a store.

    Attributes:
        where: File, array or time that has the fault.
        what: Description of the fault, one line.
    """

    where: str
    what: str

    def __str__(self) -> str:
        """Return both as one line."""
        return f"{self.where}: {self.what}"


def verify(
    path: str | Path, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Problem]:
    """Read a whole store and return its faults.

    All chunks are read, which checks their checksums. The files of the fields are compared with the
    digests that were recorded when they were written, and the statistics with those of the fields.
    A store that was made before digests were recorded is not checked for them.

    Args:
        path: Path of the store.
        progress: Callback with the numbers of blocks read and of all blocks.

    Returns:
        Faults; empty for a sound store.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the path is not a store.
    """
    path = Path(path)
    try:
        group = open_store(path)
    except ValueError as error:
        if not (path / "zarr.json").is_file():
            raise
        return [Problem(str(path), str(error))]
    problems = list(_unreadable(group))
    if problems:
        return problems
    problems += [*_axes(group), *_splits(group)]
    if problems:
        return problems
    return [*problems, *_blocks(group, progress)]


def _unreadable(group: zarr.Group, prefix: str = "") -> Iterator[Problem]:
    """Read all arrays but the fields, which are read block by block."""
    for name, held in group.members():
        if isinstance(held, zarr.Group):
            yield from _unreadable(held, f"{prefix}{name}/")
            continue
        if name == layout.FIELDS and not prefix:
            continue
        try:
            for start in range(held.shape[0]) if held.ndim > 3 else [slice(None)] * (held.ndim > 0):
                held[start]
        except Exception as error:  # zarr and its codecs raise many kinds
            yield Problem(f"{prefix}{name}", f"cannot be read ({error})")


def _axes(group: zarr.Group) -> Iterator[Problem]:
    """Compare sizes, coordinates and times."""
    fields, step = array(group, layout.FIELDS), time_step(group)
    names = fields.metadata.dimension_names  # type: ignore[union-attr]
    for dim, size in zip(names or (), fields.shape, strict=False):
        if dim in group and array(group, str(dim)).shape != (size,):
            yield Problem(
                str(dim), f"has shape {array(group, str(dim)).shape}, the fields have {size}"
            )
    axes = (np.asarray(array(group, n)[...]) for n in (layout.LATITUDE, layout.LONGITUDE))
    try:
        Grid.from_coordinates(*axes)
    except ValueError as error:
        yield Problem(f"{layout.LATITUDE}, {layout.LONGITUDE}", str(error))
    time = times(group)
    backwards = np.flatnonzero(np.diff(time) <= np.timedelta64(0))
    if len(backwards):
        i = int(backwards[0])
        yield Problem(
            layout.TIME, f"{step.show(time[i])} is followed by {step.show(time[i + 1])}; "
            "expected ascending times"
        )  # fmt: skip


def _splits(group: zarr.Group) -> Iterator[Problem]:
    split = strings(group, layout.SPLIT)
    along = layout.TRAJECTORY if layout.TRAJECTORY in group else layout.TIME
    if len(split) != array(group, along).shape[0]:
        yield Problem(layout.SPLIT, f"has {len(split)} entries for each {along}")
    if strangers := set(split) - {"", *layout.SPLITS}:
        yield Problem(
            layout.SPLIT, f"has {', '.join(sorted(strangers))}; expected {', '.join(layout.SPLITS)}"
        )


def _blocks(group: zarr.Group, progress: Callable[[int, int], None]) -> Iterator[Problem]:
    """Read all blocks, and compare them with the record of each and with the merged statistics."""
    blocks = Blocks(group)
    recorded = RecordedParts(group) if layout.BLOCKS in group else None
    known = recorded.names if recorded else frozenset[str]()
    values = _Values(group)
    nothing = Moments.empty(blocks.fields.shape[-3])
    rows: list[tuple[BlockStatistics, Moments]] = []
    every, unread = list(blocks), False
    for done, block in enumerate(every, start=1):
        failed = blocks.has_trajectories and not strings(group, layout.SPLIT)[block.trajectory]
        file = str(blocks.file(block))
        try:
            part = blocks.part(block, states := blocks.read(block), with_power=False)
            step = blocks.step_into(block) if blocks.joins(block) else nothing
        except Exception as error:  # zarr and its codecs raise many kinds
            yield Problem(file, f"cannot be read ({error})")
            unread = True
            continue
        if not failed:
            yield from values.check(block, states)
        if recorded is not None and block.name in known:
            yield from _compare_record(file, part, recorded.part(block))
        elif recorded is not None:
            yield Problem(layout.BLOCKS, f"has no record of block {block.name}")
        rows.append((part.statistics, step))
        progress(done, len(every))
    if not unread:
        yield from _compare_merged(group, merge(rows))


class _Values:
    """Check of the values of the fields against the mask of their channels."""

    def __init__(self, group: zarr.Group) -> None:
        self._names = strings(group, layout.CHANNEL)
        self._label, self._time = time_step(group).show, times(group)
        moving = str(group.attrs.get(layout.MOVING_MASK, "")).split()
        self._moving = np.isin(self._names, moving)[:, None, None]
        self._mask = np.ones((), dtype=bool)
        if layout.MASK in group:
            self._mask = np.asarray(array(group, layout.MASK)[...]) == 1

    def check(self, block: Block, states: NDArray[np.float32]) -> Iterator[Problem]:
        """Yield a fault for the first state with values that are missing, infinite or too many."""
        for t, state in enumerate(states):
            there = np.isfinite(state)
            wrong = there & ~self._mask | ~there & self._mask & ~(self._moving & np.isnan(state))
            if wrong.any():
                c = int(wrong.any((1, 2)).argmax())
                yield Problem(
                    f"{self._names[c]} at {self._label(self._time[block.start + t])}",
                    f"{int(wrong[c].sum())} points differ from its mask",
                )
                return


def _compare_record(file: str, found: Part, recorded: Part) -> Iterator[Problem]:
    if found.digest != recorded.digest:
        yield Problem(file, "is not the file that was written: its SHA-256 differs from the record")
        return
    if found.statistics.count != recorded.statistics.count:
        yield Problem(file, f"has another number of training states than {layout.BLOCKS} records")
        return
    pairs = {
        "moments": (found.statistics.state.stacked, recorded.statistics.state.stacked),
        "moments of steps": (found.statistics.step.stacked, recorded.statistics.step.stacked),
        "minimum": (found.statistics.minimum, recorded.statistics.minimum),
        "maximum": (found.statistics.maximum, recorded.statistics.maximum),
    }
    for name, (now, then) in pairs.items():
        if not np.allclose(now, then, rtol=_ROUNDING, atol=0, equal_nan=True):
            yield Problem(file, f"its {name} differ from the record in {layout.BLOCKS}")


def _compare_merged(group: zarr.Group, merged: BlockStatistics) -> Iterator[Problem]:
    """Compare the statistics of the store with those of its fields."""
    found = {
        layout.MEAN: merged.state.mean_or_nan,
        layout.STD: merged.state.std,
        layout.STD_STEP: merged.step.std,
        layout.MINIMUM: merged.minimum,
        layout.MAXIMUM: merged.maximum,
    }
    names = strings(group, layout.CHANNEL)
    for name, values in found.items():
        if name not in group:
            if merged.count and name not in (layout.MINIMUM, layout.MAXIMUM):
                yield Problem(name, "is absent, though the store has a training split")
            continue
        held = np.asarray(array(group, name)[...])
        # Relative to the standard deviation: a mean may be near zero.
        error = np.abs(held - values) > _ROUNDING * (np.abs(values) + merged.state.std)
        for c in np.flatnonzero(error | (np.isnan(held) != np.isnan(values))).tolist():
            yield Problem(f"{name} of {names[c]}", f"is {held[c]:g}; the fields have {values[c]:g}")
