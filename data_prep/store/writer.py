"""The training store: how it is written piece by piece and put in its place.

A store grows in a work folder beside its final path (`.NAME.partial`). Every piece that is complete
leaves a marker there, so that a killed generation goes on where it was; the folder becomes the
store by one rename, when all pieces and the statistics are in it.
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
from data_prep.store.climatology import write_climatology
from data_prep.store.outputs import check_output, locked, remove
from data_prep.store.spec import StoreSpec, create_empty
from data_prep.store.spectra import write_largest_power
from data_prep.store.statistics import write_statistics

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoreWriter:
    """A store that is being written.

    Use as a context manager: it holds a lock on the work folder, which the end of the process
    releases. An error leaves a resumable writer's work folder for the next run, and removes any
    other's.
    """

    def __init__(self, path: str | Path, spec: StoreSpec, *, resume: bool = False) -> None:
        """Create the work folder, or with `resume` take up one that was left.

        Args:
            path: where the store will be.
            spec: what it will hold.
            resume: keep the pieces that an earlier writer of the same spec completed.

        Raises:
            FileExistsError: if `path` exists, or another process is writing it.
            FileNotFoundError: if the folder that should hold it does not exist.
            OSError: if there is no space for an empty store; nothing is left then.
            ValueError: if `resume` meets pieces that another configuration made.
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
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *_: object
    ) -> None:
        """Release the lock; without `resume` remove what is not finished.

        Raises:
            OSError: in place of one that says that the disk is full, with the way on.
        """
        if self.work.exists():
            self._leave(keep=self.resume)
        if isinstance(error, OSError):
            self._explain_if_full(error, kept=self.resume)

    @property
    def done(self) -> frozenset[int]:
        """Trajectories (of a store of one series: first times of blocks) that are complete."""
        return frozenset(int(marker.name) for marker in (self.work / "done").iterdir())

    @property
    def missing(self) -> list[int]:
        """Trajectories (or first times of blocks) that are still to be written, in order."""
        step = self.spec.times_per_shard
        whole = (
            range(0, len(self.spec.time), step)
            if self.spec.trajectories is None
            else range(len(self.spec.trajectories.seed))
        )
        done = self.done
        return [index for index in whole if index not in done]

    def blocks(self) -> Iterator[slice]:
        """Ranges of time that `write_times` takes, those that are still to be written."""
        n = self.spec.times_per_shard
        for start in self.missing:
            yield slice(start, min(start + n, len(self.spec.time)))

    @property
    def scratch(self) -> Path:
        """A folder for what is collected until the store is finished, and is kept as the pieces."""
        return self.work / "beside"

    @property
    def group(self) -> zarr.Group:
        """The zarr group that is being written, for what belongs beside the fields."""
        return self._group

    def write_trajectory(self, index: int, fields: NDArray[np.floating]) -> None:
        """Write one trajectory and mark it done.

        Args:
            index: which one.
            fields: (time, channel, nlat, nlon), in the units of the channels.

        Raises:
            ValueError: if the shape is not the store's or a value is not finite.
        """
        fields = self._checked(fields, self.spec.time)
        n = self.spec.times_per_shard
        for start in range(0, len(fields), n):
            self._put([index], start, fields[None, start : start + n])
        self._mark(index)

    def write_part(self, indices: Sequence[int], start: int, fields: NDArray[np.floating]) -> None:
        """Write some times of trajectories that are not done yet.

        Args:
            indices: which ones.
            start: first of the times; a multiple of `spec.times_per_shard`.
            fields: (trajectory, k, channel, nlat, nlon), k that number or what is left.

        Raises:
            ValueError: if the shape is not the part's or a value is not finite.
        """
        time = self.spec.time[start : start + self.spec.times_per_shard]
        self._put(indices, start, np.stack([self._checked(each, time) for each in fields]))

    def complete(self, index: int) -> None:
        """Mark a trajectory done, whose parts are all written."""
        self._mark(index)

    def mark_failed(self, index: int) -> None:
        """Mark a trajectory done that could not be solved: it belongs to no split, and is NaN."""
        n = self.spec.times_per_shard
        for start in range(0, len(self.spec.time), n):
            self._fields[index, start : start + n] = np.nan
        split = self._group[layout.SPLIT]
        assert isinstance(split, zarr.Array)
        split[index] = ""
        self._mark(index)

    def write_times(self, times: slice, fields: NDArray[np.floating]) -> None:
        """Write one of `blocks()` and mark it done.

        Args:
            times: the block.
            fields: (time, channel, nlat, nlon), in the units of the channels; outside the mask
                anything.

        Raises:
            ValueError: if the shape is not the block's or a value inside the mask is not finite.
        """
        self._fields[times] = self._checked(fields, self.spec.time[times])
        self._mark(times.start)

    def finalise(self) -> Path:
        """Compute the statistics and move the store to its path.

        Returns:
            The path.

        Raises:
            ValueError: if pieces are missing.
            FileExistsError: if the path has come into being meanwhile.
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
        """Is there once an empty store is."""
        return self.work / "created"

    def _explain_if_full(self, error: OSError, *, kept: bool) -> None:
        """Raise an error in place of one that says that the disk is full, with the way on."""
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
        """Open what an earlier writer left, unless it left nothing that this one can use."""
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
        """The fields as float32 with NaN outside the mask."""
        expected = (len(time), *self.spec.shape[-3:])
        if fields.shape != expected:
            raise ValueError(f"fields of shape {fields.shape}; expected {expected}")
        values = np.asarray(fields, dtype=np.float32)
        valid = np.True_ if self.spec.mask is None else self.spec.mask
        wrong = ~np.isfinite(values) & valid
        if wrong.any():
            t, c = np.argwhere(wrong)[0][:2]
            raise ValueError(
                f"{self.spec.channels[c].name} at {np.datetime_as_string(time[t], 's')} has "
                f"{int(wrong[t, c].sum())} values that are missing or infinite; a store takes "
                "missing values only where its channel's mask says so"
            )
        return values if self.spec.mask is None else np.where(valid, values, np.float32(np.nan))

    def _put(self, indices: Sequence[int], start: int, fields: NDArray[np.float32]) -> None:
        """Write a shard of each of some trajectories, (trajectory, time, channel, nlat, nlon)."""
        stop = start + fields.shape[1]
        gaps = np.flatnonzero(np.diff(indices) != 1) + 1
        edges = [0, *gaps.tolist(), len(indices)]
        for first, last in zip(edges[:-1], edges[1:], strict=True):  # neighbours in one call
            place = slice(indices[first], indices[first] + last - first)
            self._fields[place, start:stop] = fields[first:last]

    def _mark(self, index: int) -> None:
        (self.work / "done" / str(index)).touch()

    def _leave(self, keep: bool) -> None:
        if not keep:
            remove(self.work)
        self._lock.close()
