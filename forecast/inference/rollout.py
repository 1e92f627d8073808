"""The autoregressive forecast: one generator for training, validation and inference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from forecast.inference.models.cascade import Cascade
from forecast.model.state import State, Times

if TYPE_CHECKING:
    from configs.time.step import TimeStep


class Model(Protocol):
    """Interface of a forecaster that a rollout steps."""

    time_step: TimeStep

    def step(self, state: State, forcing: Tensor | None = None) -> State:
        """Return the state one time step later, with the forcing of that time if it takes one."""


def rollout(
    forecaster: Model | Cascade,
    state: State,
    n_steps: int,
    *,
    forcing: Iterable[Tensor] | None = None,
    grad: bool = False,
    start: Times | None = None,
    done: int = 0,
) -> Iterator[State]:
    """Step a state forward, feeding every prediction back.

    Nothing is kept between the steps, so memory does not grow with `n_steps` unless the caller
    (or autograd) holds on to what is yielded.

    Args:
        forecaster: model of one time step, or several models for one lead time after the other.
        state: initial state, with the history that the model sees.
        n_steps: number of steps from the initial state on; 0 yields nothing.
        forcing: fields of the forcing channels at the time of each step, (b, f, nlat, nlon),
            physical units; for a model that takes them. They are taken one by one.
        grad: record the steps for autograd, as training through a rollout needs.
        start: valid times of the initial state, (b,), if the state is a later one.
        done: number of steps from the initial state to the state.

    Yields:
        The state after steps `done` + 1 to `n_steps`.
    """
    start = state.time if start is None else start
    given = iter(() if forcing is None else forcing)
    for step in range(done + 1, n_steps + 1):
        fields = next(given, None)
        forcing_now = () if fields is None else (fields,)
        # Set per step: a generator that holds a grad mode across a yield leaks it to its caller.
        with torch.set_grad_enabled(grad):
            if isinstance(forecaster, Cascade):
                state = forecaster.step(state, step, *forcing_now)
            else:
                state = forecaster.step(state, *forcing_now)
        # From the start, since the 31st of a month would otherwise become the 28th for good.
        state = replace(state, time=forecaster.time_step.advance(start, step))
        yield state
