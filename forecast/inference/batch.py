"""Forecasts that are stepped together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat

import torch
from torch import Tensor

from forecast.inference.failures import EarlyStop, first_failures
from forecast.inference.plan import RolloutPlan
from forecast.inference.reader import lead_label
from forecast.inference.rollout import rollout
from forecast.inference.writer import ForecastWriter
from forecast.inference.writing.work_folder import SavedState
from forecast.model.state import State, Times
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
        self.plan, self.writer, self.rows = plan, writer, rows
        forecaster, states = plan.forecaster, plan.states
        self.samples = [divmod(row, plan.axes.n_members) for row in rows]  # (start, member)
        self.own = range(len(rows))[current().data.part(len(rows))]
        device = next(forecaster.parameters()).device
        self.initial = self._initial([self.samples[i] for i in self.own]).to(device)
        self.state, self.done = self.initial, 0
        self.valid = None if states.valid is None else states.valid.to(device)
        for i, (channel, place) in self._failures(states.for_check(self.initial)).items():
            raise ValueError(
                f"{states.store.path} has missing values of {channel} at "
                f"{self._start(i)}{' or before' * bool(states.n_history)} "
                f"(first at {place}); a forecast needs a complete initial state: declare a mask "
                "when ingesting (data.mask, or data.moving_mask for points that change) and train "
                "with it, or start from another time"
            )

    def _initial(self, samples: Sequence[tuple[int, int]]) -> State:
        """Return the initial states of some (start, position of the member)."""
        return self.plan.states.read([start for start, _ in samples])

    def resume(self, saved: SavedState) -> None:
        """Go on from a saved state instead of the initial one."""
        self.done = saved.step
        device = self.initial.fields.device
        tensors = {name: tensor.to(device) for name, tensor in saved.tensors.items()}
        time = self.plan.forecaster.time_step.advance(self.initial.time, self.done)
        self.state = _from_tensors(tensors, time)
        self.writer.restore([self.rows[i] for i in self.own], self.done // self.plan.every)

    def forecast(self, ended: dict[int, EarlyStop], tick: Callable[[int], None]) -> None:
        """Step all of them, write what is kept, and drop those that blow up.

        Args:
            ended: forecasts that ended early, by row; those of this batch are added.
            tick: called with the number of steps that are done.
        """
        if not self.done:
            self._write(0, self.state.fields, ended)
        for step, state in enumerate(self._steps(), start=self.done + 1):
            # Forecasts in one batch are independent: the others go on.
            for i, (channel, place) in self._failures(state.fields).items():
                row = self.rows[i]
                if row not in ended:
                    lead = lead_label(self.plan.forecaster.time_step, step)
                    stop = EarlyStop(self._start(i), step, channel, lead, place, self._member(i))
                    ended[row] = stop
                    self.writer.end(row, step - 1)
            tick(step)
            if all(row in ended for row in self.rows):
                tick(self.plan.n_steps)
                break
            if step % self.plan.every == 0:
                self._write(step // self.plan.every, state.fields, ended)
            if self.writer.due():
                self.writer.save(self.rows[0], step, _tensors(state), ended)
        self.writer.complete_batch(self.rows[0], self.plan.n_steps, ended)

    def _start(self, i: int) -> str:
        return self.plan.states.describe(self.samples[i][0])

    def _member(self, i: int) -> int | None:
        """Return the number of the member of a sample; None without members."""
        numbers = self.plan.axes.member
        return None if numbers is None else int(numbers[self.samples[i][1]])

    def _steps(self) -> Iterator[State]:
        """Own states after each step; a rank may have no forecasts."""
        if not self.own:
            return repeat(self.state, self.plan.n_steps - self.done)
        forcing = None
        if self.plan.forcing is not None:
            own = [self.plan.states.starts[self.samples[i][0]][0] for i in self.own]
            forcing = self.plan.forcing.steps(
                self.initial.time, own, self.plan.n_steps, self.state.fields.device, self.done
            )
        return rollout(
            self.plan.forecaster,
            self.state,
            self.plan.n_steps,
            forcing=forcing,
            start=self.initial.time,
            done=self.done,
        )

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
        grid, names = self.plan.states.store.grid, self.plan.forecaster.channel_names
        found = first_failures(fields, self.valid, grid, self.own, len(self.rows))
        return {i: (names[channel], place) for i, (channel, place) in found.items()}


_SERIES = "series"


def _tensors(state: State) -> dict[str, Tensor]:
    """Return all of a state but its times, by name."""
    return {f"{_SERIES}_{i}": fields for i, fields in enumerate(state.series)}


def _from_tensors(tensors: Mapping[str, Tensor], time: Times) -> State:
    """Return the state whose `_tensors` these are."""
    n_series = sum(name.startswith(_SERIES) for name in tensors)
    *history, fields = (tensors[f"{_SERIES}_{i}"] for i in range(n_series))
    return State(fields, time, tuple(history))
