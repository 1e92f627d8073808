"""Statistics of the forecasts of a batch over periods of valid time, written as periods end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from forecast.inference.output.periods import Periods
from forecast.inference.output.statistics import RunningStatistics
from forecast.inference.writer import ForecastWriter
from sphere_ops.parallel.mesh import current


class PeriodMeans:
    """Statistics of each sample of a batch over its current period.

    All processes of a mesh make the same calls. Each holds its own samples and rows.
    """

    def __init__(
        self,
        periods: Periods,
        writer: ForecastWriter,
        rows: Sequence[int],
        starts: Sequence[int],
        parts: Sequence[range],
    ) -> None:
        """Begin with the initial states.

        Args:
            periods: Periods of the forecasts.
            writer: Writer of the forecast file.
            rows: Row in the file of each sample of the batch.
            starts: Forecast index of each sample.
            parts: Samples of each data coordinate.
        """
        self._writer, self._rows, self._parts = writer, rows, parts
        self._own = parts[current().data.rank]
        self._period = periods.of_steps(starts)  # (count, n_steps + 1)
        self._open = np.zeros(len(rows), dtype=np.int64)  # steps counted in the current period
        self._current = self._period[:, 0].copy()
        self._running: RunningStatistics | None = None

    def add(self, step: int, fields: Tensor, alive: Sequence[Sequence[int]]) -> None:
        """Add one step, and write the periods that it ends.

        Args:
            step: Model step.
            fields: Own samples that go on, (b, v, nlat, nlon), NaN where missing.
            alive: Samples of each data coordinate that go on, as places in the batch.
        """
        every = [i for part in alive for i in part]
        over = self._open > 0
        over[every] &= self._period[every, step] != self._current[every]
        self._write(over)
        self._current[every] = self._period[every, step]
        self._open[every] += 1
        if self._running is None:
            shape = (len(self._own), *fields.shape[1:])
            self._running = RunningStatistics.empty(shape, fields.device)
        own = alive[current().data.rank]
        self._running.add(fields, [i - self._own.start for i in own])

    def finish(self) -> None:
        """Write the periods that have not ended."""
        self._write(self._open > 0)

    def state(self) -> dict[str, Tensor]:
        """Return what a restart needs after a step, on this process; empty before the first."""
        if self._running is None:
            return {}
        running = {name: tensor.clone() for name, tensor in self._running.tensors().items()}
        return running | {
            "open": torch.from_numpy(self._open.copy()),
            "period": torch.from_numpy(self._current.copy()),
        }

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on from the `state` of a process with the same samples and rows.

        Args:
            state: Tensors by name.
            device: Device of the fields.
        """
        tensors = {n: t if t.dtype == torch.int64 else t.to(device) for n, t in state.items()}
        self._open = tensors.pop("open").numpy().copy()
        self._current = tensors.pop("period").numpy().copy()
        self._running = RunningStatistics.from_tensors(tensors)

    def _write(self, over: np.ndarray) -> None:
        """Write the current periods of some samples, which then begin a new one."""
        if self._running is None:
            return
        for period in np.unique(self._current[over]).tolist():
            chosen = over & (self._current == period)
            samples = [[i for i in part if chosen[i]] for part in self._parts]
            own = samples[current().data.rank]
            _, values = self._running.take([i - self._own.start for i in own])
            rows = [[self._rows[i] for i in part] for part in samples]
            counts = [int(self._open[i]) for part in samples for i in part]
            self._writer.write_period(rows[current().data.rank], int(period), values)
            self._writer.count_steps([row for of in rows for row in of], int(period), counts)
        self._open[over] = 0
