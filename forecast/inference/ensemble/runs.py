"""Forecasts of the members of a batch, each by its model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from forecast.inference.ensemble.earlier import EarlierStates, join, take
from forecast.inference.ensemble.members import Ensemble
from forecast.inference.ensemble.sample import Sample
from forecast.inference.ensemble.seeded import with_noise
from forecast.inference.forcing_source import ForcingSource
from forecast.inference.initial_states import InitialStates
from forecast.inference.models.cascade import Cascade
from forecast.inference.rollout import rollout
from forecast.model.noise import NoiseState
from forecast.model.state import State, Times

Key = TypeVar("Key")


@dataclass(frozen=True)
class MemberStates:
    """States of the members of a batch at one time, those of each model as one.

    Attributes:
        parts: State of the members of each model.
        order: Place of each member in the states one after the other, (b,).
    """

    parts: Mapping[int, State]
    order: Tensor

    @property
    def fields(self) -> Tensor:
        """Fields of the members in their order, (b, c, nlat, nlon)."""
        parts = [state.fields for state in self.parts.values()]
        return parts[0] if len(parts) == 1 else torch.cat(parts)[self.order.to(parts[0].device)]

    def tensors(self) -> dict[str, Tensor]:
        """Return all but the times by name; see `MemberRuns.restore`."""
        return {
            f"{model}.{name}": tensor
            for model, state in self.parts.items()
            for name, tensor in _tensors(state).items()
        }


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
        models: Sequence[Cascade],
        states: InitialStates,
        forcing: ForcingSource | None,
        ensemble: Ensemble,
        device: torch.device,
    ) -> None:
        self.models, self.states, self.ensemble = models, states, ensemble
        self.time_step, self.channel_names = models[0].time_step, models[0].channel_names
        self.channels = models[0].first.channels
        self._forcing, self._device = forcing, device
        self._earlier = [EarlierStates(model, states, forcing, device) for model in models]

    def samples(self, pairs: Sequence[tuple[int, int]]) -> list[Sample]:
        """Return the members of pairs of a start and a number."""
        time, step = self.states.time, self.time_step
        return [
            self.ensemble.sample(start, member, time[start], step, *self._trajectory(start))
            for start, member in pairs
        ]

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
                part = with_noise(self.models[model].first, part, [s.seed for s in own])
                part = earlier.forecast(part, own, lag)
            parts.append(part)
            order += places
        time = self._time(samples)
        joined = take(join(parts), [order.index(i) for i in range(len(order))])
        return State(joined.fields, time, joined.history)

    def start(self, state: State, samples: Sequence[Sample]) -> MemberStates:
        """Return the states of members before the first step, with the noise of their models.

        Args:
            state: Result of `begin`.
            samples: Members, (b,).
        """
        parts: dict[int, State] = {}
        for model, places in self._by_model(samples).items():
            own = [samples[i] for i in places]
            seeds = [
                self.ensemble.numbers(s.member, time, self.time_step, *self._trajectory(s.start))
                for s, time in zip(own, self._time(own), strict=True)
            ]
            part = take(state, places)
            parts[model] = with_noise(self.models[model].first, part, seeds) if own else part
        return self._joined(parts, samples)

    def restore(
        self, tensors: Mapping[str, Tensor], samples: Sequence[Sample], done: int
    ) -> MemberStates:
        """Return states from their `tensors`.

        Args:
            tensors: Tensors by name.
            samples: Members, (b,).
            done: Number of steps after the initial time.
        """
        parts: dict[int, State] = {}
        for model, places in self._by_model(samples).items():
            prefix = f"{model}."
            own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            time = self.time_step.advance(self._time([samples[i] for i in places]), done)
            parts[model] = _from_tensors(own, time, self._device)
        return self._joined(parts, samples)

    def steps(
        self, states: MemberStates, samples: Sequence[Sample], n_steps: int, done: int = 0
    ) -> Iterator[MemberStates]:
        """Yield the states after each step.

        Args:
            states: Result of `start` or `restore`.
            samples: Members, (b,).
            n_steps: Number of model steps from the initial time on.
            done: Number of steps that are done.
        """
        groups = self._by_model(samples)
        runs = [
            self._rollout(model, states.parts[model], [samples[i] for i in places], n_steps, done)
            for model, places in groups.items()
        ]
        for parts in zip(*runs, strict=True):
            yield replace(states, parts=dict(zip(groups, parts, strict=True)))

    def _rollout(
        self, model: int, state: State, samples: Sequence[Sample], n_steps: int, done: int
    ) -> Iterator[State]:
        time, forcing = self._time(samples), None
        if self._forcing is not None:
            trajectories = [self.states.starts[s.start][0] for s in samples]
            forcing = self._forcing.steps(time, trajectories, n_steps, self._device, done)
        model_of_members = self.models[model]
        return rollout(model_of_members, state, n_steps, forcing=forcing, start=time, done=done)

    def _time(self, samples: Sequence[Sample]) -> Times:
        """Return the initial times of members."""
        return self.states.time[[s.start for s in samples]]

    def _by_model(self, samples: Sequence[Sample]) -> dict[int, list[int]]:
        """Return the places of the members of each model; of the first one without any."""
        return _groups([self._model(sample) for sample in samples]) or {0: []}

    def _joined(self, parts: Mapping[int, State], samples: Sequence[Sample]) -> MemberStates:
        order = [i for places in self._by_model(samples).values() for i in places]
        return MemberStates(parts, torch.tensor(order, dtype=torch.long).argsort())

    def _model(self, sample: Sample) -> int:
        return sample.member % len(self.models)

    def _trajectory(self, start: int) -> tuple[int, ...]:
        """Return the trajectory of a start, in a store of trajectories."""
        return self.states.starts[start][:1] if self.states.store.has_trajectories else ()


def _groups(keys: Sequence[Key]) -> dict[Key, list[int]]:
    """Return the places of each key."""
    found: dict[Key, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return found


_SERIES, _AHEAD, _NOISE = "series.", "ahead.", "noise."


def _tensors(state: State) -> dict[str, Tensor]:
    """Return all of a state but its times, by name."""
    found = {f"{_SERIES}{i}": fields for i, fields in enumerate(state.series)}
    found |= {f"{_AHEAD}{i}": fields for i, fields in enumerate(state.ahead)}
    if state.noise is not None:
        found |= {f"{_NOISE}{name}": tensor for name, tensor in state.noise.tensors().items()}
    return found


def _from_tensors(tensors: Mapping[str, Tensor], time: Times, device: torch.device) -> State:
    """Return the state whose `_tensors` these are."""
    *history, fields = _numbered(_SERIES, tensors, device)
    noise = {n.removeprefix(_NOISE): t for n, t in tensors.items() if n.startswith(_NOISE)}
    of_noise = NoiseState.from_tensors(noise) if noise else None
    return State(fields, time, tuple(history), of_noise, _numbered(_AHEAD, tensors, device))


def _numbered(prefix: str, of: Mapping[str, Tensor], device: torch.device) -> tuple[Tensor, ...]:
    """Return the tensors of a prefix in the order of the numbers after it."""
    numbers = sorted(int(n.removeprefix(prefix)) for n in of if n.startswith(prefix))
    return tuple(of[f"{prefix}{n}"].to(device) for n in numbers)
