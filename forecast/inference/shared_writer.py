"""One forecast file that all processes of a mesh write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from data_prep.store.outputs import check_output
from forecast.inference.coordinates import ForecastAxes
from forecast.inference.winds import ForecastWinds
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
        winds: ForecastWinds | None = None,
    ) -> None:
        """Create the file; see `ForecastWriter`.

        Args:
            path: output.
            axes: what is going to be written.
            attributes: of the file.
            batch_size: largest number of forecasts that a process brings.
            winds: computes the derived variables of the axes from the fields; None without any.
        """
        self._winds = winds
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
            fields: of this process, (b, c, h, w), NaN where missing.
        """
        own = rows[self._mesh.data.rank]
        if self._winds is not None:
            fields = torch.cat((fields, self._winds(fields)), dim=1)
        if not self._by_rows:
            fields = self._mesh.gather_rows(fields, self._nlat)
        if not self._each and self._mesh.latitude.is_first:
            fields = self._mesh.gather_samples(fields, [len(of) for of in rows])
            own = [row for of in rows for row in of]
        if self._writer is not None and own:
            self._writer.write(own, position, fields.numpy(force=True))

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
