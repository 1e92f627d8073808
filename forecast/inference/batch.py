"""Forecasts that are stepped together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

import torch
from torch import Tensor

from forecast.inference.coordinates import ForecastAxes
from forecast.inference.ensemble.runs import MemberRuns
from forecast.inference.failures import EarlyStop, first_failures
from forecast.inference.reader import lead_label
from forecast.inference.shared_writer import SharedWriter
from sphere_ops.parallel.mesh import current


class Batch:
    """Forecasts that are stepped together; each data coordinate of a mesh has some of them.

    A sample is one member of the forecast from one start. Members of one start may be in different
    batches, and in different processes.
    """

    def __init__(
        self,
        runs: MemberRuns,
        writer: SharedWriter,
        axes: ForecastAxes,
        rows: Sequence[int],
    ) -> None:
        """Read the initial states of this process.

        Args:
            runs: initial states and models of the members.
            writer: writer of the forecast file.
            axes: what is in the file.
            rows: rows of the samples in the file; see `ForecastWriter.write`.

        Raises:
            ValueError: if an initial state has missing values where the model needs them.
        """
        self.runs, self.states, self.writer = runs, runs.states, writer
        self.axes, self.rows, self.mesh = axes, rows, current()
        self.samples = [divmod(row, axes.n_members) for row in rows]  # (start, member)
        count = len(rows)
        self.parts = [range(count)[share.part(count)] for share in self.mesh.data.all()]
        self.own = self.parts[self.mesh.data.rank]
        self.members = runs.samples([self.samples[i] for i in self.own])
        states, stored = self.states, runs.read(self.members)
        self.valid = None if states.valid is None else states.valid.to(stored.fields.device)
        for i, (channel, place) in self._failures(states.for_check(stored)).items():
            raise ValueError(
                f"{states.store.path} has missing values of {channel} at "
                f"{self._start(i)}{' or before' * bool(states.n_history)} "
                f"(first at {place}); a forecast needs a complete initial state: declare a mask "
                "when ingesting (data.mask, or data.moving_mask for points that change) and train "
                "with it, or start from another time"
            )
        self.initial = runs.begin(stored, self.members)

    def forecast(self, n_steps: int, every: int, tick: Callable[[int], None]) -> list[EarlyStop]:
        """Step all of them, write what is kept, and drop those that blow up."""
        ended: dict[int, EarlyStop] = {}
        self._end(0, self.states.for_check(self.initial), ended)
        self._write(0, self.initial.fields, ended)
        for step, fields in enumerate(self._steps(n_steps), start=1):
            self._end(step, fields, ended)
            tick(step)
            if len(ended) == len(self.rows):
                tick(n_steps)
                break
            if step % every == 0:
                self._write(step // every, fields, ended)
        return list(ended.values())

    def _end(self, step: int, fields: Tensor, ended: dict[int, EarlyStop]) -> None:
        """Mark those that are not finite. They are independent in a batch: the others go on."""
        for i, (channel, place) in self._failures(fields).items():
            if i not in ended:
                lead = lead_label(self.runs.time_step, step)
                member = self._member(i)
                ended[i] = EarlyStop(self._start(i), step, channel, lead, place, member)
                self.writer.end(self.rows[i], step - 1)

    def _start(self, i: int) -> str:
        return self.states.describe(self.samples[i][0])

    def _member(self, i: int) -> int | None:
        """Return the number of the member of a sample; None without members."""
        return None if self.axes.member is None else int(self.axes.member[self.samples[i][1]])

    def _steps(self, n_steps: int) -> Iterator[Tensor]:
        """Own fields after each step; a rank may have no forecasts."""
        if not self.own:
            return repeat(self.initial.fields, n_steps)
        return self.runs.steps(self.initial, self.members, n_steps)

    def _write(self, position: int, fields: Tensor, ended: dict[int, EarlyStop]) -> None:
        alive = [[i for i in part if i not in ended] for part in self.parts]
        fields = fields[[i - self.own.start for i in alive[self.mesh.data.rank]]].float()
        if self.valid is not None:
            fields = fields.where(self.valid, torch.nan)
        self.writer.write([[self.rows[i] for i in part] for part in alive], position, fields)

    def _failures(self, fields: Tensor) -> dict[int, tuple[str, str]]:
        """Channel and place of each forecast that is not finite; see `first_failures`."""
        grid, names = self.states.store.grid, self.runs.channel_names
        found = first_failures(fields, self.valid, grid, self.own, len(self.rows))
        return {i: (names[channel], place) for i, (channel, place) in found.items()}
