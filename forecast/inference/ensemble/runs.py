"""Forecasts of the members of a batch, each by its model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from forecast.inference.ensemble.earlier import EarlierStates, join, take
from forecast.inference.ensemble.members import Ensemble
from forecast.inference.ensemble.sample import Sample
from forecast.inference.ensemble.seeded import with_noise
from forecast.inference.forcing_source import ForcingSource
from forecast.inference.initial_states import InitialStates
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import State

Key = TypeVar("Key")


class MemberRuns:
    """Initial states and forecasts of members.

    Args:
        models: Models of the members; member k has model k modulo their number.
        states: Initial states.
        forcing: Source of the channels that the models are given; None for models without any.
        ensemble: Members and perturbations.
        device: Device of the states.
    """

    def __init__(
        self,
        models: Sequence[Forecaster | ResamplingForecaster],
        states: InitialStates,
        forcing: ForcingSource | None,
        ensemble: Ensemble,
        device: torch.device,
    ) -> None:
        self.models, self.states, self.ensemble = models, states, ensemble
        self.time_step, self.channel_names = models[0].time_step, models[0].channel_names
        self._forcing, self._device = forcing, device
        self._earlier = [EarlierStates(model, states, forcing, device) for model in models]

    def samples(self, pairs: Sequence[tuple[int, int]]) -> list[Sample]:
        """Return the members of pairs of a start and a number."""
        return [self._sample(start, member) for start, member in pairs]

    def read(self, samples: Sequence[Sample]) -> State:
        """Read the states that members start from, as they are in the store."""
        return self._earlier[0].read(samples)

    def begin(self, state: State, samples: Sequence[Sample]) -> State:
        """Return the states of members at the initial time.

        Args:
            state: Result of `read`.
            samples: Members, (b,).
        """
        if not samples:
            return state
        parts: list[State] = []
        order: list[int] = []
        for (model, lag), places in _groups([(self._model(s), s.lag) for s in samples]).items():
            own, earlier = [samples[i] for i in places], self._earlier[model]
            part = self.ensemble.perturb(take(state, places), own, earlier)
            if lag:
                part = with_noise(self.models[model], part, [s.seed for s in own])
                part = earlier.forecast(part, own, lag)
            parts.append(part)
            order += places
        time = self.states.time[[s.start for s in samples]]
        joined = take(join(parts), [order.index(i) for i in range(len(order))])
        return State(joined.fields, time, joined.history)

    def steps(self, state: State, samples: Sequence[Sample], n_steps: int) -> Iterator[Tensor]:
        """Yield the fields after each step, (b, c, nlat, nlon).

        Args:
            state: Result of `begin`.
            samples: Members, (b,).
            n_steps: Number of model steps.
        """
        groups = _groups([self._model(sample) for sample in samples])
        runs = [
            self._rollout(model, take(state, places), [samples[i] for i in places], n_steps)
            for model, places in groups.items()
        ]
        order = [i for places in groups.values() for i in places]
        back = torch.tensor(order, device=state.fields.device).argsort()
        for parts in zip(*runs, strict=True):
            yield parts[0] if len(parts) == 1 else torch.cat(parts)[back]

    def _rollout(
        self, model: int, state: State, samples: Sequence[Sample], n_steps: int
    ) -> Iterator[Tensor]:
        forecaster = self.models[model]
        seeds = [self._sample(s.start, s.member, lag=0).seed for s in samples]
        state = with_noise(forecaster, state, seeds)
        forcing = None
        if self._forcing is not None:
            trajectories = [self.states.starts[s.start][0] for s in samples]
            forcing = self._forcing.steps(state.time, trajectories, n_steps, self._device)
        for following in rollout(forecaster, state, n_steps, forcing=forcing):
            yield following.fields

    def _model(self, sample: Sample) -> int:
        return sample.member % len(self.models)

    def _sample(self, start: int, member: int, lag: int | None = None) -> Sample:
        step, store = self.time_step, self.states.store
        lag = self.ensemble.lag(member) if lag is None else lag
        time = step.advance(self.states.time[start : start + 1], -lag)[0]
        trajectory = self.states.starts[start][0] if store.has_trajectories else 0
        return self.ensemble.sample(start, member, time, step.calendar, trajectory)


def _groups(keys: Sequence[Key]) -> dict[Key, list[int]]:
    """Return the places of each key."""
    found: dict[Key, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return found
