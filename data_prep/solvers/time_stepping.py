"""Time steps of equations ∂x/∂t = L x + N(x, t), whose linear part L is propagated exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Propagator(Protocol):
    """Exact solution of ∂x/∂t = L x + y over a fixed time h."""

    def propagate(self, state: Tensor) -> Tensor:
        """Return e^{hL} x."""

    def accumulate(self, tendency: Tensor) -> Tensor:
        """Return ∫₀ʰ e^{sL} ds y for a constant tendency y."""


class Solver(Protocol):
    """Solver of an equation set, for many states at a time."""

    def advance(self, state: Tensor, time: float, duration: float, n_steps: int) -> Tensor:
        """Return the state after n_steps equal steps over a duration (s) from a time (s)."""

    def steps_for(self, state: Tensor, duration: float) -> Tensor:
        """Return the number of steps in a duration (s) that resolves the flow, int64, (...,)."""


def runge_kutta_step(
    tendency: Callable[[Tensor, float], Tensor],
    half: Propagator,
    state: Tensor,
    time: float,
    dt: float,
) -> Tensor:
    """Return the state after one step of fourth order.

    S(x) = e^{hL/2} x + ∫₀^{h/2} e^{sL} ds N₀ is the flow of L and of the tendency N₀ at the
    start. The four Runge-Kutta stages use the variables that S leaves constant (an integrating
    factor with a constant forcing, cf. Krogstad 2005). Steady states stay exactly steady.

    Args:
        tendency: Function N of a state and a time.
        half: Propagator of L over dt / 2.
        state: State at the start.
        time: Time at the start, s.
        dt: Length h of the step, s.
    """
    start = tendency(state, time)
    drift = half.accumulate(start)
    middle = half.propagate(state) + drift
    k2 = tendency(middle, time + dt / 2) - start
    k3 = tendency(torch.add(middle, k2, alpha=dt / 2), time + dt / 2) - start
    ends = torch.stack((torch.add(middle, k3, alpha=dt), middle.add_(k2 + k3, alpha=dt / 3)))
    last, end = half.propagate(ends) + drift
    k4 = tendency(last, time + dt) - start
    return torch.add(end, k4, alpha=dt / 6)


def round_steps(needed: Tensor) -> Tensor:
    """Round numbers of steps up to a power of 2, or 1.5 times one, int64.

    The number depends on each state alone, and many states of a batch have the same.

    Args:
        needed: Smallest numbers of steps; below 1 they count as 1.
    """
    needed = needed.clamp(min=1)
    octave = 2.0 ** torch.log2(needed).floor()
    return (octave * torch.where(needed <= octave, 1.0, torch.where(needed <= 1.5 * octave,
            1.5, 2.0))).ceil().long()  # fmt: skip


def advance(
    solver: Solver, state: Tensor, time: float, duration: float, dt: float | None
) -> Tensor:
    """Return states after a duration (s), with steps of at most dt (s) or automatic steps."""
    if dt is not None:
        return solver.advance(state, time, duration, math.ceil(duration / dt * (1 - 1e-12)))
    steps = solver.steps_for(state, duration)
    out = torch.empty_like(state)
    for n in steps.unique().tolist():
        same = steps == n
        out[same] = solver.advance(state[same], time, duration, n)
    return out
