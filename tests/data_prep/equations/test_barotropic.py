"""Barotropic vorticity equation, against exact solutions, conservation laws and the Jacobian."""

import math

import pytest
import torch

from configs.solvers import BarotropicParameters
from data_prep.equations.barotropic import Barotropic
from sphere_ops.grid import EARTH_ROTATION, Grid
from sphere_ops.harmonics.transforms import (
    InverseRealSHT,
    InverseRealVectorSHT,
    gradient,
    inverse_laplacian,
)
from sphere_ops.parallel.fields import area_mean

DAY = 86400.0
LMAX = 22
FREE = {"forcing": 0.0, "drag_days": 0.0, "hyperdiffusion_hours": 0.0}


def solver(**parameters: float) -> Barotropic:
    return Barotropic(LMAX, BarotropicParameters(**parameters))


def free_flow() -> tuple[Barotropic, torch.Tensor]:
    free = solver(**FREE, rotation=EARTH_ROTATION, initial_wind=40.0)
    return free, free.initial_states([1, 2])


def relative(x: torch.Tensor, truth: torch.Tensor) -> float:
    return float((x - truth).abs().square().sum().sqrt() / truth.abs().square().sum().sqrt())


def test_the_tendency_is_minus_the_jacobian_of_streamfunction_and_vorticity() -> None:
    """Compare the flux form with the advective form on a finer grid: V·∇ζ = k·(∇ψ × ∇ζ)."""
    free, state = free_flow()
    radius = free.parameters.radius
    grid = Grid.legendre_gauss(48, 96)
    inverse = InverseRealVectorSHT(grid, LMAX, LMAX)
    psi_east, psi_north = gradient(inverse, inverse_laplacian(state, radius), radius).unbind(-3)
    east, north = gradient(inverse, state, radius).unbind(-3)
    advection = psi_east * north - psi_north * east
    # The product has degrees beyond the truncation, which the tendency lacks.
    there = torch.zeros(2, 2 * LMAX, 2 * LMAX, dtype=torch.complex128)
    there[:, :LMAX, :LMAX] = state
    whole = Barotropic(2 * LMAX, free.parameters).tendency(there, 0.0)
    found = InverseRealSHT(grid, 2 * LMAX, 2 * LMAX)(whole)
    assert relative(found, -advection) < 1e-12
    assert relative(free.tendency(state, 0.0), whole[:, :LMAX, :LMAX]) < 1e-12


def test_advection_changes_neither_energy_nor_enstrophy() -> None:
    free, state = free_flow()
    tendency = free.tendency(state, 0.0)
    streamfunction = inverse_laplacian(state, free.parameters.radius)
    for weight in (streamfunction, state):
        fields, rates = free.synthesis(weight), free.synthesis(tendency)
        change = area_mean(fields * rates, free.grid)
        size = (area_mean(fields**2, free.grid) * area_mean(rates**2, free.grid)).sqrt()
        assert (change.abs() / size).max() < 1e-13


def test_unforced_flow_keeps_energy_and_enstrophy_to_the_order_of_the_time_step() -> None:
    free, state = free_flow()

    def drift(n_steps: int) -> list[float]:
        end = free.advance(state, 0.0, DAY, n_steps)
        return [
            float((of(end) / of(state) - 1).abs().max())
            for of in (lambda x: free.energy_spectrum(x).sum(-1), free.enstrophy)
        ]

    coarse, fine = drift(24), drift(48)
    assert max(coarse) < 1e-4
    assert max(fine) < 1e-5
    for before, after in zip(coarse, fine, strict=True):
        assert before / after > 14  # 16 for the fourth order


def test_the_integrator_is_of_fourth_order() -> None:
    forced = solver(rotation=EARTH_ROTATION, forcing=1e-9, initial_wind=40.0)
    state = forced.initial_states([3])
    reference = forced.advance(state, 0.0, DAY, 384)

    def error(n_steps: int) -> float:
        return relative(forced.advance(state, 0.0, DAY, n_steps), reference)

    assert 14 < error(24) / error(48) < 20


@pytest.mark.parametrize(("degree", "order"), [(5, 4), (7, 1)])
def test_a_rossby_haurwitz_wave_moves_with_its_phase_speed(degree: int, order: int) -> None:
    """Solid rotation ω and one harmonic: the phase moves with (ω (l(l+1) − 2) − 2Ω) / (l(l+1))."""
    free, rate = solver(**FREE, rotation=EARTH_ROTATION), 7.848e-6
    state = torch.zeros(1, LMAX, LMAX, dtype=torch.complex128)
    state[:, 1, 0] = 2 * rate * math.sqrt(4 * math.pi / 3)  # ζ = 2ω sin φ
    state[:, degree, order] = 3e-5
    end = free.advance(state, 0.0, 2 * DAY, 2 * 192)  # its error of time is 3e-10
    eigenvalue = degree * (degree + 1)
    speed = (rate * (eigenvalue - 2) - 2 * EARTH_ROTATION) / eigenvalue
    phase = torch.exp(torch.tensor(-1j * order * speed * 2 * DAY, dtype=torch.complex128))
    exact = state.clone()
    exact[:, degree, order] *= phase
    assert relative(end, exact) < 1e-9


def test_drag_and_diffusion_damp_a_harmonic_at_their_rates() -> None:
    damped = solver(forcing=0.0, drag_days=3.0, hyperdiffusion_hours=5.0)
    for degree in (2, LMAX - 1):
        state = torch.zeros(1, LMAX, LMAX, dtype=torch.complex128)
        state[:, degree, 2] = 1e-5
        end = damped.advance(state, 0.0, DAY, 24)
        ratio = degree * (degree + 1) / ((LMAX - 1) * LMAX)
        rate = 1 / (3 * DAY) + ratio**4 / (5 * 3600)
        assert relative(end, state * math.exp(-rate * DAY)) < 1e-12


def test_a_steady_state_of_a_manufactured_forcing_is_kept_and_attracts() -> None:
    """Force with F = V·∇ζ* + rζ* + ν∇⁸ζ*, its first part from gradients and not from the solver."""
    strong = BarotropicParameters(forcing=0.0, drag_days=0.1, initial_wind=20.0)
    damped = Barotropic(LMAX, strong)
    wanted = damped.initial_states([5])
    inverse = InverseRealVectorSHT(damped.grid, LMAX, LMAX)
    streamfunction = inverse_laplacian(wanted, strong.radius)
    psi_east, psi_north = gradient(inverse, streamfunction, strong.radius).unbind(-3)
    east, north = gradient(inverse, wanted, strong.radius).unbind(-3)
    advection = damped.coefficients(psi_east * north - psi_north * east)
    degree = torch.arange(LMAX, dtype=torch.float64)
    ratio = degree * (degree + 1) / ((LMAX - 1) * LMAX)
    damping = 1 / (0.1 * DAY) + ratio**4 * (degree > 1) / (4 * 3600)
    forced = Barotropic(LMAX, strong, forcing=(advection + damping[:, None] * wanted)[0])
    kept = forced.advance(wanted, 0.0, DAY, 48)
    assert relative(kept, wanted) < 1e-12
    reached = forced.advance(0.9 * wanted, 0.0, 3 * DAY, 144)
    assert relative(reached, wanted) < 1e-10


def test_the_forcing_has_its_rms_degree_and_order() -> None:
    for order in (0, 3):
        parameters = BarotropicParameters(forcing=3e-10, forcing_degree=6, forcing_order=order)
        forcing = Barotropic(LMAX, parameters).forcing
        field = InverseRealSHT(Grid.legendre_gauss(32, 64), LMAX, LMAX)(forcing)
        mean_square = area_mean(field**2, Grid.legendre_gauss(32, 64))
        assert float(mean_square.sqrt()) == pytest.approx(3e-10, rel=1e-12)
        assert torch.nonzero(forcing).tolist() == [[6, order]]


def test_automatic_steps_are_short_enough_for_the_flow() -> None:
    free, state = free_flow()
    n_steps = int(free.steps_for(state, 3600.0).max())
    exact = free.advance(state, 0.0, 3600.0, 32 * n_steps)
    assert relative(free.advance(state, 0.0, 3600.0, n_steps), exact) < 1e-5


def test_states_of_low_resolution_are_those_of_high_resolution_truncated() -> None:
    low, high = solver(), Barotropic(2 * LMAX, BarotropicParameters())
    a, b = low.initial_states([7]), high.initial_states([7])[:, :LMAX, :LMAX]
    assert relative(a / a.abs().max(), b / b.abs().max()) < 1e-6


def test_initial_states_have_their_wind() -> None:
    flow = solver(initial_wind=12.0)
    wind = flow.wind(flow.initial_states([1, 2]))
    speed = area_mean(wind.square().sum(-3), flow.grid).sqrt()
    assert speed.tolist() == pytest.approx([12.0, 12.0], rel=1e-12)
