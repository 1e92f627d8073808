"""The shallow-water solver on the standard tests: what it reaches, beside what it must."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import Row
from benchmarks.shallow_water_figures import (
    draw_climate,
    draw_convergence,
    draw_maps,
    draw_series,
)
from data_prep.cases import Experiment
from data_prep.diagnostics import integrals, kinetic_energy_spectrum
from data_prep.sampling import Sampler
from data_prep.shallow_water import GEOPOTENTIAL, VORTICITY, ShallowWater
from data_prep.trajectories import advance
from sphere_ops.grid import Grid, area_mean

DAY = 86400.0


@dataclass(frozen=True)
class Plan:
    """How much of the tests is run, and where their figures go."""

    quick: bool
    figures: Path | None


def physics(plan: Plan, only: str) -> Iterator[Row]:
    """Run the tests whose name contains a text."""
    tests: dict[str, Callable[[Plan], Iterator[Row]]] = {
        "williamson1": williamson1,
        "williamson2": williamson2,
        "williamson5": williamson5,
        "williamson6": williamson6,
        "galewsky": galewsky,
        "waves": waves,
        "order": order,
        "climate": climate,
    }
    for name, test in tests.items():
        if only in name:
            yield from test(plan)


def williamson1(plan: Plan) -> Iterator[Row]:
    """A bell once round the sphere, against its exact shape."""
    for lmax in (43,) if plan.quick else (43, 86):
        for alpha in (0.0, 90.0):
            run = Run("williamson1", lmax, alpha=alpha)
            exact = run.solver.setting.planet.gravity * _bell(run.solver)
            run.to(12)
            yield run.row(f"bell, α = {alpha:g}°, l2", run.errors(run.layer(), exact)[0], None)


def williamson2(plan: Plan) -> Iterator[Row]:
    """Steady zonal flow for five days."""
    for alpha in (0.0, 45.0):
        run = Run("williamson2", 43, alpha=alpha)
        start = run.layer()
        run.to(5)
        for name, error in zip(("l2", "l∞"), run.errors(run.layer(), start), strict=True):
            yield run.row(f"steady flow, α = {alpha:g}°, {name}", error, 1e-9)


def williamson5(plan: Plan) -> Iterator[Row]:
    """Flow over a mountain for fifteen days, T42 and T85 against T170 where it is run."""
    truncations = (43, 64) if plan.quick else (43, 86, 171)
    grid = Grid.legendre_gauss(64, 128)
    fields = {}
    for lmax in truncations:
        run = Run("williamson5", lmax)
        before = run.integrals()
        run.to(15)
        change = ((run.integrals() - before) / before).abs()
        yield run.row("mountain, mass", float(change[0]), 1e-12)
        yield run.row("mountain, energy", float(change[1]), 1e-4)
        fields[lmax] = run.sampled(grid, "geopotential")
    finest = fields[truncations[-1]]
    gravity = 9.80616
    for lmax in truncations[:-1]:
        l2, linf = _errors(fields[lmax], finest, grid)
        name = f"mountain, height against T{truncations[-1] - 1}"
        # Table 4 of the GME convergence test (icon.enes.org/swm/gmeswm): 0.67e-3 to 1.37e-3.
        yield Row(f"{name}, l2", f"T{lmax - 1}", l2, None, "", None, "")
        yield Row(f"{name}, l∞", f"T{lmax - 1}", linf, None, "", None, "")
    if plan.figures:
        maps = {f"T{n - 1}": f / gravity for n, f in fields.items()}
        draw_maps(plan.figures / "mountain.png", maps, grid, "height of the surface (m)")


def williamson6(plan: Plan) -> Iterator[Row]:
    """Four waves for fourteen days, and how fast they travel."""
    theory = None
    for height in (8000.0, 80000.0):
        run = Run("williamson6", 64, mean_height=height)
        values = Experiment("williamson6", {}, 64).values
        r, w = values["wavenumber"], values["zonal_rate"]
        theory = (r * (3 + r) * w - 2 * values["rotation"]) / ((1 + r) * (2 + r))
        phases = [run.wave_phase(5, 4)]
        for day in range(1, 6):
            run.to(day)
            phases.append(run.wave_phase(5, 4))
        turned = -np.diff(np.unwrap(phases)).sum() / (4 * 5 * DAY)
        name = f"wave, phase speed, layer of {height / 1000:g} km: off Haurwitz'"
        yield run.row(name, float(abs(turned / theory - 1)), 0.05)
        if height == 8000.0:
            run.to(14)
            power = run.state[0, VORTICITY].abs().square().sum(dim=0)
            others = power[torch.arange(len(power)) % 4 != 0].sum() / power[4]
            yield run.row("wave, power outside wavenumbers 0, 4, 8, ...", float(others), 1e-12)
            if plan.figures:
                grid = Grid.legendre_gauss(64, 128)
                maps = {"day 14": run.sampled(grid, "geopotential") / 9.80616}
                draw_maps(plan.figures / "wave.png", maps, grid, "height (m)")


def galewsky(plan: Plan) -> Iterator[Row]:
    """The balanced jet stays zonal; the perturbed one rolls up as published."""
    truncations = (43, 64) if plan.quick else (86, 171)
    grid = Grid.legendre_gauss(128, 256)
    maps = {}
    for lmax in truncations:
        run = Run("galewsky", lmax, bump_height=0.0)
        run.to(3)
        wind = run.solver.wind(run.state)[:, 1].abs().max()
        yield run.row("balanced jet, northward wind, m/s", float(wind), 1e-6)
    for label, values in (
        ("ν = 1e5 m²/s", {"viscosity": 1e5}),
        ("∇⁸, 3 h", {"hyperdiffusion_hours": 3.0}),
    ):
        for lmax in truncations:
            run = Run("galewsky", lmax, **values)
            run.to(6)
            vorticity = run.solver.on_grid(run.state[:, VORTICITY])
            for name, value in (("minimum", vorticity.min()), ("maximum", vorticity.max())):
                yield run.row(
                    f"jet, {label}, {name} of vorticity, 1e-5/s", 1e5 * float(value), None
                )
            maps[f"{label}, T{lmax - 1}"] = run.sampled(grid, "vorticity")
        coarse, fine = (maps[f"{label}, T{n - 1}"] for n in truncations)
        l2 = _errors(coarse, fine, grid)[0]
        name = f"jet, {label}, vorticity against T{truncations[-1] - 1}, l2"
        yield Row(name, f"T{truncations[0] - 1}", l2, None, "", None, "")
    if plan.figures:
        draw_maps(plan.figures / "jet.png", maps, grid, "vorticity (s⁻¹)", north_only=True)


def waves(plan: Plan) -> Iterator[Row]:
    """Small waves on a resting state against linear theory, at T42 through the whole solver."""
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
        yield Row(f"{kind} waves, frequency", "T42", error, 1e-3, "bound", _ratio(1e-3, error), "")


def order(plan: Plan) -> Iterator[Row]:
    """Order of the integrator on the perturbed jet at T42, over half a day."""
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
        draw_convergence(plan.figures / "order.png", steps, errors)


def climate(plan: Plan) -> Iterator[Row]:
    """Three years of the forced case."""
    days = 60 if plan.quick else 3 * 365
    run = Run("forced", 43)
    series, spectra = [], []
    speeds = []
    for day in range(1, days + 1):
        run.to(day)
        values = run.integrals()
        wind = run.solver.wind(run.state)[0]
        eddy = wind - wind.mean(dim=-1, keepdim=True)
        kinetic = area_mean(wind.square().sum(dim=0) / 2, run.solver.grid)
        eddies = area_mean(eddy.square().sum(dim=0) / 2, run.solver.grid)
        speeds.append(float(wind.square().sum(dim=0).sqrt().max()))
        series.append([*values.tolist(), float(kinetic), float(eddies)])
        spectra.append(kinetic_energy_spectrum(run.solver, run.state)[0].numpy())
    data, spectrum = np.array(series), np.array(spectra)
    mass = np.abs(data[:, 0] / data[0, 0] - 1).max()
    yield run.row(f"climate, drift of mass over {days} days", float(mass), 1e-10)
    yield run.row("climate, strongest wind, m/s", max(speeds), None)
    year = min(365, days // 3)
    early, late = spectrum[-2 * year : -year].mean(axis=0), spectrum[-year:].mean(axis=0)
    change = np.abs(late[1:] / early[1:] - 1)
    yield run.row("climate, spectrum of the last year against the one before, mean |change|",
                  float(change.mean()), None)  # fmt: skip
    kinetic_change = data[-year:, 4].mean() / data[-2 * year : -year, 4].mean() - 1
    yield run.row("climate, kinetic energy, last year against the one before",
                  float(abs(kinetic_change)), None)  # fmt: skip
    if plan.figures:
        draw_series(plan.figures / "climate_series.png", data, year)
        grid = Grid.legendre_gauss(64, 128)
        draw_climate(
            plan.figures / "climate.png",
            run.sampled(grid, "vorticity"),
            run.sampled(grid, "geopotential") / 9.80616,
            grid,
            {"last year": late, "year before": early},
        )


class Run:
    """One trajectory of a case, from its start."""

    def __init__(self, name: str, lmax: int, **values: float) -> None:
        self.lmax = lmax
        experiment = Experiment(name, values, lmax)
        self.solver = experiment.solver
        self.state = experiment.initial_state(0)[None]
        self.day = 0.0

    def to(self, day: float) -> None:
        """Go on to a day, six hours at a time."""
        while self.day < day - 1e-9:
            time = self.day * DAY
            self.state = advance(self.solver, self.state, time, DAY / 4, None)
            self.day += 0.25

    def layer(self) -> Tensor:
        """Geopotential of the layer, (nlat, nlon)."""
        return self.solver.layer(self.state)[0]

    def integrals(self) -> Tensor:
        """What `diagnostics.integrals` returns."""
        return integrals(self.solver, self.state)[0]

    def errors(self, field: Tensor, truth: Tensor) -> tuple[float, float]:
        """Relative l2 and l∞ on the solver's grid."""
        return _errors(field, truth, self.solver.grid)

    def wave_phase(self, degree: int, order: int) -> float:
        """Phase of one coefficient of the vorticity."""
        return float(self.state[0, VORTICITY, degree, order].angle())

    def sampled(self, grid: Grid, variable: str) -> Tensor:
        """A field on another grid, (nlat, nlon)."""
        return Sampler(grid, self.lmax, (variable,))(self.state, self.solver.setting)[0, 0]

    def row(self, name: str, value: float, bound: float | None) -> Row:
        """A line of the table: the value, and what it must not exceed."""
        return Row(
            name, f"T{self.lmax - 1}", value, bound, "bound" if bound else "",
            _ratio(bound, value) if bound else None, "",
        )  # fmt: skip


def _ratio(bound: float, value: float) -> float:
    return bound / max(value, 1e-300) if value else math.inf


def _errors(field: Tensor, truth: Tensor, grid: Grid) -> tuple[float, float]:
    l2 = (area_mean((field - truth) ** 2, grid) / area_mean(truth**2, grid)).sqrt()
    return float(l2), float((field - truth).abs().max() / truth.abs().max())


def _bell(solver: ShallowWater) -> Tensor:
    """The bell of Williamson 1 where it starts and ends, m."""
    latitude = torch.deg2rad(solver.grid.latitude)[:, None]
    longitude = torch.deg2rad(solver.grid.longitude)[None, :]
    cosine = torch.cos(latitude) * torch.cos(longitude - 1.5 * math.pi)
    distance = torch.arccos(cosine.clamp(-1, 1)) * 3
    return 500 * (1 + torch.cos(math.pi * distance)) * (distance < 1)
