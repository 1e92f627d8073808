"""One forecast file that all processes of a mesh write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from torch import Tensor

from data_prep.store.outputs import check_output
from forecast.inference.coordinates import ForecastAxes
from forecast.inference.writer import SUFFIXES, ForecastWriter
from sphere_ops.parallel.mesh import current


class SharedWriter:
    """Takes what each process has of a state, and brings it to those that write.

    Into zarr every process writes its own forecasts, and its own rows where these are equally many
    everywhere, as chunks of a file have to be; else the first along latitude writes all rows. A
    netCDF file is written by the first process. All processes have to make the same calls.
    """

    def __init__(
        self,
        path: str | Path,
        axes: ForecastAxes,
        attributes: Mapping[str, str],
        batch_size: int,
    ) -> None:
        """Create the file; see `ForecastWriter`.

        Args:
            path: output.
            axes: what is going to be written.
            attributes: of the file.
            batch_size: largest number of forecasts that a process brings.
        """
        self._mesh, self._nlat = current(), axes.grid.nlat
        latitude = self._mesh.latitude
        self._each = check_output(path, SUFFIXES).suffix == ".zarr"
        self._by_rows = self._each and self._nlat % latitude.ranks == 0
        if not self._each:
            batch_size *= self._mesh.data.ranks
        rows = latitude.rows(self._nlat) if self._by_rows else None
        self._writer: ForecastWriter | None = None
        if self._mesh.is_first:
            self._writer = ForecastWriter(path, axes, attributes, batch_size=batch_size, rows=rows)
        created = self._mesh.broadcast(str(self._writer.scratch) if self._writer else None)
        if self._writer is None and self._each and (self._by_rows or latitude.is_first):
            self._writer = ForecastWriter(
                path, axes, attributes, batch_size=batch_size, rows=rows, joined=Path(created)
            )

    def write(self, rows: Sequence[Sequence[int]], position: int, fields: Tensor) -> None:
        """Take the state of some forecasts at one lead time.

        Args:
            rows: rows of the forecasts that each data coordinate has; see `ForecastWriter.write`.
            position: index into the steps of the axes.
            fields: variables of the file, of this process, (b, v, h, w), NaN where missing.
        """
        own, fields = self._gathered(rows, fields)
        if self._writer is not None and own:
            self._writer.write(own, position, fields.numpy(force=True))

    def write_period(
        self, rows: Sequence[Sequence[int]], period: int, counts: Sequence[int], values: Tensor
    ) -> None:
        """Take the statistics of a period of some forecasts.

        Args:
            rows: rows of the forecasts that each data coordinate has; see `ForecastWriter.write`.
            period: number of the period.
            counts: number of steps that were counted, of all rows.
            values: of this process, (b, statistic, v, h, w).
        """
        own, values = self._gathered(rows, values)
        if self._writer is not None and own:
            self._writer.write_period(own, period, values.numpy(force=True))
        if self._writer is not None and self._mesh.is_first:
            self._writer.count_steps([row for of in rows for row in of], period, counts)

    def _gathered(
        self, rows: Sequence[Sequence[int]], fields: Tensor
    ) -> tuple[Sequence[int], Tensor]:
        """Bring fields (b, ..., h, w) to the processes that write, with their rows in the file."""
        own = rows[self._mesh.data.rank]
        if not self._by_rows:
            fields = self._mesh.gather_rows(fields, self._nlat)
        if not self._each and self._mesh.latitude.is_first:
            fields = self._mesh.gather_samples(fields, [len(of) for of in rows])
            own = [row for of in rows for row in of]
        return own, fields

    def end(self, row: int, last_step: int) -> None:
        """Mark a forecast that stopped early; see `ForecastWriter.end`."""
        if self._writer is not None:
            self._writer.end(row, last_step)

    def __enter__(self) -> Self:
        """The writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the file in its place when all have written, or remove it after an exception."""
        try:
            if kind is None:
                if self._writer is not None:
                    self._writer.flush()
                self._mesh.any_rank(False)  # all have
        except BaseException as failure:
            kind, error, trace = type(failure), failure, failure.__traceback__
            raise
        finally:
            if self._writer is not None:
                self._writer.__exit__(kind, error, trace)
        if kind is None:
            self._mesh.any_rank(False)  # nobody looks for the file before it is there
