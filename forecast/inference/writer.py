"""The forecast file, written while the rollout runs: CF-1.8 netCDF4 or zarr, by the suffix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from data_prep.store.outputs import cannot_write, check_output, written_beside
from forecast.inference.coordinates import ForecastAxes, define, define_last_step
from forecast.inference.file_formats import FileFormat, NetCDFFormat, ZarrFormat

SUFFIXES = (".nc", ".zarr")

_BUFFER_BYTES = 32 * 2**20


class ForecastWriter:
    """Writes states as they come, beside the output, which appears when all is written.

    A few steps are held back so that pieces of a reasonable size reach the disk, never more than
    32 MiB. What is never written reads as missing. Use it as a context manager:
    an exception inside leaves nothing behind.
    """

    def __init__(
        self,
        path: str | Path,
        axes: ForecastAxes,
        attributes: Mapping[str, str],
        *,
        batch_size: int = 8,
        rows: slice | None = None,
        joined: Path | None = None,
    ) -> None:
        """Create the file with all its coordinates, or join another process that did.

        Args:
            path: output; `.nc` is netCDF4, `.zarr` is zarr v3.
            axes: what is going to be written.
            attributes: of the file: title, source, history.
            batch_size: largest number of forecasts that one `write` brings.
            rows: rows of the grid that this writer writes, as many as any other's; all if not
                given. Of more than one, the file is zarr.
            joined: `scratch` of the writer that created the file.

        Raises:
            ValueError: for another suffix.
            FileExistsError: if the output is there.
            FileNotFoundError: if its folder is not.
        """
        self.path = check_output(path, SUFFIXES)
        self.axes = axes
        self._output = ExitStack()
        self.scratch = joined or self._output.enter_context(written_beside(self.path))
        self._rows = rows or slice(0, axes.grid.nlat)
        n_rows = self._rows.stop - self._rows.start
        per_step = 4 * len(axes.variables) * batch_size * n_rows * axes.grid.nlon
        self._held = min(len(axes.steps), max(1, _BUFFER_BYTES // per_step))
        self._forecasts = slice(0, 0)
        self._first = 0
        self._block: NDArray[np.float32] | None = None  # (b, held, c, h, w)
        self._ended: dict[int, int] = {}
        self._created = joined is None
        kind = NetCDFFormat if self.path.suffix == ".nc" else ZarrFormat
        self._file: FileFormat = kind(self.scratch, new=self._created)
        if self._created:
            define(self._file, axes, attributes, self._held, n_rows)
            self._output.push(self._close)

    def write(self, rows: Sequence[int], position: int, fields: NDArray[Any]) -> None:
        """Take the state of some forecasts at one lead time.

        Args:
            rows: their rows, increasing: forecast index · number of members + position of the
                member.
            position: index into `axes.steps`.
            fields: (b, c, rows, nlon), NaN where missing.
        """
        first, stop = int(rows[0]), int(rows[-1]) + 1
        block = position // self._held * self._held
        inside = self._forecasts.start <= first and stop <= self._forecasts.stop
        if self._block is None or block != self._first or not inside:
            self.flush()
            shape = (stop - first, self._held, *fields.shape[1:])
            self._forecasts, self._first = slice(first, stop), block
            self._block = np.full(shape, np.nan, dtype=np.float32)
        self._block[np.asarray(rows) - self._forecasts.start, position - self._first] = fields

    def end(self, row: int, last_step: int) -> None:
        """Mark a forecast that stopped early.

        Args:
            row: its row; see `write`.
            last_step: the last model step with finite values.
        """
        self._ended[row] = last_step

    def __enter__(self) -> Self:
        """The writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the file in its place, or remove it after an exception; the one that created it."""
        self._output.__exit__(kind, error, trace)

    def _close(self, kind: type[BaseException] | None, *_: object) -> None:
        """Complete the file, or only close it after an exception."""
        if kind is None:
            self.flush()
            with self._named_errors():
                define_last_step(self._file, self.axes, self._ended)
                self._file.close()
        else:
            with suppress(RuntimeError, OSError):  # the first error is the one to report
                self._file.close()

    def flush(self) -> None:
        """Write what is held back."""
        if self._block is None:
            return
        stop = min(self._first + self._held, len(self.axes.steps))
        leads, block = slice(self._first, stop), self._block[:, : stop - self._first]
        with self._named_errors():
            for part, index in places(self._forecasts, self.axes):
                for c, variable in enumerate(self.axes.variables):
                    self._file.put(variable.name, (*index, leads, self._rows), block[part, :, c])
        self._block = None

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """The libraries' errors, which say neither file nor reason, as one that names the file."""
        try:
            yield
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
