"""States before the initial ones, and forecasts from them up to these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from forecast.inference.ensemble.sample import Sample
from forecast.inference.forcing_source import ForcingSource
from forecast.inference.initial_states import InitialStates
from forecast.inference.models.cascade import Cascade
from forecast.inference.rollout import rollout
from forecast.model.state import State


class EarlierStates:
    """States of a store before the initial states of a forecast.

    Args:
        forecaster: Model.
        states: Initial states of the forecast.
        forcing: Source of the channels that the model is given; None for a model without any.
        device: Device of the states.
    """

    def __init__(
        self,
        forecaster: Cascade,
        states: InitialStates,
        forcing: ForcingSource | None,
        device: torch.device,
    ) -> None:
        self.forecaster = forecaster
        self._states, self._forcing, self._device = states, forcing, device

    def read(self, samples: Sequence[Sample], n_steps: int = 0) -> State:
        """Read states of the store, each start and time once.

        Args:
            samples: Members.
            n_steps: Model steps before the state that each member starts from.

        Returns:
            One state for each sample, with its history.
        """
        wanted = [(sample.start, sample.lag + n_steps) for sample in samples]
        unique = list(dict.fromkeys(wanted))
        state = self._states.read(
            [start for start, _ in unique], [earlier for _, earlier in unique]
        ).to(self._device)
        return take(state, [unique.index(one) for one in wanted])

    def forecast(self, state: State, samples: Sequence[Sample], n_steps: int) -> State:
        """Return states some steps later.

        Args:
            state: States of the samples.
            samples: Members, (b,).
            n_steps: Number of model steps.
        """
        forcing = None
        if self._forcing is not None:
            trajectories = [self._states.starts[sample.start][0] for sample in samples]
            forcing = self._forcing.steps(state.time, trajectories, n_steps, self._device)
        for following in rollout(self.forecaster, state, n_steps, forcing=forcing):
            state = following
        n = self.forecaster.n_history
        return State(state.fields, state.time, state.history[len(state.history) - n :])


def take(state: State, indices: Sequence[int]) -> State:
    """Return some samples of a state, in a given order."""
    index = torch.tensor(list(indices), dtype=torch.long, device=state.fields.device)

    def taken(x: Tensor) -> Tensor:
        return x.index_select(0, index)

    time = state.time[np.asarray(indices, dtype=np.int64)]
    return State(taken(state.fields), time, tuple(taken(x) for x in state.history))


def join(states: Sequence[State]) -> State:
    """Return the samples of several states, without noise, as one state."""
    parts = zip(*(state.history for state in states), strict=True)
    history = tuple(torch.cat(part) for part in parts)
    time = np.concatenate([state.time for state in states])
    return State(torch.cat([state.fields for state in states]), time, history)
