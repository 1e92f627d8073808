"""Forecasts that are stepped together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

import torch
from torch import Tensor

from forecast.inference.coordinates import ForecastAxes
from forecast.inference.failures import EarlyStop, first_failures
from forecast.inference.forcing_source import ForcingSource
from forecast.inference.initial_states import InitialStates
from forecast.inference.output.contents import FileContents
from forecast.inference.output.period_means import PeriodMeans
from forecast.inference.output.plausible import Found, Implausible, StateCheck
from forecast.inference.reader import lead_label
from forecast.inference.rollout import rollout
from forecast.inference.shared_writer import SharedWriter
from forecast.model.forecaster import Forecaster
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import State
from sphere_ops.parallel.mesh import current

Report = EarlyStop | Implausible


class Batch:
    """Forecasts that are stepped together; each data coordinate of a mesh has some of them.

    A sample is one member of the forecast from one start. Members of one start may be in different
    batches, and in different processes.
    """

    def __init__(
        self,
        forecaster: Forecaster | ResamplingForecaster,
        states: InitialStates,
        forcing: ForcingSource | None,
        writer: SharedWriter,
        axes: ForecastAxes,
        rows: Sequence[int],
        contents: FileContents,
    ) -> None:
        """Read the initial states of this process.

        Args:
            forecaster: model on the grid of the states.
            states: initial states.
            forcing: fields that the model is given at every time; None if it takes none.
            writer: writer of the forecast file.
            axes: what is in the file.
            rows: rows of the samples in the file; see `ForecastWriter.write`.
            contents: what is written and checked of each state.

        Raises:
            ValueError: if an initial state has missing values where the model needs them.
        """
        self.forecaster, self.states, self.writer = forecaster, states, writer
        self.forcing, self.axes, self.contents = forcing, axes, contents
        self.rows, self.mesh = rows, current()
        self.samples = [divmod(row, axes.n_members) for row in rows]  # (start, member)
        count = len(rows)
        self.parts = [range(count)[share.part(count)] for share in self.mesh.data.all()]
        self.own = self.parts[self.mesh.data.rank]
        device = next(forecaster.parameters()).device
        self.initial = self._initial([self.samples[i] for i in self.own]).to(device)
        self.valid = None if states.valid is None else states.valid.to(device)
        grid, names = states.store.grid, forecaster.channel_names
        checked = states.for_check(self.initial)
        for i, (c, place) in first_failures(checked, self.valid, grid, self.own, count).items():
            raise ValueError(
                f"{states.store.path} has missing values of {names[c]} at "
                f"{self._start(i)}{' or before' * bool(states.n_history)} "
                f"(first at {place}); a forecast needs a complete initial state: declare a mask "
                "when ingesting (data.mask, or data.moving_mask for points that change) and train "
                "with it, or start from another time"
            )
        self.check = StateCheck(contents.limits, grid, self.own, count, self.valid)
        self.means: PeriodMeans | None = None
        if axes.periods is not None:
            starts = [start for start, _ in self.samples]
            self.means = PeriodMeans(axes.periods, writer, rows, starts, self.parts)

    def _initial(self, samples: Sequence[tuple[int, int]]) -> State:
        """Return the initial states of some (start, position of the member)."""
        return self.states.read([start for start, _ in samples])

    def forecast(self, n_steps: int, every: int, tick: Callable[[int], None]) -> list[Report]:
        """Step all of them, write what is kept, and drop those that blow up.

        Returns:
            Forecasts that ended early, and those that became implausible.
        """
        ended: set[int] = set()
        _, odd = self.check(self.initial.fields)  # a moving mask has gaps
        reports: list[Report] = [self._implausible(i, 0, found) for i, found in odd.items()]
        self._write(0, 0, self.initial.fields, ended)
        for step, fields in enumerate(self._steps(n_steps), start=1):
            broken, odd = self.check(fields)
            reports += [self._ended(i, step, f) for i, f in broken.items() if i not in ended]
            reports += [self._implausible(i, step, f) for i, f in odd.items() if i not in ended]
            # Forecasts in one batch are independent: the others go on.
            for i in {*broken, *(odd if self.contents.stop_implausible else ())} - ended:
                ended.add(i)
                self.writer.end(self.rows[i], step - 1)
            tick(step)
            if len(ended) == len(self.rows):
                tick(n_steps)
                break
            self._write(step, step // every if step % every == 0 else None, fields, ended)
        if self.means is not None:
            self.means.finish()
        return reports

    def _ended(self, i: int, step: int, found: Found) -> EarlyStop:
        """Return the report of a sample that is no longer finite."""
        lead = lead_label(self.forecaster.time_step, step)
        channel = self.forecaster.channel_names[found.channel]
        return EarlyStop(self._start(i), step, channel, lead, found.place, self._member(i))

    def _implausible(self, i: int, step: int, found: Found) -> Implausible:
        """Return the report of a sample that is no longer plausible."""
        channel = self.forecaster.channels[found.channel]
        return Implausible(
            start=self._start(i),
            step=step,
            channel=channel.name,
            lead=lead_label(self.forecaster.time_step, step),
            place=found.place,
            member=self._member(i),
            value=f"{found.value:.4g} {channel.units}",
            limits=self.contents.limits.describe(found.channel),
            ended=self.contents.stop_implausible and step > 0,
        )

    def _start(self, i: int) -> str:
        return self.states.describe(self.samples[i][0])

    def _member(self, i: int) -> int | None:
        """Return the number of the member of a sample; None without members."""
        return None if self.axes.member is None else int(self.axes.member[self.samples[i][1]])

    def _steps(self, n_steps: int) -> Iterator[Tensor]:
        """Own fields after each step; a rank may have no forecasts."""
        if not self.own:
            return repeat(self.initial.fields, n_steps)
        forcing = None
        if self.forcing is not None:
            own = [self.states.starts[self.samples[i][0]][0] for i in self.own]
            device = self.initial.fields.device
            forcing = self.forcing.steps(self.initial.time, own, n_steps, device)
        steps = rollout(self.forecaster, self.initial, n_steps, forcing=forcing)
        return (state.fields for state in steps)

    def _write(self, step: int, position: int | None, fields: Tensor, ended: set[int]) -> None:
        """Write a state, if it has a position in the file, and count it in its period."""
        position = position if self.axes.snapshots else None
        if position is None and self.means is None:
            return
        alive = [[i for i in part if i not in ended] for part in self.parts]
        fields = fields[[i - self.own.start for i in alive[self.mesh.data.rank]]].float()
        if self.valid is not None:
            fields = fields.where(self.valid, torch.nan)
        written = self.contents.fields(fields)
        if position is not None:
            self.writer.write([[self.rows[i] for i in part] for part in alive], position, written)
        if self.means is not None:
            self.means.add(step, written, alive)
