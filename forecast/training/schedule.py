"""Schedule of the rollout steps of the loss over a training run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Phase:
    """Optimiser steps `first` to `last` (exclusive), trained through `n_steps` of a rollout."""

    first: int
    last: int
    n_steps: int


def phases(steps: int, rollout_steps: int, rollout_from: float, bundle: int = 1) -> list[Phase]:
    """Plan one step up to `rollout_from`, then evenly growing numbers up to `rollout_steps`.

    Args:
        steps: optimiser steps of the run.
        rollout_steps: steps of the loss at the end, in applications of the network.
        rollout_from: fraction of the run after which they grow; at 0 there is no phase of one
            step unless it is the only one.
        bundle: time steps of an application of the network.
    """
    if rollout_steps == 1:
        return [Phase(0, steps, bundle)]
    start = round(rollout_from * steps)
    edges = np.linspace(start, steps, rollout_steps).round().astype(int).tolist()
    planned = [Phase(0, start, bundle)]
    planned += [
        Phase(first, last, (n + 2) * bundle)
        for n, (first, last) in enumerate(zip(edges, edges[1:], strict=False))
    ]
    return [phase for phase in planned if phase.last > phase.first]


def push_forward_steps(most: int, seed: int, batch: int) -> int:
    """Steps before the loss for a batch, 0 to `most`: a function of seed and batch alone."""
    return int(np.random.default_rng([seed, batch, 1]).integers(0, most + 1)) if most else 0
