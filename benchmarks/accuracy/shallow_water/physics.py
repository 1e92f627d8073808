"""Standard tests of the shallow-water solver: measured and required values."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.accuracy.shallow_water.climate import climate
from benchmarks.accuracy.shallow_water.figures import (
    draw_convergence,
    draw_maps,
    draw_mountain,
)
from benchmarks.accuracy.shallow_water.run import DAY, Plan, Run, errors, row
from benchmarks.accuracy.shallow_water.theory import cosine_bell, divergent_wave, haurwitz_speed
from benchmarks.speed.measure import Row
from data_prep.shallow_water.cases import Experiment
from data_prep.shallow_water.equations import GEOPOTENTIAL, VORTICITY
from sphere_ops.grid import Grid

GME_MOUNTAIN = 7.2e-4
"""Relative l2 error of the height over the mountain after 15 days, of DWD's GME on 40,962 points
against NCAR's spectral model: table 4 of icon.enes.org/swm/gmeswm (1.4e-3 on 10,242 points)."""


FINEST_STEP = {("galewsky", 171): 540.0}
"""Steps at T170, s: a Courant number of 1.35; chosen steps have at most 0.7. Flow over the mountain
is unstable with this number at this truncation."""


def williamson1(plan: Plan) -> Iterator[Row]:
    """Compare a bell that was advected once around the sphere with its exact shape."""
    for lmax in (43,) if plan.quick else (43, 86):
        for alpha in (0.0, 90.0):
            run = Run("williamson1", lmax, alpha=alpha)
            exact = run.solver.physics.planet.gravity * cosine_bell(run.solver.grid)
            run.to(12)
            yield run.row(
                f"bell, α = {alpha:g}°, l2", errors(run.layer(), exact, run.solver.grid)[0], None
            )


def williamson2(plan: Plan) -> Iterator[Row]:
    """Measure the error of steady zonal flow after five days."""
    for alpha in (0.0, 45.0):
        run = Run("williamson2", 43, alpha=alpha)
        start = run.layer()
        run.to(5)
        for name, error in zip(
            ("l2", "l∞"), errors(run.layer(), start, run.solver.grid), strict=True
        ):
            yield run.row(f"steady flow, α = {alpha:g}°, {name}", error, 1e-9)


def williamson5(plan: Plan) -> Iterator[Row]:
    """Compare flow over a mountain at T42 with T170, for fifteen days."""
    truncations = (43, 64) if plan.quick else (43, 171)
    grid, days = Grid.legendre_gauss(64, 128), range(1, 16)
    heights: dict[int, list[Tensor]] = {}
    for lmax in truncations:
        run = Run("williamson5", lmax)
        before = run.integrals()
        heights[lmax] = []
        for day in days:
            run.to(day)
            heights[lmax].append(run.sampled(grid, "geopotential") / run.gravity)
        change = ((run.integrals() - before) / before).abs()
        yield run.row("mountain, mass", float(change[0]), 1e-12)
        yield run.row("mountain, energy", float(change[1]), 1e-4)
    coarse, fine = (heights[lmax] for lmax in truncations)
    off = [errors(x, y, grid) for x, y in zip(coarse, fine, strict=True)]
    reference = f"T{truncations[-1] - 1}"
    yield row(f"mountain, height against {reference}, l2", 43, off[-1][0], GME_MOUNTAIN)
    yield row(f"mountain, height against {reference}, l∞", 43, off[-1][1], None)
    if plan.figures:
        draw_mountain(plan.figures / "shallow_water_mountain.png", fine[-1], coarse[-1] - fine[-1],
                      grid, days, [l2 for l2, _ in off], reference)  # fmt: skip


def williamson6(plan: Plan) -> Iterator[Row]:
    """Measure phase speed and symmetry of four waves, for fourteen days."""
    for height in (8000.0, 80000.0):
        run = Run("williamson6", 64, mean_height=height)
        planet, rate = run.solver.physics.planet, run.values["zonal_rate"]
        phases = [run.wave_phase(5, 4)]
        for day in range(1, 6):
            run.to(day)
            phases.append(run.wave_phase(5, 4))
        speed = -np.diff(np.unwrap(phases)).sum() / (4 * 5 * DAY)
        for name, theory in (
            ("Haurwitz', without divergence", haurwitz_speed(planet, rate, 4)),
            ("linear theory, with divergence", divergent_wave(planet, rate, 4, height)[0]),
        ):
            name = f"wave, phase speed, layer of {height / 1000:g} km, off {name}"
            yield run.row(name, float(abs(speed / theory - 1)), 0.05)
        if height == 8000.0:
            run.to(14)
            power = run.state[0, VORTICITY].abs().square().sum(dim=0)
            others = power[torch.arange(len(power)) % 4 != 0].sum() / power[4]
            yield run.row("wave, power outside wavenumbers 0, 4, 8, ...", float(others), 1e-12)
            if plan.figures:
                grid = Grid.legendre_gauss(64, 128)
                maps = {"day 14": run.sampled(grid, "geopotential") / run.gravity}
                draw_maps(plan.figures / "shallow_water_wave.png", maps, grid, ("height", "m"))


def galewsky(plan: Plan) -> Iterator[Row]:
    """Measure the balanced jet, and the perturbed one with the published viscosity."""
    truncations = (43, 64) if plan.quick else (86, 171)
    grid = Grid.legendre_gauss(128, 256)
    maps = {}
    for lmax in truncations:
        run = Run("galewsky", lmax, FINEST_STEP.get(("galewsky", lmax)), bump_height=0.0)
        run.to(3)
        wind = run.solver.wind(run.state)[:, 1].abs().max()
        yield run.row("balanced jet, northward wind, m/s", float(wind), 1e-6)
    for lmax in truncations:
        run = Run("galewsky", lmax, FINEST_STEP.get(("galewsky", lmax)), viscosity=1e5)
        run.to(6)
        vorticity = run.solver.on_grid(run.state[:, VORTICITY])
        for name, value in (("minimum", vorticity.min()), ("maximum", vorticity.max())):
            yield run.row(f"jet, {name} of vorticity, 1e-5/s", 1e5 * float(value), None)
        maps[f"T{lmax - 1}, day 6"] = run.sampled(grid, "vorticity")
    coarse, fine = maps.values()
    name = f"jet, vorticity against T{truncations[-1] - 1}, l2"
    yield row(name, truncations[0], errors(coarse, fine, grid)[0], None)
    if plan.figures:
        draw_maps(plan.figures / "shallow_water_jet.png", maps, grid, ("vorticity", "s-1"),
                  north_only=True)  # fmt: skip


def waves(plan: Plan) -> Iterator[Row]:
    """Compare small waves on a resting state with linear theory, at T42."""
    experiment = Experiment("random", {"hyperdiffusion_hours": 0.0}, 43)
    solver, worst = experiment.solver, {"inertia-gravity": 0.0, "Rossby": 0.0}
    for order, parity in ((1, 0), (4, 1), (10, 0)):
        where, matrix = solver.waves._part(order, parity)
        values, vectors = torch.linalg.eig(matrix)
        fast = values.imag.abs()
        for kind, chosen in (
            ("Rossby", (fast < 1.2e-4) & (fast > 1e-7)),
            ("inertia-gravity", fast > 3e-4),
        ):
            index = int(torch.nonzero(chosen).flatten()[0])
            mode = torch.zeros(3 * 43 * 43, dtype=torch.complex128)
            mode[where] = vectors[:, index]
            state = mode.reshape(1, 3, 43, 43)
            state = state * (1e-9 / state[:, VORTICITY].abs().max())
            end = state
            duration, n = 6 * 3600.0, 24
            end = solver.advance(state, 0.0, duration, n)
            place = int(state[0, GEOPOTENTIAL].abs().argmax())
            turn = end[0, GEOPOTENTIAL].flatten()[place] / state[0, GEOPOTENTIAL].flatten()[place]
            expected = np.exp(1j * float(values[index].imag) * duration)
            error = abs(np.angle(complex(turn) / expected)) / (
                abs(float(values[index].imag)) * duration
            )
            worst[kind] = max(worst[kind], float(error))
    for kind, error in worst.items():
        yield row(f"{kind} waves, frequency", 43, error, 1e-3)


def order(plan: Plan) -> Iterator[Row]:
    """Measure the order of the integrator on the perturbed jet at T42, over half a day."""
    experiment = Experiment("galewsky", {"hyperdiffusion_hours": 4.0}, 43)
    solver, state = experiment.solver, experiment.initial_state(0)[None]
    duration, counts = DAY / 2, (12, 24, 48, 96, 192)
    reference = solver.advance(state, 0.0, duration, 4 * counts[-1])
    errors = []
    for n in counts:
        difference = solver.advance(state, 0.0, duration, n) - reference
        errors.append(float(difference[0, VORTICITY].norm() / reference[0, VORTICITY].norm()))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    for n, value in zip(counts[1:], orders, strict=True):
        yield Row(f"order in time at {duration / n:g} s", "T42", float(value), 3.0, "least",
                  float(value) / 3, "")  # fmt: skip
    if plan.figures:
        steps = [duration / n for n in counts]
        draw_convergence(plan.figures / "shallow_water_order.png", steps, errors)


TESTS: dict[str, Callable[[Plan], Iterator[Row]]] = {
    "williamson1": williamson1,
    "williamson2": williamson2,
    "williamson5": williamson5,
    "williamson6": williamson6,
    "galewsky": galewsky,
    "waves": waves,
    "order": order,
    "climate": climate,
}
