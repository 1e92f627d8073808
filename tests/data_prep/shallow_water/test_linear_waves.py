"""Linear dynamics, against theory and against the equations."""

import math

import numpy as np
import pytest
import torch

from data_prep.shallow_water.equations import ShallowWater
from data_prep.shallow_water.linear_waves import Damping, LinearWaves
from data_prep.shallow_water.planet import Physics, Planet

EARTH = Planet()
LMAX = 22
DEPTH = 9.80616 * 1e4


def waves(rotation: float = EARTH.rotation, depth: float = DEPTH, rate: float = 0.0) -> LinearWaves:
    still = torch.full((LMAX, LMAX), rate, dtype=torch.float64)
    return LinearWaves(
        LMAX,
        radius=EARTH.radius,
        rotation=rotation,
        mean_geopotential=depth,
        damping=Damping(still, still, still),
    )


def random_state(scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    """Return coefficients with the amplitudes of weak waves, (2, 3, lmax, lmax)."""
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn(2, 3, LMAX, LMAX, dtype=torch.complex128, generator=generator).tril()
    state[..., 0] = state[..., 0].real + 0j
    state[..., 0, :] = 0
    return state * scale * torch.tensor([1e-6, 1e-6, 100.0])[:, None, None]


def kasahara(m: int, depth: float, lmax: int) -> np.ndarray:
    """Return frequencies of free waves over 2Ω, by Kasahara's (1976) equations.

    The equations are those for stream function, velocity potential and height, coded independently.
    """
    degrees = np.arange(m, lmax)
    n = len(degrees)
    gamma = depth / (2 * EARTH.rotation * EARTH.radius) ** 2

    def d(l: int) -> float:  # noqa: E741
        return math.sqrt((l * l - m * m) / (4 * l * l - 1))

    # unknowns: iC (divergent), B (rotational), Z (height); σ x = M x
    matrix = np.zeros((3 * n, 3 * n))
    for i, l in enumerate(degrees):  # noqa: E741
        c, b, z = i, n + i, 2 * n + i
        if l > 0:
            matrix[c, c] = matrix[b, b] = -m / (l * (l + 1))
            matrix[c, z] = 1
        matrix[z, c] = gamma * l * (l + 1)
        if l + 1 < lmax and l > 0:
            matrix[c, b + 1] = (l + 2) / (l + 1) * d(l + 1)
            matrix[b, c + 1] = (l + 2) / (l + 1) * d(l + 1)
        if i > 0 and l > 1:
            matrix[c, b - 1] = (l - 1) / l * d(l)
            matrix[b, c - 1] = (l - 1) / l * d(l)
    return np.sort(np.linalg.eigvals(matrix).real)


def test_gravity_waves_without_rotation_have_their_frequency() -> None:
    frequency = waves(rotation=0.0).frequencies(3)
    degree = torch.arange(3, LMAX, dtype=torch.float64)
    theory = (DEPTH * degree * (degree + 1)).sqrt() / EARTH.radius
    fast = frequency[frequency > 1e-9]
    assert torch.allclose(fast, theory, rtol=1e-10)


def test_rossby_waves_of_a_deep_layer_have_haurwitz_frequency() -> None:
    frequency = waves(depth=1e12).frequencies(4)
    slow = frequency[frequency.abs() < 1e-4].flip(0)
    degree = torch.arange(4, LMAX, dtype=torch.float64)
    theory = 2 * EARTH.rotation * 4 / (degree * (degree + 1))
    # The layer's depth enters as 4Ω²a²/Φ̄, here 1e-6.
    assert torch.allclose(slow, theory, rtol=1e-5)


@pytest.mark.parametrize("order", [0, 1, 2, 7])
def test_all_free_waves_have_the_frequencies_of_kasahara(order: int) -> None:
    ours = waves().frequencies(order).numpy() / (2 * EARTH.rotation)
    theory = np.sort(-kasahara(order, DEPTH, LMAX))
    assert ours == pytest.approx(theory, rel=1e-9, abs=1e-9)


def test_two_half_steps_are_a_whole_one() -> None:
    system = waves(rate=1e-6)
    half, whole = (
        system.propagator(h, torch.complex128, torch.device("cpu")) for h in (1800.0, 3600.0)
    )
    state, tendency = random_state(), random_state(1e-4, seed=1)
    twice = half.propagate(half.propagate(state))
    assert torch.allclose(twice, whole.propagate(state), rtol=1e-11, atol=1e-20)
    pushed = half.propagate(half.accumulate(tendency)) + half.accumulate(tendency)
    assert torch.allclose(pushed, whole.accumulate(tendency), rtol=1e-10, atol=1e-17)


def test_undamped_waves_keep_their_energy() -> None:
    """Check that a²/(l(l+1)) (|ζ|² + |δ|²) + |φ|²/Φ̄ is constant."""
    propagator = waves().propagator(5e4, torch.complex128, torch.device("cpu"))
    state = random_state()
    degree = torch.arange(LMAX, dtype=torch.float64)[:, None]
    scale = EARTH.radius**2 / (degree * (degree + 1)).clamp(min=1)

    def energy(x: torch.Tensor) -> torch.Tensor:
        flow = (scale * x[:, :2].abs() ** 2).sum(dim=(1, 2, 3))
        return flow + (x[:, 2].abs() ** 2).sum(dim=(1, 2)) / DEPTH

    assert torch.allclose(energy(propagator.propagate(state)), energy(state), rtol=1e-10)


def test_damping_decays_everything_at_its_rate() -> None:
    damped, free = (
        waves(rate=r).propagator(7200.0, torch.complex128, torch.device("cpu")) for r in (1e-5, 0.0)
    )
    state = random_state()
    expected = math.exp(-1e-5 * 7200) * free.propagate(state)
    assert torch.allclose(damped.propagate(state), expected, rtol=1e-10, atol=1e-20)


def test_exact_rotation_agrees_with_a_coriolis_force_on_the_grid() -> None:
    """Compare with an axis tilted by a whole turn, for which the Coriolis force is explicit."""
    exact = ShallowWater(LMAX, Physics(EARTH, DEPTH))
    turned = Planet(axis_tilt=2 * math.pi)
    explicit = ShallowWater(LMAX, Physics(turned, DEPTH))
    state = random_state()
    reference = exact.advance(state, 0.0, 3600.0, 24)

    def error(n_steps: int) -> float:
        difference = (explicit.advance(state, 0.0, 3600.0, n_steps) - reference).abs()
        return float((difference.amax(dim=(0, 2, 3)) / reference.abs().amax(dim=(0, 2, 3))).max())

    coarse, fine = error(12), error(24)
    # What is left is the error of the explicit force, of fourth order in the step.
    assert fine < 1e-5
    assert coarse / fine == pytest.approx(16, rel=0.15)
