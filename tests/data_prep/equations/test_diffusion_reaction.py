"""FitzHugh-Nagumo equations, against exact solutions of their parts."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from configs.solvers import DiffusionReactionParameters
from data_prep.equations.diffusion_reaction import TIME_UNIT, DiffusionReaction

LMAX = 16
DIFFUSIVITY = (2e-3, 1e-2)


def solver(**parameters: float) -> DiffusionReaction:
    return DiffusionReaction(LMAX, DiffusionReactionParameters(**parameters))


def relative(x: torch.Tensor, truth: torch.Tensor) -> float:
    return float((x - truth).abs().square().sum().sqrt() / truth.abs().square().sum().sqrt())


class OnlyDiffusion(DiffusionReaction):
    """Equations without the reaction."""

    def tendency(self, state: torch.Tensor, time: float) -> torch.Tensor:
        """Return zero."""
        return torch.zeros_like(state)


def test_pure_diffusion_damps_each_degree_at_its_rate() -> None:
    diffusion = OnlyDiffusion(LMAX, DiffusionReactionParameters())
    state = diffusion.initial_states([1, 2])
    end = diffusion.advance(state, 0.0, 3 * TIME_UNIT, 5)
    degree = torch.arange(LMAX, dtype=torch.float64)[:, None]
    for i, d in enumerate(DIFFUSIVITY):
        exact = state[:, i] * torch.exp(-degree * (degree + 1) * d * 3)
        assert relative(end[:, i], exact) < 1e-13


@pytest.mark.parametrize("start", [(0.8, -0.3), (-1.5, 0.4)])
def test_a_constant_state_follows_the_ordinary_differential_equation(
    start: tuple[float, float],
) -> None:
    reaction = solver(constant=0.1)

    def rate(t: float, y: np.ndarray) -> list[float]:
        u, v = y
        return [u - u**3 - 0.1 - v, u - v]

    exact = solve_ivp(rate, (0, 4), start, rtol=1e-12, atol=1e-12, method="DOP853").y[:, -1]
    state = torch.zeros(1, 2, LMAX, LMAX, dtype=torch.complex128)
    state[0, :, 0, 0] = torch.tensor(start, dtype=torch.float64) * math.sqrt(4 * math.pi)
    end = reaction.synthesis(reaction.advance(state, 0.0, 4 * TIME_UNIT, 400))[0]
    for field, value in zip(end, exact, strict=True):
        assert field.numpy() == pytest.approx(np.full(field.shape, value), rel=1e-8)


def test_the_reaction_is_that_of_the_fields_at_every_point() -> None:
    """Take fields of low degree, whose cube the truncation holds."""
    reaction = solver(constant=0.3)
    state = reaction.initial_states([3])
    state[..., 6:, :] = 0
    u, v = reaction.synthesis(state)[0]
    found = reaction.synthesis(reaction.tendency(state, 0.0))[0] * TIME_UNIT
    assert relative(found[0], u - u**3 - 0.3 - v) < 1e-12
    assert relative(found[1], u - v) < 1e-12


def test_cubes_are_projected_without_aliasing() -> None:
    reaction, finer = solver(), DiffusionReaction(4 * LMAX, DiffusionReactionParameters())
    state = reaction.initial_states([4])
    there = torch.zeros(1, 2, 4 * LMAX, 4 * LMAX, dtype=torch.complex128)
    there[..., :LMAX, :LMAX] = state
    exact = finer.tendency(there, 0.0)[..., :LMAX, :LMAX]
    assert relative(reaction.tendency(state, 0.0), exact) < 1e-13


def test_the_integrator_is_of_fourth_order() -> None:
    reaction = solver()
    state = reaction.initial_states([5])
    reference = reaction.advance(state, 0.0, TIME_UNIT, 1024)

    def error(n_steps: int) -> float:
        return relative(reaction.advance(state, 0.0, TIME_UNIT, n_steps), reference)

    assert 13 < error(64) / error(128) < 19


class Manufactured(DiffusionReaction):
    """Equations with a source that makes a given wave, u = v = cos(ωt) Y, a solution."""

    def __init__(self, pattern: torch.Tensor, frequency: float) -> None:
        super().__init__(LMAX, DiffusionReactionParameters())
        self.pattern, self.frequency = pattern, frequency

    def exact(self, time: float) -> torch.Tensor:
        """Return the coefficients of both fields at a time in s, (2, lmax, lmax)."""
        wave = self.pattern * math.cos(self.frequency * time / TIME_UNIT)
        return torch.stack((wave, wave))

    def tendency(self, state: torch.Tensor, time: float) -> torch.Tensor:
        """Return the reaction and the source, from the equations at the points of the grid."""
        phase = self.frequency * time / TIME_UNIT
        speed = -self.frequency * math.sin(phase) * self.pattern
        wave = self.pattern * math.cos(phase)
        degree = torch.arange(LMAX, dtype=torch.float64)[:, None]
        diffused = -degree * (degree + 1) * wave
        field = self.synthesis(wave)
        source = torch.stack(
            (
                speed - DIFFUSIVITY[0] * diffused + self.analysis(field**3 + 5e-3),
                speed - DIFFUSIVITY[1] * diffused,
            )
        )
        return super().tendency(state, time) + source / TIME_UNIT


def test_a_manufactured_wave_is_the_solution_to_the_order_of_the_time_step() -> None:
    pattern = solver().initial_states([6])[0, 0]
    pattern[6:] = 0
    made = Manufactured(pattern, frequency=2.0)

    def error(n_steps: int) -> float:
        end = made.advance(made.exact(0.0)[None], 0.0, 2 * TIME_UNIT, n_steps)
        return relative(end[0], made.exact(2 * TIME_UNIT))

    coarse, fine = error(128), error(256)
    assert fine < 1e-6
    assert 12 < coarse / fine < 20


def test_automatic_steps_are_short_enough_for_the_reaction() -> None:
    reaction = solver()
    state = reaction.initial_states([7])
    n_steps = int(reaction.steps_for(state, TIME_UNIT / 4).max())
    exact = reaction.advance(state, 0.0, TIME_UNIT / 4, 8 * n_steps)
    assert relative(reaction.advance(state, 0.0, TIME_UNIT / 4, n_steps), exact) < 1e-6
