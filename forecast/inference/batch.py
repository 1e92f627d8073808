"""Forecasts that are stepped together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress, repeat

import numpy as np
import torch
from torch import Tensor

from forecast.inference.ensemble.runs import MemberStates
from forecast.inference.failures import EarlyStop, first_failures
from forecast.inference.output.period_means import PeriodMeans
from forecast.inference.output.plausible import Found, Implausible, StateCheck
from forecast.inference.plan import RolloutPlan
from forecast.inference.reading.lead_times import lead_label
from forecast.inference.writer import ForecastWriter
from forecast.inference.writing.outcome import log_reports
from forecast.inference.writing.work_folder import SavedState
from forecast.model.state import State
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
        names = self.runs.channel_names
        for i, (c, place) in self._broken(self.stored).items():
            raise ValueError(
                f"{states.store.path} has missing values of {names[c]} at "
                f"{self._start(i)}{' or before' * bool(states.n_history)} "
                f"(first at {place}); a forecast needs a complete initial state: declare a mask "
                "when ingesting (data.mask, or data.moving_mask for points that change) and train "
                "with it, or start from another time"
            )
        grid, contents = states.store.grid, plan.contents
        self.check = StateCheck(contents.limits, grid, self.own, len(rows), self.valid)
        self.means: PeriodMeans | None = None
        if plan.axes.periods is not None:
            own = [rows[i] for i in self.own]
            starts = [self.samples[i][0] for i in self.own]
            self.means = PeriodMeans(plan.axes.periods, writer, own, starts)

    def forecast(self, tick: Callable[[int], None], saved: SavedState | None = None) -> None:
        """Step all of them, write what is kept, and drop those that blow up.

        Early ends and reports are added to the outcome of the writer.

        Args:
            tick: called with the number of steps that are done.
            saved: state of this batch to go on from; None for the initial states.
        """
        done = 0 if saved is None else saved.step
        begun = self._begin() if saved is None else self._resume(saved)
        for step, states in enumerate(self._steps(begun, done), start=done + 1):
            self._report(step, *self.check(states.fields))
            tick(step)
            if not any(self._alive(range(len(self.rows)))):
                tick(self.plan.n_steps)
                break
            self._write(step, states.fields)
            if self.writer.due():
                self.writer.save(self.rows[0], step, self._tensors(states))
        if self.means is not None:
            self.means.finish()
        self.writer.complete_batch(self.rows[0], self.plan.n_steps)

    def _begin(self) -> MemberStates:
        """Return the initial states of the members, which are written."""
        initial = self.runs.begin(self.stored, self.members)
        broken = {i: Found(c, place, np.nan) for i, (c, place) in self._broken(initial).items()}
        _, odd = self.check(initial.fields)  # a moving mask has gaps
        self._report(0, broken, odd)
        self._write(0, initial.fields)
        return self.runs.start(initial, self.members)

    def _resume(self, saved: SavedState) -> MemberStates:
        """Return the states to go on from, after the steps that are written."""
        odd = {
            row for row, report in self.writer.outcome.reports if isinstance(report, Implausible)
        }
        self.check.accept(i for i in self.own if self.rows[i] in odd)
        if self.means is not None:
            self.means.restore(saved.tensors, self.stored.fields.device)
        self.writer.restore([self.rows[i] for i in self.own], saved.step // self.plan.every)
        return self.runs.restore(saved.tensors, self.members, saved.step)

    def _tensors(self, states: MemberStates) -> dict[str, Tensor]:
        """Return all that a rollout needs to go on from these states, by name."""
        return states.tensors() | ({} if self.means is None else self.means.tensors())

    def _report(self, step: int, broken: Mapping[int, Found], odd: Mapping[int, Found]) -> None:
        """Report new failures, and mark the ends. The other forecasts of the batch go on."""
        outcome, stop = self.writer.outcome, self.plan.contents.stop_implausible and step > 0
        for i, found in (*broken.items(), *odd.items()):
            row = self.rows[i]
            if row in outcome.last_step:
                continue
            ended = i in broken
            of = self._ended(i, step, found) if ended else self._implausible(i, step, found, stop)
            outcome.reports.append((row, of))
            log_reports([of])
            if ended or stop:
                self.writer.end(row, step - 1)

    def _ended(self, i: int, step: int, found: Found) -> EarlyStop:
        """Return the report of a sample that is no longer finite."""
        lead = lead_label(self.runs.time_step, step)
        channel = self.runs.channel_names[found.channel]
        return EarlyStop(self._start(i), step, channel, lead, found.place, self._member(i))

    def _implausible(self, i: int, step: int, found: Found, ended: bool) -> Implausible:
        """Return the report of a sample that is no longer plausible."""
        channel = self.runs.channels[found.channel]
        return Implausible(
            start=self._start(i),
            step=step,
            channel=channel.name,
            lead=lead_label(self.runs.time_step, step),
            place=found.place,
            member=self._member(i),
            value=f"{found.value:.4g} {channel.units}",
            limits=self.plan.contents.limits.describe(found.channel),
            ended=ended,
        )

    def _alive(self, samples: Sequence[int]) -> list[bool]:
        return [self.rows[i] not in self.writer.outcome.last_step for i in samples]

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

    def _write(self, step: int, fields: Tensor) -> None:
        """Write a state, if its step is written, and count it in its period."""
        written = self.plan.axes.snapshots and step % self.plan.every == 0
        if not written and self.means is None:
            return
        alive = list(compress(self.own, self._alive(self.own)))
        places = [i - self.own.start for i in alive]
        fields = (fields if alive == list(self.own) else fields[places]).float()
        if self.valid is not None:
            fields = fields.where(self.valid, torch.nan)
        fields = self.plan.contents.fields(fields)
        if written:
            self.writer.write([self.rows[i] for i in alive], step // self.plan.every, fields)
        if self.means is not None:
            self.means.add(step, fields, places)

    def _broken(self, state: State) -> dict[int, tuple[int, str]]:
        """Return channel and place of each sample that lacks values; see `first_failures`."""
        checked, grid = self.states.for_check(state), self.states.store.grid
        return first_failures(checked, self.valid, grid, self.own, len(self.rows))
