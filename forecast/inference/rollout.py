"""The autoregressive forecast: one generator for training, validation and inference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from configs.timestep import TimeStep


class Model(Protocol):
    """What a rollout asks of a forecaster."""

    time_step: TimeStep

    def step(self, state: Tensor, time: np.ndarray, *earlier: Tensor) -> Tensor:
        """The state one time step later."""


def rollout(
    forecaster: Model,
    state: Tensor,
    time: np.ndarray,
    n_steps: int,
    earlier: Sequence[Tensor] = (),
    *,
    grad: bool = False,
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Step a state forward, feeding every prediction back.

    Nothing is kept between the steps, so memory does not grow with `n_steps` unless the caller
    (or autograd) holds on to what is yielded.

    Args:
        forecaster: the model of one time step.
        state: prognostic fields (b, c, nlat, nlon), physical units.
        time: valid times of `state`, datetime64 (b,).
        n_steps: number of steps; 0 yields nothing.
        earlier: the states before `state` that the model sees, the latest first.
        grad: record the steps for autograd, as training through a rollout needs.

    Yields:
        The valid times (b,) and the state (b, c, nlat, nlon) after steps 1 to `n_steps`.
    """
    start = time
    for step in range(1, n_steps + 1):
        # Set per step: a generator that holds a grad mode across a yield leaks it to its caller.
        with torch.set_grad_enabled(grad):
            following = forecaster.step(state, time, *earlier)
        earlier, state = shifted(state, earlier), following
        # From the start, since the 31st of a month would otherwise become the 28th for good.
        time = forecaster.time_step.advance(start, step)
        yield time, state


def shifted(state: Tensor, earlier: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The states before the next one, as many as were before `state`, the latest first."""
    return (state, *earlier)[: len(earlier)]
