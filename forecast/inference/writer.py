"""The forecast file, written while the rollout runs: CF-1.8 netCDF4 or zarr, by the suffix."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.store.outputs import cannot_write, check_output
from forecast.inference.coordinates import ForecastAxes, define, define_last_step
from forecast.inference.output.period_coordinates import (
    define_n_steps,
    define_periods,
    put_period,
)
from forecast.inference.output.weatherbench2 import copy_to_weatherbench2
from forecast.inference.writing.background import BackgroundThread
from forecast.inference.writing.blocks import Block, BlockBuffer, block_steps
from forecast.inference.writing.file_formats import ZarrFormat
from forecast.inference.writing.netcdf_copy import copy_to_netcdf
from forecast.inference.writing.outcome import Outcome
from forecast.inference.writing.work_folder import SavedState, WorkFolder
from sphere_ops.parallel.mesh import current

SUFFIXES = (".nc", ".zarr")

_PAUSE, _COSTS = 2.0, 20
"""Least time between two saved states: in seconds, and in times that it takes to save one."""
_BLOCK_PAUSES = 5
"""Pauses after which a state is saved inside a block, which is then written once more."""


class ForecastWriter:
    """Writer of states as they come; the file appears at its path when all is written.

    A background thread compresses and writes blocks of some lead times while the next steps are
    computed. A state to go on from is saved every few seconds; after an exception or a kill the
    work folder stays if it holds one, and is removed otherwise. What is never written reads as
    missing. All processes of a mesh make the same calls. Each writes its own forecasts, and its
    own rows if the grid's rows divide evenly, as chunks of a file have to; else the first process
    along latitude writes all rows.

    Attributes:
        path: path of the output.
        axes: what is in the file.
        saved: state to go on from; None to begin.
        outcome: early ends and reports up to now, to which the rollout adds its own.
    """

    def __init__(
        self,
        path: str | Path,
        axes: ForecastAxes,
        attributes: Mapping[str, str],
        *,
        batch_size: int = 8,
        identity: Mapping[str, Any] | None = None,
        restart: bool = False,
    ) -> None:
        """Create the unfinished file with all its coordinates, or go on with one.

        Args:
            path: output; `.nc` is netCDF4, `.zarr` is zarr v3.
            axes: what is going to be written.
            attributes: of the file: title, source, history.
            batch_size: largest number of forecasts that one `write` brings.
            identity: options and inputs of the rollout; see `WorkFolder`.
            restart: True to go on with an unfinished file.

        Raises:
            ValueError: for another suffix, or an unfinished file of another rollout.
            FileExistsError: if the output is there, or an unfinished one and `restart` is False.
            FileNotFoundError: if the folder of the output is not there.
        """
        self.path = check_output(path, SUFFIXES)
        self.axes = axes
        self._mesh = mesh = current()
        nlat, latitude = axes.grid.nlat, mesh.latitude
        self._by_rows = nlat % latitude.ranks == 0
        self._rows = latitude.rows(nlat) if self._by_rows else slice(0, nlat)
        n_rows = self._rows.stop - self._rows.start
        self._writes = self._by_rows or latitude.is_first
        points = n_rows * axes.grid.nlon
        # A netCDF file and another layout are made of the group at the end.
        self._is_copied = self.path.suffix == ".nc" or axes.layout == "weatherbench2"
        self._held = block_steps(len(axes.steps), len(axes.variables), batch_size, points)
        self._buffer = BlockBuffer(len(axes.steps), self._held)
        self._inside_block = False  # the same in all processes
        self._thread = BackgroundThread()
        self._saved_at, self._cost = time.monotonic(), 0.0
        rank = mesh.data.rank * latitude.ranks + latitude.rank
        ranks = mesh.data.ranks * latitude.ranks
        meshed = {"the mesh": f"data {mesh.data.ranks} × latitude {latitude.ranks}"}
        self._work = WorkFolder(self.path, {**(identity or {}), **meshed}, rank, ranks)
        self._work.check(restart=restart)  # with the same error on all ranks
        newest = None
        if mesh.is_first:
            newest = self._work.open(restart=restart)
            if newest is None:
                self._create(attributes, n_rows)
        newest = mesh.broadcast(newest)
        try:
            self._file = ZarrFormat(self._work.group, new=False)
            self.saved = self._work.load(*newest) if newest else None
        except BaseException:
            if mesh.is_first:
                self._work.close()
            raise
        self.outcome = Outcome() if self.saved is None else Outcome.from_json(self.saved.outcome)

    def write(self, rows: Sequence[int], position: int, fields: Tensor | NDArray[Any]) -> None:
        """Take the state of some forecasts of this process at one lead time.

        Args:
            rows: their rows, increasing: forecast index · number of members + position of the
                member. The batches of all processes have consecutive rows.
            position: index into `axes.steps`.
            fields: (b, variable, nlat, nlon), in a mesh own rows; NaN where missing.

        Raises:
            OSError: if an earlier block could not be written.
        """
        gathered = self._gathered(fields)
        self._inside_block = (position + 1) % self._held > 0
        if self._writes and len(rows):
            for block in self._buffer.add(rows, position, gathered):
                self._thread.submit(partial(self._put, block))

    def write_period(self, rows: Sequence[int], period: int, values: Tensor | NDArray[Any]) -> None:
        """Write the statistics of a period of some forecasts of this process.

        Args:
            rows: their rows, increasing; see `write`.
            period: number of the period.
            values: (b, statistic, variable, nlat, nlon), in the order of `STATISTICS`, in a mesh
                own rows.
        """
        gathered = self._gathered(values)
        if self._writes and len(rows):
            self._thread.submit(partial(self._put_period, list(rows), period, gathered))

    def _gathered(self, fields: Tensor | NDArray[Any]) -> NDArray[Any]:
        """Return fields (b, ..., nlat, nlon) with the rows that this process writes."""
        fields = torch.as_tensor(fields)
        if not self._by_rows:
            fields = self._mesh.gather_rows(fields, self.axes.grid.nlat)
        return fields.numpy(force=True)

    def end(self, row: int, last_step: int) -> None:
        """Mark a forecast that stopped early.

        Args:
            row: its row; see `write`.
            last_step: the last model step with finite values.
        """
        self.outcome.last_step[row] = last_step

    def due(self) -> bool:
        """Return True if it is time to save a state; the same in all processes."""
        pause = max(_PAUSE, _COSTS * self._cost)
        if self._inside_block:
            pause *= _BLOCK_PAUSES
        return self._mesh.any_rank(time.monotonic() - self._saved_at >= pause)

    def save(self, first: int, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Save a state to go on from, after the blocks before it.

        Args:
            first: first row of the batch.
            step: number of steps that are done.
            tensors: state of this process, by name; not to be changed in place later.

        Raises:
            OSError: if an earlier block could not be written.
        """
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        state = SavedState(first, step, self.outcome.to_json(), on_cpu)
        self._saved_at = time.monotonic()
        self._thread.submit(partial(self._save, self._buffer.copy(), state))

    def restore(self, rows: Sequence[int], position: int) -> None:
        """Read back the incomplete block of some rows, after those of a saved state.

        Args:
            rows: rows of the forecasts of this process, consecutive.
            position: last position that was written before the state was saved.
        """
        complete = (position + 1) % self._held == 0
        if complete or not (self._writes and len(rows) and self.axes.snapshots):
            return
        n_rows = self._rows.stop - self._rows.start
        shape = (len(self.axes.variables), n_rows, self.axes.grid.nlon)
        block = self._buffer.empty(slice(rows[0], rows[-1] + 1), position, shape)
        leads = slice(block.first, position + 1)
        for part, index in places(block.rows, self.axes):
            for c, variable in enumerate(self.axes.variables):
                values = self._file.get(variable.name, (*index, leads, self._rows))
                block.values[part, : position + 1 - block.first, c] = values
        self._buffer.put(block)

    def complete_batch(self, first: int, n_steps: int) -> None:
        """Save that all steps of a batch are done; see `save`."""
        self.flush()
        self.save(first, n_steps, {})

    def flush(self) -> None:
        """Hand over what is held back."""
        for block in self._buffer.take():
            self._thread.submit(partial(self._put, block))

    def __enter__(self) -> Self:
        """The writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the file in its place when all have written; after an exception see the class."""
        try:
            if kind is None:
                self.flush()
                self._thread.finish()
                self._mesh.any_rank(False)  # all have
                self._finish()
        finally:
            self._thread.stop()
            if self._mesh.is_first:
                self._work.close()
        if kind is None:
            self._mesh.any_rank(False)  # nobody looks for the file before it is there

    def _create(self, attributes: Mapping[str, str], n_rows: int) -> None:
        try:
            with self._named_errors():
                file = ZarrFormat(self._work.group, new=True, compressed=not self._is_copied)
                define(file, self.axes, attributes, self._held, n_rows)
                define_periods(file, self.axes, n_rows)
                self._work.begin()
        except BaseException:
            self._work.close()
            raise

    def _finish(self) -> None:
        """Complete the file and move it to its path, by the first process."""
        made = self._work.copy if self._is_copied else self._work.group
        copied: Iterator[None] = iter(())
        if self.axes.layout == "weatherbench2":
            copied = copy_to_weatherbench2(self._file, made, self.axes, self._held)
        elif self.path.suffix == ".nc":
            copied = copy_to_netcdf(self._file, made, self.axes, self.outcome.last_step, self._held)
        for _ in (*self.axes.init_time, "the end"):
            if self._mesh.is_first:
                with self._named_errors():
                    next(copied, None)
            self._mesh.any_rank(False)  # so that the others do not wait for the whole copy
        if self._mesh.is_first:
            with self._named_errors():
                if not self._is_copied:
                    define_last_step(self._file, self.axes, self.outcome.last_step)
                    define_n_steps(self._file, self.axes, self.outcome.last_step)
                    self._file.close()
                self._work.publish(made)

    def _save(self, block: Block | None, state: SavedState) -> None:
        began = time.monotonic()
        if block is not None:
            self._put(block)
        with self._named_errors():
            self._work.save(state)
        self._cost = time.monotonic() - began

    def _put(self, block: Block) -> None:
        leads = slice(block.first, block.first + block.values.shape[1])
        with self._named_errors():
            for part, index in places(block.rows, self.axes):
                for c, variable in enumerate(self.axes.variables):
                    at = (*index, leads, self._rows)
                    self._file.put(variable.name, at, block.values[part, :, c])
        self._buffer.reuse(block)

    def _put_period(self, rows: Sequence[int], period: int, values: NDArray[Any]) -> None:
        at = slice(period, period + 1)
        with self._named_errors():
            for part, index in _runs(rows, self.axes):
                put_period(self._file, self.axes, (*index, at, self._rows), values[part])

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """The libraries' errors, which say neither file nor reason, as one that names the file."""
        try:
            yield
        except FileExistsError:
            raise
        except (RuntimeError, OSError) as error:
            raise cannot_write(self.path, error) from error


def places(rows: slice, axes: ForecastAxes) -> Iterator[tuple[slice, tuple[int | slice, ...]]]:
    """Yield the places in the arrays of a file of consecutive rows.

    Args:
        rows: rows of forecasts and members.
        axes: what is in the file.

    Yields:
        Some of the rows, counted from the first one, and their index in the arrays.
    """
    m = axes.n_members
    if axes.member is None:
        yield slice(0, rows.stop - rows.start), (rows,)
        return
    for forecast_index in range(rows.start // m, -(-rows.stop // m)):
        first = forecast_index * m
        part = slice(max(rows.start, first), min(rows.stop, first + m))
        own = slice(part.start - rows.start, part.stop - rows.start)
        yield own, (forecast_index, slice(part.start - first, part.stop - first))


def _runs(
    rows: Sequence[int], axes: ForecastAxes
) -> Iterator[tuple[slice, tuple[int | slice, ...]]]:
    """Yield the places in the arrays of a file of increasing rows, with gaps between them.

    Yields:
        Places of some of the rows in `rows`, and their index in the arrays; see `places`.
    """
    ends = [i for i in range(1, len(rows)) if rows[i] != rows[i - 1] + 1]
    for first, stop in pairwise([0, *ends, len(rows)]):
        for part, index in places(slice(rows[first], rows[stop - 1] + 1), axes):
            yield slice(first + part.start, first + part.stop), index
