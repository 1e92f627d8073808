"""Writing of a training store, block by block.

A store is written in a work folder beside its final path (`.NAME.partial`). A block holds the times
of one shard, of one trajectory where there are trajectories. Each complete block has a marker file
in the work folder, so that a killed run can be resumed. When all blocks and the statistics are
written, one rename moves the store to its path.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from configs import layout
from data_prep.store.append import Extension
from data_prep.store.arrays import array
from data_prep.store.block_writer import STORE, BlockWriter
from data_prep.store.blocks import Block
from data_prep.store.gather.daily import write_daily_climatology
from data_prep.store.gather.monthly import write_monthly_climatology
from data_prep.store.outputs import check_output, exchange, locked, remove
from data_prep.store.spec import StoreSpec, create_empty
from data_prep.store.spectra import write_anomaly_power
from data_prep.store.statistics import write_merged

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoreWriter:
    """Writer of a store, a context manager.

    The writer holds the lock of its work folder. After an error the work folder is kept if the
    writer was created with `resume`, and removed otherwise.

    Attributes:
        path: Path of the store.
        spec: Specification of the whole store, with the earlier times of a store that is extended.
        first: Number of earlier times; 0 for a new store. All indices of times count from the first
            time of the store.
        handle: Writer of single blocks for other threads and processes.
    """

    def __init__(
        self, path: str | Path, spec: StoreSpec, *, resume: bool = False, append: bool = False
    ) -> None:
        """Create the work folder, or continue an unfinished one.

        Args:
            path: Path of the store.
            spec: Specification of the store; with `append`, that of the times to add.
            resume: True to keep the blocks of an unfinished store of the same specification.
            append: True to add later times to the store at the path. It stays as it is until all
                new times and statistics are written; then one rename puts the longer store in its
                place. Files of complete blocks are hard links to those of the store. If the last
                block of the store is not complete, its file is written again with the new times.

        Raises:
            FileExistsError: if `path` exists, or another process is writing the store.
            FileNotFoundError: if the folder of `path`, or the store to extend, does not exist.
            OSError: if the disk is full. No files are left then.
            ValueError: if the unfinished store has blocks of another configuration, plan or
                sources, or if the times cannot be added to the store.
        """
        self.path, self.resume = Path(path), resume
        self._extension = Extension(self.path, spec) if append else None
        self.spec = self._extension.spec if self._extension else spec
        self.first = self._extension.first if self._extension else 0
        if not append:
            check_output(self.path)
        self.work = self.path.absolute().parent / f".{self.path.name}.partial"
        try:
            self._lock = ExitStack()
            self._lock.enter_context(locked(self.work))
            try:
                self._take_up_or_create()
            except BaseException:
                self._leave(keep=resume and self._created.exists())
                raise
        except OSError as error:
            self._explain_if_full(error, kept=self._created.exists())
            raise

    def __enter__(self) -> StoreWriter:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *_: object
    ) -> None:
        """Release the lock; without `resume`, remove an unfinished store.

        Raises:
            OSError: if the disk is full, in place of the original error.
        """
        if self.work.exists():
            self._leave(keep=self.resume)
        if isinstance(error, OSError):
            self._explain_if_full(error, kept=self.resume)

    @property
    def missing_blocks(self) -> list[Block]:
        """Incomplete blocks in the order of trajectories and times.

        The first one of a store that is extended begins at the first new time.
        """
        done = self.handle.done()
        return [
            Block(b.trajectory, max(b.start, self.first), b.stop)
            for b in self.handle.blocks
            if b.name not in done
        ]

    @property
    def done(self) -> frozenset[int]:
        """Complete trajectories, or first times of complete blocks of a series."""
        done, pieces = self.handle.done(), dict[int, bool]()
        for block in self.handle.blocks:
            piece = block.start if self.spec.trajectories is None else block.trajectory
            pieces[piece] = pieces.get(piece, True) and block.name in done
        return frozenset(piece for piece, complete in pieces.items() if complete)

    @property
    def missing(self) -> list[int]:
        """Incomplete trajectories, or first times of incomplete blocks, in ascending order."""
        series = self.spec.trajectories is None
        return sorted({b.start if series else b.trajectory for b in self.missing_blocks})

    def blocks(self) -> Iterator[slice]:
        """Yield the incomplete blocks of a series, arguments of `write_times`."""
        for block in self.missing_blocks:
            yield block.times

    @property
    def scratch(self) -> Path:
        """Folder for files that are needed until the store is complete; kept with the blocks."""
        return self.work / "beside"

    @property
    def group(self) -> zarr.Group:
        """Zarr group of the store, for arrays other than the fields."""
        return self.handle.group

    @property
    def earlier_mask(self) -> NDArray[np.bool_] | None:
        """Mask of the store that is extended, (channel, nlat, nlon); None without one."""
        return None if self._extension is None else self._extension.mask

    def write_times(self, times: slice, fields: NDArray[np.floating], trajectory: int = 0) -> None:
        """Write one block and its statistics, and mark it as complete.

        Safe to call from several threads for different blocks; see `handle` for processes.

        Args:
            times: Times of one of `missing_blocks`.
            fields: Fields, (time, channel, nlat, nlon), in the units of the channels. Values
                outside the mask are ignored.
            trajectory: Index of the trajectory; 0 for a series.

        Raises:
            ValueError: if the shape is wrong or a value inside the mask is not finite.
        """
        self.handle.write(Block(trajectory, times.start, times.stop), fields)

    def write_trajectory(self, index: int, fields: NDArray[np.floating]) -> None:
        """Write all blocks of one trajectory.

        Args:
            index: Index of the trajectory.
            fields: Fields, (time, channel, nlat, nlon), in the units of the channels.

        Raises:
            ValueError: if the shape is wrong or a value is not finite.
        """
        self.handle.check(slice(0, len(self.spec.time)), fields)
        for block in self._of_trajectory(index):
            self.handle.write(block, fields[block.times])

    def write_part(self, indices: Sequence[int], start: int, fields: NDArray[np.floating]) -> None:
        """Write the same block of some trajectories. The last one completes them.

        Args:
            indices: Indices of the trajectories.
            start: Index of the first time, a multiple of `spec.times_per_shard`.
            fields: Fields, (trajectory, time, channel, nlat, nlon), for all times of the block.

        Raises:
            ValueError: if the shape is wrong or a value is not finite.
        """
        stop = min(start + self.spec.times_per_shard, len(self.spec.time))
        self.handle.write_together(indices, slice(start, stop), fields)

    def mark_failed(self, index: int) -> None:
        """Mark a trajectory as failed: it is complete, belongs to no split, and is NaN."""
        split: Any = array(self.group, layout.SPLIT)
        split[index] = ""
        for block in self._of_trajectory(index):
            self.handle.write_missing(block)

    def finalise(self) -> Path:
        """Merge the statistics and move the store to its path.

        Returns:
            Path of the store.

        Raises:
            ValueError: if blocks are missing.
            FileExistsError: if another process has written to the path meanwhile.
        """
        if missing := self.missing:
            raise ValueError(f"{self.path}: {len(missing)} pieces are not written yet: {missing}")
        for leftover in (self.work / STORE).rglob("*.partial"):
            remove(leftover)  # zarr's temporary files, of a process that was killed
        extension = self._extension
        if extension is not None and not extension.trains:
            write_merged(self.group, self.handle, extension.sums, with_power=False)
            extension.keep_other_arrays(self.work / STORE)
        else:
            write_merged(self.group, self.handle, extension.sums if extension else None)
            if self.spec.trajectories is None:
                write_monthly_climatology(self.group)
                write_anomaly_power(self.group)
                if self.spec.climatology_window is not None:
                    write_daily_climatology(self.group, self.spec.climatology_window)
        if extension is None:
            check_output(self.path)
            (self.work / STORE).rename(self.path)
        else:
            exchange(self.work / STORE, self.path)
        self._leave(keep=False)
        return self.path

    @property
    def _created(self) -> Path:
        """Marker of a work folder whose empty store is complete, with the identity of the store."""
        return self.work / "created"

    def _explain_if_full(self, error: OSError, *, kept: bool) -> None:
        """Raise an error with a way out if `error` reports a full disk."""
        if error.errno in _FULL:
            what = "what is written is kept; " if kept else ""
            raise OSError(
                error.errno,
                f"No space left, {what}free some and run the same command again",
                str(self.path),
            ) from error

    def _take_up_or_create(self) -> None:
        store = self.work / STORE
        if self.resume and self._created.exists() and self._can_take_up():
            self.handle = BlockWriter(self.work)
            self.handle.drop_damaged()
            return
        self._created.unlink(missing_ok=True)
        for leftover in self.work.iterdir():
            if leftover.name != ".lock":
                remove(leftover)
        self.scratch.mkdir()
        create_empty(store, self.spec, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.handle = BlockWriter.create(self.work)
        if self._extension is not None:
            self._extension.take_over(self.handle)
        identity = self.work / ".created"
        identity.write_text(json.dumps(self._identity), encoding="utf-8")
        identity.rename(self._created)

    @property
    def _identity(self) -> dict[str, Any]:
        """Facts that an unfinished store and the specification must have in common."""
        time = self.spec.time.astype("datetime64[s]").astype(np.int64)
        return {
            "configuration": self.spec.configuration,
            "times": [self.first, len(time), *time[[0, -1]].tolist()],
            "sources": list(self.spec.sources),
            "plan": self.spec.plan,
        }

    def _can_take_up(self) -> bool:
        """Return False if the unfinished store is another one and has no complete block.

        Raises:
            ValueError: if it is another one and has complete blocks.
        """
        text = self._created.read_text(encoding="utf-8")
        found, wanted = json.loads(text or "{}"), json.loads(json.dumps(self._identity))
        differs = next((key for key in wanted if found.get(key) != wanted[key]), None)
        if differs is None:
            return True
        overtaken = found.get("times", [0])[0] != self.first  # the store was extended since
        if overtaken or not BlockWriter(self.work).done():
            return False
        what = f"another {differs.rstrip('s')}" if differs != "times" else "other times"
        if differs == "sources":
            changed = [s for s in wanted[differs] if s not in found[differs]] or found[differs]
            names = ", ".join(str(s.get("name", s)) for s in changed[:3])
            what = f"sources that have changed since ({names})"
        raise ValueError(
            f"{self.work} holds an unfinished store of {what}; remove that folder or choose "
            "another output path"
        )

    def _of_trajectory(self, index: int) -> list[Block]:
        return [block for block in self.handle.blocks if block.trajectory == index]

    def _leave(self, keep: bool) -> None:
        if not keep:
            remove(self.work)
        self._lock.close()
