"""Writing of single blocks of an unfinished store, by any number of threads and processes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import zarr
from numpy.typing import NDArray

from configs import layout
from data_prep.store.arrays import array, strings, time_step, times
from data_prep.store.blocks import Block, Blocks
from data_prep.store.gather.merge import Part
from data_prep.store.gather.moments import BlockStatistics, Moments

STORE = "store"
_DONE, _STEPS, _EARLIER = "done", "steps", "earlier.npy"


class BlockWriter:
    """Writer of the blocks of an unfinished store.

    It holds no lock and can be pickled: several threads, processes or machines with a common file
    system may each write other blocks. A block whose marker exists is complete: the marker is
    written last, holds the statistics of the block, and appears by one rename.
    """

    def __init__(self, work: Path) -> None:
        """Refer to the work folder of a `StoreWriter`."""
        self.work = work

    @classmethod
    def create(cls, work: Path) -> BlockWriter:
        """Make the folders of the markers."""
        for name in (_DONE, _STEPS):
            (work / name).mkdir()
        return cls(work)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: each process opens the arrays itself."""
        return {"work": self.work}

    @cached_property
    def group(self) -> zarr.Group:
        """Zarr group of the unfinished store."""
        return zarr.open_group(self.work / STORE, mode="r+")

    @cached_property
    def blocks(self) -> Blocks:
        """Blocks of the store, with the splits at the time of the first access."""
        return Blocks(self.group)

    # --- complete blocks --------------------------------------------------------------------------

    def done(self) -> set[str]:
        """Return the names of the complete blocks."""
        return {
            name.removesuffix(".npz") for name in os.listdir(self.work / _DONE) if name[0] != "."
        }

    def is_done(self, block: Block) -> bool:
        """Return True if a block is complete."""
        return self._marker(block).exists()

    def part(self, block: Block) -> Part:
        """Return the statistics of a complete block."""
        with self._marker(block).open("rb") as opened, np.load(opened) as file:
            return Part.from_arrays(dict(file))

    def step_into(self, block: Block) -> Moments:
        """Return the moments of the step into a block, computed unless a worker has done it."""
        path = self._step(block)
        if not path.exists():
            _save(path, {"moments": self.blocks.step_into(block).stacked})
        with np.load(path) as file:
            return Moments(*file["moments"])

    def drop_damaged(self) -> None:
        """Remove markers that cannot be read, and those of blocks whose file has another size."""
        for block in self.blocks:
            if not self.is_done(block):
                continue
            try:
                part = self.part(block)
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                part = None
            file = self.blocks.file(block)
            if part is None or part.size != (file.stat().st_size if file.exists() else 0):
                self._forget(block)

    # --- writing ----------------------------------------------------------------------------------

    def write(self, block: Block, fields: NDArray[np.floating]) -> None:
        """Write one block and its statistics, and mark it as complete.

        Args:
            block: Block of the store. The first block of a store that is extended may begin at its
                first new time.
            fields: Fields, (time, channel, nlat, nlon), in the units of the channels. Values
                outside the mask are ignored.

        Raises:
            ValueError: if the shape is wrong, or if a value inside the mask is not finite.
        """
        whole, fields = self._with_earlier(block, self.check(block.times, fields))
        self._forget(whole)
        self._put([whole.trajectory], whole.times, fields[None])
        self._finish(whole, fields)

    def write_together(
        self, trajectories: Sequence[int], times: slice, fields: NDArray[np.floating]
    ) -> None:
        """Write the same block of several trajectories, (trajectory, time, channel, nlat, nlon)."""
        blocks = [Block(index, times.start, times.stop) for index in trajectories]
        checked = np.stack([self.check(times, each) for each in fields])
        for block in blocks:
            self._forget(block)
        gaps = np.flatnonzero(np.diff(trajectories) != 1) + 1
        edges = [0, *gaps.tolist(), len(trajectories)]
        for first, last in zip(edges[:-1], edges[1:], strict=True):  # consecutive ones in one call
            self._put(trajectories[first:last], times, checked[first:last])
        for block, one in zip(blocks, checked, strict=True):
            self._finish(block, one)

    def write_missing(self, block: Block) -> None:
        """Fill a block of a failed trajectory with NaN and mark it as complete."""
        self._forget(block)
        self.blocks.fields[block.trajectory, block.times] = np.nan
        channels = len(self._names)
        _save(self._marker(block), Part(BlockStatistics.empty(channels)).to_arrays())

    def keep_earlier(self, fields: NDArray[np.float32]) -> None:
        """Keep the states of an incomplete block of the store that is extended."""
        _save_array(self.work / _EARLIER, fields)

    def take_over(self, block: Block, part: Part, step_into: Moments) -> None:
        """Mark a block of the store that is extended as complete; its file is in place already."""
        _save(self._marker(block), part.to_arrays())
        _save(self._step(block), {"moments": step_into.stacked})

    def _finish(self, block: Block, fields: NDArray[np.float32]) -> None:
        """Save the statistics of a block as its marker, and those of the steps at its edges."""
        _save(self._marker(block), self.blocks.part(block, fields).to_arrays())
        after = self.blocks.after(block)
        for edge in (block, after):
            if edge and self.blocks.joins(edge):
                before = self.blocks.before(edge)
                if before and self.is_done(before) and self.is_done(edge):
                    self.step_into(edge)

    def _forget(self, block: Block) -> None:
        """Remove the marker of a block that is written again, and the steps at its edges."""
        self._marker(block).unlink(missing_ok=True)
        for edge in (block, self.blocks.after(block)):
            if edge:
                self._step(edge).unlink(missing_ok=True)

    def _put(self, trajectories: Sequence[int], times: slice, fields: NDArray[np.float32]) -> None:
        if self.blocks.has_trajectories:
            place = slice(trajectories[0], trajectories[-1] + 1)
            self.blocks.fields[place, times] = fields
        else:
            self.blocks.fields[times] = fields[0]

    def _with_earlier(
        self, block: Block, fields: NDArray[np.float32]
    ) -> tuple[Block, NDArray[np.float32]]:
        """Return the whole block: that of an extended store may have states already."""
        start = block.start - block.start % self.blocks.block_times
        if start == block.start:
            return block, fields
        earlier = np.load(self.work / _EARLIER)
        return Block(block.trajectory, start, block.stop), np.concatenate([earlier, fields])

    @cached_property
    def _names(self) -> list[str]:
        return strings(self.group, layout.CHANNEL)

    @cached_property
    def _mask(self) -> NDArray[np.bool_] | None:
        if layout.MASK not in self.group:
            return None
        return np.asarray(array(self.group, layout.MASK)[...]) == 1

    @cached_property
    def _moving(self) -> NDArray[np.bool_]:
        """True for channels that may be missing inside their mask, (c, 1, 1)."""
        names = str(self.group.attrs.get(layout.MOVING_MASK, "")).split()
        return np.isin(self._names, names)[:, None, None]

    def check(self, times: slice, fields: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the fields of some times as float32, NaN outside the mask.

        Raises:
            ValueError: if the shape is wrong, or if a value inside the mask is not finite.
        """
        expected = (times.stop - times.start, *self.blocks.fields.shape[-3:])
        if fields.shape != expected:
            raise ValueError(f"fields of shape {fields.shape}; expected {expected}")
        values = np.asarray(fields, dtype=np.float32)
        if self._mask is not None:
            values = np.where(self._mask, values, np.float32(np.nan))
        for t, state in enumerate(values):
            wrong = ~np.isfinite(state)
            if wrong.any():
                self._refuse_missing(times.start + t, state, wrong)
        return values

    def _refuse_missing(
        self, time: int, state: NDArray[np.float32], wrong: NDArray[np.bool_]
    ) -> None:
        """Raise a ValueError if values are missing or infinite that must not be."""
        if self._mask is not None:
            wrong &= self._mask
        wrong &= ~(self._moving & np.isnan(state))
        if wrong.any():
            c = int(wrong.any((1, 2)).argmax())
            when = time_step(self.group).calendar.label(times(self.group)[time])
            raise ValueError(
                f"{self._names[c]} at {when} has {int(wrong[c].sum())} values that are missing or "
                "infinite; a store takes missing values only where its channel's mask says so, or "
                "at changing points of channels with a moving mask"
            )

    def _marker(self, block: Block) -> Path:
        return self.work / _DONE / f"{block.name}.npz"

    def _step(self, block: Block) -> Path:
        return self.work / _STEPS / f"{block.name}.npz"


def _save(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Write arrays to a file that appears whole."""
    scratch = path.with_name(f".{path.name}.{uuid4().hex}")
    with scratch.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    scratch.replace(path)


def _save_array(path: Path, values: NDArray[np.generic]) -> None:
    scratch = path.with_name(f".{path.name}.{uuid4().hex}")
    with scratch.open("wb") as file:
        np.save(file, values)
    scratch.replace(path)
