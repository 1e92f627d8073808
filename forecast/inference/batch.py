"""Forecasts that are stepped together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat

import torch
from torch import Tensor

from forecast.inference.ensemble.runs import MemberStates
from forecast.inference.failures import EarlyStop, first_failures
from forecast.inference.output.period_means import PeriodMeans
from forecast.inference.output.plausible import Found, Implausible, Report, StateCheck
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
        self.means: PeriodMeans | None = None
        if plan.axes.periods is not None:
            own = [rows[i] for i in self.own]
            starts = [self.samples[i][0] for i in self.own]
            self.means = PeriodMeans(plan.axes.periods, writer, own, starts)
        for i, (channel, place) in self._failures(states.for_check(self.stored)).items():
            raise ValueError(
                f"{states.store.path} has missing values of {self.runs.channel_names[channel]} at "
                f"{self._start(i)}{' or before' * bool(states.n_history)} "
                f"(first at {place}); a forecast needs a complete initial state: declare a mask "
                "when ingesting (data.mask, or data.moving_mask for points that change) and train "
                "with it, or start from another time"
            )

    def forecast(
        self,
        reports: dict[int, Report],
        tick: Callable[[int], None],
        saved: SavedState | None = None,
    ) -> None:
        """Step all of them, write what is kept, and drop those that blow up.

        Args:
            reports: forecasts that ended early or became implausible, by row; those of this batch
                are added.
            tick: called with the number of steps that are done.
            saved: state of this batch to go on from; None for the initial states.
        """
        n_steps, every = self.plan.n_steps, self.plan.every
        known = [i for i, row in enumerate(self.rows) if row in reports]
        check = StateCheck(
            self.plan.contents.limits, self.states.store.grid, self.own, len(self.rows),
            self.valid, known,
        )  # fmt: skip
        if saved is None:
            done, initial = 0, self.runs.begin(self.stored, self.members)
            for i, (channel, place) in self._failures(self.states.for_check(initial)).items():
                self._report(0, i, Found(channel, place), reports)
            for i, found in check(initial.fields)[1].items():  # which may have missing points
                self._report(0, i, found, reports)
            self._write(0, initial.fields, reports)
            begun = self.runs.start(initial, self.members)
        else:
            done = saved.step
            begun = self.runs.restore(saved.tensors, self.members, done)
            self.writer.restore([self.rows[i] for i in self.own], done // every)
            if self.means is not None:
                self.means.restore(saved.tensors, self.stored.fields.device)
        for step, states in enumerate(self._steps(begun, done), start=done + 1):
            for some in check(states.fields):
                for i, found in some.items():
                    self._report(step, i, found, reports)
            tick(step)
            if not any(self._goes_on(i, reports) for i in range(len(self.rows))):
                tick(n_steps)
                break
            self._write(step, states.fields, reports)
            if self.writer.due():
                sums = {} if self.means is None else self.means.tensors()
                self.writer.save(self.rows[0], step, states.tensors() | sums, reports)
        if self.means is not None:
            self.means.finish()
        self.writer.complete_batch(self.rows[0], n_steps, reports)

    def _report(self, step: int, i: int, found: Found, reports: dict[int, Report]) -> None:
        """Report a forecast that is not finite or not plausible, and end it if it does not go on.

        Forecasts in one batch are independent: the others go on.
        """
        if not self._goes_on(i, reports):
            return
        row, channel = self.rows[i], self.runs.models[0].channels[found.channel]
        where = (
            self._start(i), step, channel.name, lead_label(self.runs.time_step, step),
            found.place, self._member(i),
        )  # fmt: skip
        report: Report = EarlyStop(*where, before=str(reports.get(row, "")))
        if math.isfinite(found.value):
            contents = self.plan.contents
            value, limits = f"{found.value:.4g} {channel.units}", contents.limits[found.channel]
            report = Implausible(*where, value, limits, ended=contents.stop_implausible)
        reports[row] = report
        if report.ended:
            self.writer.end(row, step - 1)

    def _goes_on(self, i: int, reports: Mapping[int, Report]) -> bool:
        row = self.rows[i]
        return row not in reports or not reports[row].ended

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

    def _write(self, step: int, fields: Tensor, reports: Mapping[int, Report]) -> None:
        """Write a state if it is one of the steps that are kept, and count it in its period."""
        kept = self.plan.axes.snapshots and step % self.plan.every == 0
        if not kept and self.means is None:
            return
        alive = [i for i in self.own if self._goes_on(i, reports)]
        fields = fields[[i - self.own.start for i in alive]].float()
        if self.valid is not None:
            fields = fields.where(self.valid, torch.nan)
        fields = self.plan.contents.fields(fields)
        if kept:
            self.writer.write([self.rows[i] for i in alive], step // self.plan.every, fields)
        if self.means is not None:
            self.means.add(step, fields, [i - self.own.start for i in alive])

    def _failures(self, fields: Tensor) -> dict[int, tuple[int, str]]:
        """Channel and place of each forecast that is not finite; see `first_failures`."""
        grid, count = self.states.store.grid, len(self.rows)
        return first_failures(fields, self.valid, grid, self.own, count)
