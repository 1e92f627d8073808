"""Writing of a training store, piece by piece.

A store is written in a work folder beside its final path (`.NAME.partial`). A piece is a
trajectory, or a block of times of a series. Each complete piece has a marker file in the work
folder, so that a killed generation can be resumed. When all pieces and the statistics are written,
one rename moves the store to its path.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from configs import layout
from configs.calendar import Calendar
from data_prep.store.climatology import write_climatology
from data_prep.store.outputs import check_output, locked, remove
from data_prep.store.spec import StoreSpec, create_empty
from data_prep.store.spectra import write_largest_power
from data_prep.store.statistics import write_statistics

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoreWriter:
    """Writer of a store, a context manager.

    The writer holds the lock of its work folder. After an error the work folder is kept if the
    writer was created with `resume`, and removed otherwise.
    """

    def __init__(self, path: str | Path, spec: StoreSpec, *, resume: bool = False) -> None:
        """Create the work folder, or continue an unfinished one.

        Args:
            path: Path of the store.
            spec: Specification of the store.
            resume: True to keep the pieces of an unfinished store of the same configuration.

        Raises:
            FileExistsError: if `path` exists, or another process is writing the store.
            FileNotFoundError: if the folder of `path` does not exist.
            OSError: if the disk is full. No files are left then.
            ValueError: if the unfinished store has pieces of another configuration.
        """
        self.path, self.spec, self.resume = Path(path), spec, resume
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
    def done(self) -> frozenset[int]:
        """Complete pieces: indices of trajectories, or of the first times of blocks."""
        return frozenset(int(marker.name) for marker in (self.work / "done").iterdir())

    @property
    def missing(self) -> list[int]:
        """Incomplete pieces in ascending order; see `done`."""
        step = self.spec.times_per_shard
        whole = (
            range(0, len(self.spec.time), step)
            if self.spec.trajectories is None
            else range(len(self.spec.trajectories.seed))
        )
        done = self.done
        return [index for index in whole if index not in done]

    def blocks(self) -> Iterator[slice]:
        """Yield the incomplete blocks of times, arguments of `write_times`."""
        n = self.spec.times_per_shard
        for start in self.missing:
            yield slice(start, min(start + n, len(self.spec.time)))

    @property
    def scratch(self) -> Path:
        """Folder for files that are needed until the store is complete; kept with the pieces."""
        return self.work / "beside"  # the name in unfinished stores of earlier versions

    @property
    def group(self) -> zarr.Group:
        """Zarr group of the store, for arrays other than the fields."""
        return self._group

    def write_trajectory(self, index: int, fields: NDArray[np.floating]) -> None:
        """Write one trajectory and mark it as complete.

        Args:
            index: Index of the trajectory.
            fields: Fields, (time, channel, nlat, nlon), in the units of the channels.

        Raises:
            ValueError: if the shape is wrong or a value is not finite.
        """
        fields = self._checked(fields, self.spec.time)
        n = self.spec.times_per_shard
        for start in range(0, len(fields), n):
            self._put([index], start, fields[None, start : start + n])
        self._mark(index)

    def write_part(self, indices: Sequence[int], start: int, fields: NDArray[np.floating]) -> None:
        """Write one shard of some incomplete trajectories.

        Args:
            indices: Indices of the trajectories.
            start: Index of the first time, a multiple of `spec.times_per_shard`.
            fields: Fields, (trajectory, time, channel, nlat, nlon), for all times of the shard.

        Raises:
            ValueError: if the shape is wrong or a value is not finite.
        """
        time = self.spec.time[start : start + self.spec.times_per_shard]
        self._put(indices, start, np.stack([self._checked(each, time) for each in fields]))

    def complete(self, index: int) -> None:
        """Mark a trajectory as complete, after all of its shards are written."""
        self._mark(index)

    def mark_failed(self, index: int) -> None:
        """Mark a trajectory as failed: it is complete, belongs to no split, and is NaN."""
        n = self.spec.times_per_shard
        for start in range(0, len(self.spec.time), n):
            self._fields[index, start : start + n] = np.nan
        split = self._group[layout.SPLIT]
        assert isinstance(split, zarr.Array)
        split[index] = ""
        self._mark(index)

    def write_times(self, times: slice, fields: NDArray[np.floating]) -> None:
        """Write one of `blocks()` and mark it as complete.

        Args:
            times: Block of times.
            fields: Fields, (time, channel, nlat, nlon), in the units of the channels. Values
                outside the mask are ignored.

        Raises:
            ValueError: if the shape is wrong or a value inside the mask is not finite.
        """
        self._fields[times] = self._checked(fields, self.spec.time[times])
        self._mark(times.start)

    def finalise(self) -> Path:
        """Compute the statistics and move the store to its path.

        Returns:
            Path of the store.

        Raises:
            ValueError: if pieces are missing.
            FileExistsError: if another process has written to the path meanwhile.
        """
        if missing := self.missing:
            raise ValueError(f"{self.path}: {len(missing)} pieces are not written yet: {missing}")
        write_statistics(self._group, self.spec.grid)
        if self.spec.trajectories is None:
            write_climatology(self._group, self.spec.grid)
        write_largest_power(self._group, self.spec.grid)
        check_output(self.path)
        (self.work / "store").rename(self.path)
        self._leave(keep=False)
        return self.path

    @property
    def _created(self) -> Path:
        """Marker of a work folder whose empty store is complete."""
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
        store = self.work / "store"
        if not (self.resume and self._created.exists() and self._take_up(store)):
            self._created.unlink(missing_ok=True)
            for leftover in (store, self.work / "done", self.scratch):
                remove(leftover)
            (self.work / "done").mkdir()
            self.scratch.mkdir()
            self._group = create_empty(store, self.spec)
            self._created.touch()
        array = self._group[layout.FIELDS]
        assert isinstance(array, zarr.Array)
        self._fields = array

    def _take_up(self, store: Path) -> bool:
        """Open an unfinished store; return False if it has no pieces that can be kept."""
        self._group = zarr.open_group(store, mode="r+")
        if self._group.attrs[layout.CONFIGURATION] == self.spec.configuration:
            return True
        if self.done:
            raise ValueError(
                f"{self.work} holds an unfinished store of another configuration; remove that "
                "folder or choose another output path"
            )
        return False

    def _checked(self, fields: NDArray[np.floating], time: NDArray[Any]) -> NDArray[np.float32]:
        """Return the fields as float32, NaN outside the mask and at missing points inside it."""
        expected = (len(time), *self.spec.shape[-3:])
        if fields.shape != expected:
            raise ValueError(f"fields of shape {fields.shape}; expected {expected}")
        values = np.asarray(fields, dtype=np.float32)
        valid = np.True_ if self.spec.mask is None else self.spec.mask
        wrong = ~np.isfinite(values) & valid
        for c, channel in enumerate(self.spec.channels):
            if channel.name in self.spec.moving_mask:
                wrong[:, c] &= ~np.isnan(values[:, c])
        if wrong.any():
            t, c = np.argwhere(wrong)[0][:2]
            calendar = Calendar.parse(self.spec.calendar)
            raise ValueError(
                f"{self.spec.channels[c].name} at {calendar.label(time[t])} has "
                f"{int(wrong[t, c].sum())} values that are missing or infinite; a store takes "
                "missing values only where its channel's mask says so, or at changing points of "
                "channels with a moving mask"
            )
        return values if self.spec.mask is None else np.where(valid, values, np.float32(np.nan))

    def _put(self, indices: Sequence[int], start: int, fields: NDArray[np.float32]) -> None:
        """Write one shard of some trajectories, (trajectory, time, channel, nlat, nlon)."""
        stop = start + fields.shape[1]
        gaps = np.flatnonzero(np.diff(indices) != 1) + 1
        edges = [0, *gaps.tolist(), len(indices)]
        for first, last in zip(edges[:-1], edges[1:], strict=True):  # consecutive ones in one call
            place = slice(indices[first], indices[first] + last - first)
            self._fields[place, start:stop] = fields[first:last]

    def _mark(self, index: int) -> None:
        (self.work / "done" / str(index)).touch()

    def _leave(self, keep: bool) -> None:
        if not keep:
            remove(self.work)
        self._lock.close()
