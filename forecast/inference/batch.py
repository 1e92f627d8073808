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
from forecast.inference.reader import lead_label
from forecast.inference.rollout import rollout
from forecast.inference.shared_writer import SharedWriter
from forecast.model.forecaster import Forecaster
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import State
from sphere_ops.parallel.mesh import current


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
    ) -> None:
        """Read the initial states of this process.

        Args:
            forecaster: model on the grid of the states.
            states: initial states.
            forcing: fields that the model is given at every time; None if it takes none.
            writer: writer of the forecast file.
            axes: what is in the file.
            rows: rows of the samples in the file; see `ForecastWriter.write`.

        Raises:
            ValueError: if an initial state has missing values where the model needs them.
        """
        self.forecaster, self.states, self.writer = forecaster, states, writer
        self.forcing, self.axes = forcing, axes
        self.rows, self.mesh = rows, current()
        self.samples = [divmod(row, axes.n_members) for row in rows]  # (start, member)
        count = len(rows)
        self.parts = [range(count)[share.part(count)] for share in self.mesh.data.all()]
        self.own = self.parts[self.mesh.data.rank]
        device = next(forecaster.parameters()).device
        self.initial = self._initial([self.samples[i] for i in self.own]).to(device)
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
        return self.states.read([start for start, _ in samples])

    def forecast(self, n_steps: int, every: int, tick: Callable[[int], None]) -> list[EarlyStop]:
        """Step all of them, write what is kept, and drop those that blow up."""
        ended: dict[int, EarlyStop] = {}
        self._write(0, self.initial.fields, ended)
        for step, fields in enumerate(self._steps(n_steps), start=1):
            # Forecasts in one batch are independent: the others go on.
            for i, (channel, place) in self._failures(fields).items():
                if i not in ended:
                    lead = lead_label(self.forecaster.time_step, step)
                    member = self._member(i)
                    ended[i] = EarlyStop(self._start(i), step, channel, lead, place, member)
                    self.writer.end(self.rows[i], step - 1)
            tick(step)
            if len(ended) == len(self.rows):
                tick(n_steps)
                break
            if step % every == 0:
                self._write(step // every, fields, ended)
        return list(ended.values())

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

    def _write(self, position: int, fields: Tensor, ended: dict[int, EarlyStop]) -> None:
        alive = [[i for i in part if i not in ended] for part in self.parts]
        fields = fields[[i - self.own.start for i in alive[self.mesh.data.rank]]].float()
        if self.valid is not None:
            fields = fields.where(self.valid, torch.nan)
        self.writer.write([[self.rows[i] for i in part] for part in alive], position, fields)

    def _failures(self, fields: Tensor) -> dict[int, tuple[str, str]]:
        """Channel and place of each forecast that is not finite; see `first_failures`."""
        grid, names = self.states.store.grid, self.forecaster.channel_names
        found = first_failures(fields, self.valid, grid, self.own, len(self.rows))
        return {i: (names[channel], place) for i, (channel, place) in found.items()}
