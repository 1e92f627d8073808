"""Forecasts that are stepped together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat

import torch
from torch import Tensor

from forecast.inference.ensemble.runs import MemberStates
from forecast.inference.failures import EarlyStop, first_failures
from forecast.inference.plan import RolloutPlan
from forecast.inference.reader import lead_label
from forecast.inference.writer import ForecastWriter
from forecast.inference.writing.work_folder import SavedState
from sphere_ops.parallel.mesh import current


class Batch:
    """Forecasts that are stepped together; each data coordinate of a mesh has some of them.

    A sample is one member of the forecast from one start. Members of one start may be in different
    batches, and in different processes.
    """

    def __init__(self, plan: RolloutPlan, writer: ForecastWriter, rows: Sequence[int]) -> None:
        """Read the initial states of this process.

        Args:
            plan: plan of the whole rollout.
            writer: writer of the forecast file.
            rows: rows of the samples in the file; see `ForecastWriter.write`.

        Raises:
            ValueError: if an initial state has missing values where the model needs them.
        """
        self.plan, self.runs, self.writer, self.rows = plan, plan.runs, writer, rows
        self.states = states = plan.runs.states
        self.samples = [divmod(row, plan.axes.n_members) for row in rows]  # (start, member)
        self.own = range(len(rows))[current().data.part(len(rows))]
        self.members = self.runs.samples([self.samples[i] for i in self.own])
        self.stored = self.runs.read(self.members)
        self.valid = None if states.valid is None else states.valid.to(self.stored.fields.device)
        for i, (channel, place) in self._failures(states.for_check(self.stored)).items():
            raise ValueError(
                f"{states.store.path} has missing values of {channel} at "
                f"{self._start(i)}{' or before' * bool(states.n_history)} "
                f"(first at {place}); a forecast needs a complete initial state: declare a mask "
                "when ingesting (data.mask, or data.moving_mask for points that change) and train "
                "with it, or start from another time"
            )

    def forecast(
        self,
        ended: dict[int, EarlyStop],
        tick: Callable[[int], None],
        saved: SavedState | None = None,
    ) -> None:
        """Step all of them, write what is kept, and drop those that blow up.

        Args:
            ended: forecasts that ended early, by row; those of this batch are added.
            tick: called with the number of steps that are done.
            saved: state of this batch to go on from; None for the initial states.
        """
        n_steps, every = self.plan.n_steps, self.plan.every
        if saved is None:
            done, initial = 0, self.runs.begin(self.stored, self.members)
            self._end(0, self.states.for_check(initial), ended)
            self._write(0, initial.fields, ended)
            begun = self.runs.start(initial, self.members)
        else:
            done = saved.step
            begun = self.runs.restore(saved.tensors, self.members, done)
            self.writer.restore([self.rows[i] for i in self.own], done // every)
        for step, states in enumerate(self._steps(begun, done), start=done + 1):
            self._end(step, states.fields, ended)
            tick(step)
            if all(row in ended for row in self.rows):
                tick(n_steps)
                break
            if step % every == 0:
                self._write(step // every, states.fields, ended)
            if self.writer.due():
                self.writer.save(self.rows[0], step, states.tensors(), ended)
        self.writer.complete_batch(self.rows[0], n_steps, ended)

    def _end(self, step: int, fields: Tensor, ended: dict[int, EarlyStop]) -> None:
        """Mark those that are not finite. They are independent in a batch: the others go on."""
        for i, (channel, place) in self._failures(fields).items():
            row = self.rows[i]
            if row not in ended:
                lead = lead_label(self.runs.time_step, step)
                member = self._member(i)
                ended[row] = EarlyStop(self._start(i), step, channel, lead, place, member)
                self.writer.end(row, step - 1)

    def _start(self, i: int) -> str:
        return self.states.describe(self.samples[i][0])

    def _member(self, i: int) -> int | None:
        """Return the number of the member of a sample; None without members."""
        numbers = self.plan.axes.member
        return None if numbers is None else int(numbers[self.samples[i][1]])

    def _steps(self, states: MemberStates, done: int) -> Iterator[MemberStates]:
        """Own states after each step; a rank may have no forecasts."""
        if not self.own:
            return repeat(states, self.plan.n_steps - done)
        return self.runs.steps(states, self.members, self.plan.n_steps, done)

    def _write(self, position: int, fields: Tensor, ended: Mapping[int, EarlyStop]) -> None:
        alive = [i for i in self.own if self.rows[i] not in ended]
        fields = fields[[i - self.own.start for i in alive]].float()
        if self.valid is not None:
            fields = fields.where(self.valid, torch.nan)
        if self.plan.winds is not None:
            fields = torch.cat((fields, self.plan.winds(fields)), dim=1)
        self.writer.write([self.rows[i] for i in alive], position, fields)

    def _failures(self, fields: Tensor) -> dict[int, tuple[str, str]]:
        """Channel and place of each forecast that is not finite; see `first_failures`."""
        grid, names = self.states.store.grid, self.runs.channel_names
        found = first_failures(fields, self.valid, grid, self.own, len(self.rows))
        return {i: (names[channel], place) for i, (channel, place) in found.items()}
