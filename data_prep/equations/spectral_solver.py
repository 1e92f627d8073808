"""Solver of an equation set whose state is spherical-harmonic coefficients."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from data_prep.equations.diagonal import DiagonalPropagator
from data_prep.solvers.time_stepping import runge_kutta_step
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT


class SpectralSolver(ABC):
    """Base class: transforms, and steps that propagate a diagonal linear part exactly.

    Args:
        grid: Grid on which products are formed.
        lmax: Triangular truncation, exclusive.
        rate: Linear part L, s⁻¹, real or complex, a shape that states broadcast with.
        dtype: Real type, float64 or float32.
    """

    def __init__(
        self, grid: Grid, lmax: int, rate: Tensor, dtype: torch.dtype = torch.float64
    ) -> None:
        self.grid, self.lmax, self.dtype = grid, lmax, dtype
        self.complex_dtype = dtype.to_complex()
        self._rate = rate
        self.analysis, self.synthesis = RealSHT(grid, lmax, lmax), InverseRealSHT(grid, lmax, lmax)
        self._propagators: dict[float, DiagonalPropagator] = {}

    @abstractmethod
    def tendency(self, state: Tensor, time: float) -> Tensor:
        """Return the tendency without L at a time in s, in the shape of the state."""

    @abstractmethod
    def steps_for(self, state: Tensor, duration: float) -> Tensor:
        """Return the number of steps in a duration (s) that each state needs, int64."""

    def step(self, state: Tensor, time: float, dt: float) -> Tensor:
        """Return the state after one step of dt (s) from a time (s)."""
        return runge_kutta_step(self.tendency, self._half(dt), state, time, dt)

    def advance(self, state: Tensor, time: float, duration: float, n_steps: int) -> Tensor:
        """Return the state after n_steps equal steps over a duration (s) from a time (s)."""
        dt = duration / n_steps
        for i in range(n_steps):
            state = self.step(state, time + i * dt, dt)
        return state

    def coefficients(self, fields: Tensor) -> Tensor:
        """Return coefficients (..., lmax, lmax) of fields on the grid of the solver."""
        return self.analysis(fields.to(self.dtype))

    def _half(self, dt: float) -> DiagonalPropagator:
        """Return the propagator of half a step, which is made once for each length."""
        if dt not in self._propagators:
            dtype = self.complex_dtype if self._rate.is_complex() else self.dtype
            self._propagators[dt] = DiagonalPropagator.over(self._rate, dt / 2, dtype)
        return self._propagators[dt]
