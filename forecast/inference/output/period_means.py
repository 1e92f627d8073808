"""Statistics of the forecasts of a batch over periods of valid time, written as periods end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.inference.output.periods import Periods
from forecast.inference.output.statistics import RunningStatistics

if TYPE_CHECKING:
    from forecast.inference.writer import ForecastWriter


class PeriodMeans:
    """Statistics of the samples of a process over their current periods.

    In a mesh, each process has own samples and rows. Those along latitude have the same samples
    and make the same calls.
    """

    def __init__(
        self,
        periods: Periods,
        writer: ForecastWriter,
        rows: Sequence[int],
        starts: Sequence[int],
    ) -> None:
        """Begin without any step.

        Args:
            periods: Periods of the forecasts.
            writer: Writer of the forecast file.
            rows: Row in the file of each sample of this process.
            starts: Forecast index of each.
        """
        self._writer, self._rows = writer, rows
        self._period = periods.of_steps(starts)  # (b, n_steps + 1)
        self._current = self._period[:, 0].copy()
        self._running: RunningStatistics | None = None

    def add(self, step: int, fields: Tensor, alive: Sequence[int]) -> None:
        """Add one step, and write the periods that it ends.

        Args:
            step: Model step.
            fields: Samples that go on, (len(alive), v, nlat, nlon), NaN where missing.
            alive: Places of these among the samples of this process.
        """
        if self._running is None:
            shape = (len(self._rows), *fields.shape[1:])
            self._running = RunningStatistics.empty(shape, fields.device)
        own = list(alive)
        over = np.zeros(len(self._rows), dtype=bool)
        over[own] = self._period[own, step] != self._current[own]
        self._write(over)
        self._current[own] = self._period[own, step]
        self._running.add(fields, own)

    def finish(self) -> None:
        """Write the periods that have not ended."""
        self._write(np.ones(len(self._rows), dtype=bool))

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of all that a restart needs after a step, by name."""
        if self._running is None:
            return {}
        tensors = self._running.tensors() | {_CURRENT: torch.from_numpy(self._current)}
        return {f"{_PREFIX}{name}": tensor.clone() for name, tensor in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on from the `tensors` of a process with the same samples and rows.

        Args:
            tensors: Tensors by name; others are ignored.
            device: Device of the fields.
        """
        own = {
            name.removeprefix(_PREFIX): tensor.clone()
            for name, tensor in tensors.items()
            if name.startswith(_PREFIX)
        }
        self._current = own.pop(_CURRENT).numpy()
        self._running = RunningStatistics.from_tensors(own, device)

    def _write(self, over: NDArray[np.bool_]) -> None:
        """Write the current periods of some samples, which then begin a new one."""
        assert self._running is not None
        over = over & (self._running.count.numpy() > 0)
        for period in np.unique(self._current[over]).tolist():
            samples = np.flatnonzero(over & (self._current == period)).tolist()
            rows = [self._rows[i] for i in samples]
            self._writer.write_period(rows, period, self._running.take(samples)[1])


_PREFIX, _CURRENT = "period.", "current"
