"""The autoregressive forecast: one generator for training, validation and inference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch

from forecast.model.state import State

if TYPE_CHECKING:
    from configs.timestep import TimeStep


class Model(Protocol):
    """Interface of a forecaster that a rollout steps."""

    time_step: TimeStep

    def step(self, state: State) -> State:
        """Return the state one time step later."""


def rollout(
    forecaster: Model, state: State, n_steps: int, *, grad: bool = False
) -> Iterator[State]:
    """Step a state forward, feeding every prediction back.

    Nothing is kept between the steps, so memory does not grow with `n_steps` unless the caller
    (or autograd) holds on to what is yielded.

    Args:
        forecaster: model of one time step.
        state: initial state, with the history that the model sees.
        n_steps: number of steps; 0 yields nothing.
        grad: record the steps for autograd, as training through a rollout needs.

    Yields:
        The state after steps 1 to `n_steps`.
    """
    start = state.time
    for step in range(1, n_steps + 1):
        # Set per step: a generator that holds a grad mode across a yield leaks it to its caller.
        with torch.set_grad_enabled(grad):
            state = forecaster.step(state)
        # From the start, since the 31st of a month would otherwise become the 28th for good.
        state = replace(state, time=forecaster.time_step.advance(start, step))
        yield state
