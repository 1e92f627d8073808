"""Shallow-water solver, against exact solutions, conservation laws and another solver."""

import math

import pytest
import torch

from data_prep.shallow_water.cases import Experiment
from data_prep.shallow_water.diagnostics import INTEGRALS, integrals, kinetic_energy_spectrum
from data_prep.shallow_water.equations import GEOPOTENTIAL, ShallowWater
from data_prep.shallow_water.planet import Physics, Planet
from data_prep.shallow_water.sampling import Sampler
from data_prep.solvers.truncation import Hyperdiffusion, quadratic_grid
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import area_mean

DAY = 86400.0


def relative_errors(x: torch.Tensor, truth: torch.Tensor, solver: ShallowWater) -> list[float]:
    """Return the l2 and l∞ errors of a field relative to the truth."""
    l2 = (area_mean((x - truth) ** 2, solver.grid) / area_mean(truth**2, solver.grid)).sqrt()
    return [float(l2), float((x - truth).abs().amax() / truth.abs().amax())]


def start(name: str, lmax: int, **values: float) -> tuple[ShallowWater, torch.Tensor]:
    experiment = Experiment(name, values, lmax)
    return experiment.solver, experiment.initial_state(0)[None]


@pytest.mark.parametrize("alpha", [0.0, 45.0])
def test_steady_zonal_flow_stays_for_five_days_at_t42(alpha: float) -> None:
    """Run Williamson's case 2, also across the poles, to a relative error of 1e-9."""
    solver, state = start("williamson2", 43, alpha=alpha)
    end = solver.advance(state, 0.0, 5 * DAY, 5 * 32)
    assert max(relative_errors(solver.layer(end), solver.layer(state), solver)) < 1e-10


@pytest.mark.parametrize("alpha", [0.0, 90.0])
def test_a_bell_comes_back_after_one_revolution(alpha: float) -> None:
    """Run Williamson's case 1, along the equator and across the poles; docs have T42 and T85."""
    solver, state = start("williamson1", 32, alpha=alpha)
    end = solver.advance(state, 0.0, 12 * DAY, 12 * 24)
    assert relative_errors(solver.layer(end), solver.layer(state), solver)[0] < 0.02


def test_flow_over_a_mountain_keeps_mass_exactly_and_energy_closely() -> None:
    """Run Williamson's case 5 without diffusion."""
    solver, state = start("williamson5", 32)
    end = solver.advance(state, 0.0, 2 * DAY, 2 * 48)
    before, after = (
        dict(zip(INTEGRALS, integrals(solver, x)[0], strict=True)) for x in (state, end)
    )
    assert after["mass"] == before["mass"]
    assert after["energy"] == pytest.approx(float(before["energy"]), rel=1e-8)
    assert after["potential_enstrophy"] == pytest.approx(
        float(before["potential_enstrophy"]), rel=1e-5
    )


def test_flow_without_mountains_keeps_its_angular_momentum() -> None:
    solver, state = start("galewsky", 32)
    end = solver.advance(state, 0.0, DAY, 96)
    before, after = (integrals(solver, x)[0] for x in (state, end))
    # Of the integral over a grid that is exact for products of two fields, not of three.
    assert torch.allclose(after[3], before[3], rtol=1e-7)


def test_a_balanced_jet_stays_zonal() -> None:
    """Run Galewsky's jet without its perturbation."""
    solver, state = start("galewsky", 43, bump_height=0.0)
    end = solver.advance(state, 0.0, DAY, 48)
    assert solver.wind(end)[:, 1].abs().max() < 1e-6
    assert relative_errors(solver.layer(end), solver.layer(state), solver)[1] < 1e-10


def test_the_integrator_is_of_fourth_order() -> None:
    solver, state = start("random_balanced", 22, mach=20.0, hyperdiffusion_hours=0.0)
    reference = solver.advance(state, 0.0, 6 * 3600.0, 96)

    def error(n_steps: int) -> float:
        difference = solver.advance(state, 0.0, 6 * 3600.0, n_steps) - reference
        return float(difference[:, 0].abs().square().sum().sqrt())

    orders = [math.log2(error(n) / error(2 * n)) for n in (12, 24)]
    assert min(orders) > 3.8


def test_tendencies_are_those_of_torch_harmonics() -> None:
    """Compare with another discretisation: the flux form, by vector transforms."""
    from torch_harmonics.examples.shallow_water_equations import (
        ShallowWaterSolver,
    )

    lmax = 22
    solver, state = start("random", lmax, mach=5.0, height_amplitude=2000.0,
                          hyperdiffusion_hours=0.0)  # fmt: skip
    planet, grid = solver.physics.planet, solver.grid
    peer = ShallowWaterSolver(
        grid.nlat, grid.nlon, 60.0, lmax=lmax, mmax=lmax, grid="legendre-gauss",
        radius=planet.radius, omega=planet.rotation, gravity=planet.gravity,
    )  # fmt: skip
    # The peer has no Condon-Shortley phase, and holds φ with its mean first.
    phase = (-1.0) ** torch.arange(lmax)
    theirs = state[0][[2, 0, 1]] * phase
    theirs[0, 0, 0] += solver.physics.mean_geopotential * math.sqrt(4 * math.pi)
    expected = peer.dudtspec(theirs)[[1, 2, 0]] * phase

    # All of it explicit: the axis tilted by a whole turn, and L about a layer without depth.
    explicit = ShallowWater(lmax, Physics(Planet(axis_tilt=2 * math.pi), 0.0))
    full = state[0].clone()
    full[GEOPOTENTIAL, 0, 0] += solver.physics.mean_geopotential * math.sqrt(4 * math.pi)
    degree = torch.arange(lmax, dtype=torch.float64)[:, None]
    ours = explicit.tendency(full[None], 0.0)[0]
    ours[1] += degree * (degree + 1) / planet.radius**2 * full[2]
    error = (ours - expected).abs().amax(dim=(1, 2)) / expected.abs().amax(dim=(1, 2))
    # The peer's vector transform and its inverse agree to 1e-7 only, also in double precision.
    assert error.max() < 1e-6


def test_a_state_does_not_depend_on_the_batch_it_is_solved_in() -> None:
    """Compare up to rounding of matrix products of other shapes, 1e-12 after 6 hours."""
    experiment = Experiment("random", {"mach": 5.0}, 22)
    states = torch.stack([experiment.initial_state(seed) for seed in range(5)])
    solver = experiment.solver
    together = solver.advance(states, 0.0, 6 * 3600.0, 12)
    for i in range(5):
        alone = solver.advance(states[i : i + 1], 0.0, 6 * 3600.0, 12)[0]
        scale = alone.abs().amax(dim=(1, 2), keepdim=True)
        assert ((together[i] - alone).abs() / scale).max() < 1e-12


def test_single_precision_follows_double() -> None:
    double = Experiment("random", {"mach": 5.0}, 22)
    single = Experiment("random", {"mach": 5.0}, 22, torch.float32)
    ends = [
        e.solver.layer(e.solver.advance(e.initial_state(0)[None], 0.0, 3600.0, 2)).double()
        for e in (double, single)
    ]
    assert relative_errors(ends[1], ends[0], double.solver)[0] < 1e-6


@pytest.mark.parametrize("name", ["random", "williamson5", "forced", "galewsky"])
def test_a_solver_computes_on_its_device_alone(name: str) -> None:
    """Use meta tensors in place of a GPU's: they cannot be combined with those of the CPU."""
    experiment = Experiment(name, {}, 11, device="meta")
    solver, state = experiment.solver, experiment.initial_state(0)[None]
    end = solver.step(state, 0.0, 600.0)
    sampler = Sampler(Grid.legendre_gauss(16, 32), 11, ("geopotential", "eastward_wind"))
    for result in (end, *solver.courant_rates(end), integrals(solver, end),
                   kinetic_energy_spectrum(solver, end), sampler(end, solver.physics)):  # fmt: skip
        assert result.device.type == "meta"


def test_hyperdiffusion_has_its_time_scale_at_the_smallest_scale() -> None:
    rate = Hyperdiffusion(hours=3.0, power=8).rate(43)
    assert float(rate[42]) == pytest.approx(1 / (3 * 3600))
    assert float(rate[21] / rate[42]) == pytest.approx(((21 * 22) / (42 * 43)) ** 4)
    assert rate[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("lmax", "shape"), [(43, (64, 128)), (86, (128, 256)), (171, (256, 512))])
def test_the_grid_is_alias_free(lmax: int, shape: tuple[int, int]) -> None:
    grid = quadratic_grid(lmax)
    assert grid.shape == shape
    assert 2 * grid.nlat - 1 >= 3 * (lmax - 1)
    assert grid.nlon >= 3 * (lmax - 1) + 1


def test_a_step_that_cannot_work_is_refused_with_one_that_does() -> None:
    solver, state = start("williamson5", 32)
    with pytest.raises(ValueError, match="a step of [0-9]+ s works") as error:
        solver.check_step(state, 7200.0)
    works = float(str(error.value).split("a step of ")[1].split(" s works")[0])
    solver.check_step(state, works)
    end = solver.advance(state, 0.0, 5 * DAY, math.ceil(5 * DAY / works))
    assert end.isfinite().all()
    assert solver.wind(end).abs().max() < 60


@pytest.mark.parametrize(
    ("name", "days", "most"),
    [pytest.param("williamson5", 15, 45, marks=pytest.mark.slow), ("galewsky", 6, 90)],
)
def test_what_is_refused_is_unstable_and_what_is_not_works(
    name: str, days: int, most: float
) -> None:
    """Try winds of 37 m/s over the mountain, whose depth limits the step, and 80 in the jet."""
    solver, state = start(name, 43)
    strongest = []
    for share in (0.94, 1.2):
        dt = share * solver.longest_step(state)
        end = solver.advance(state, 0.0, days * DAY, math.ceil(days * DAY / dt))
        strongest.append(float(solver.wind(end).abs().max().nan_to_num(math.inf)))
    assert strongest[0] < most < 2 * most < strongest[1]


def test_a_chosen_step_is_never_one_that_is_refused() -> None:
    for name, values in (("williamson5", {}), ("williamson5", {"wind": 1.0}), ("forced", {}),
                         ("galewsky", {}), ("random", {"mach": 3.0})):  # fmt: skip
        solver, state = start(name, 32, **values)
        solver.check_step(state, 3600 / float(solver.steps_for(state, 3600.0)[0]))


def test_more_wind_takes_more_steps_whatever_the_neighbours() -> None:
    experiment = Experiment("galewsky", {}, 43)
    calm, windy = (Experiment("galewsky", {"wind": w}, 43).initial_state(0) for w in (20.0, 160.0))
    steps = experiment.solver.steps_for(torch.stack((calm, windy)), 3600.0)
    assert steps[0] < steps[1]
    assert steps[0] == experiment.solver.steps_for(calm[None], 3600.0)[0]
