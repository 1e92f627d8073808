"""One trajectory of a case for the tests of the solver, and errors between trajectories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from benchmarks.speed.measure import Row
from data_prep.shallow_water.cases import Experiment
from data_prep.shallow_water.diagnostics import integrals
from data_prep.shallow_water.equations import VORTICITY
from data_prep.shallow_water.sampling import Sampler
from data_prep.solvers.time_stepping import advance
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import area_mean

DAY = 86400.0


@dataclass(frozen=True)
class Plan:
    """Extent of the tests, and their outputs.

    Attributes:
        quick: True for low truncations and few days.
        figures: Folder of the figures; None for no figures.
        saved: Path beside which long runs save their progress.
    """

    quick: bool
    figures: Path | None
    saved: Path


class Run:
    """One trajectory of a case, from its start.

    Args:
        name: Name of the case.
        lmax: Truncation, exclusive.
        solver_dt: Longest step, s; chosen from the flow if not given.
        values: Values of the case.
    """

    def __init__(
        self, name: str, lmax: int, solver_dt: float | None = None, **values: float
    ) -> None:
        self.lmax, self.solver_dt = lmax, solver_dt
        experiment = Experiment(name, values, lmax)
        self.solver, self.values = experiment.solver, experiment.values
        self.gravity = self.solver.physics.planet.gravity
        self.state = experiment.initial_state(0)[None]
        self.day = 0.0

    def to(self, day: float) -> None:
        """Advance to a day, six hours at a time."""
        while self.day < day - 1e-9:
            time = self.day * DAY
            self.state = advance(self.solver, self.state, time, DAY / 4, self.solver_dt)
            self.day += 0.25

    def layer(self) -> Tensor:
        """Return the geopotential of the layer, (nlat, nlon)."""
        return self.solver.layer(self.state)[0]

    def integrals(self) -> Tensor:
        """Return the integrals of `diagnostics.integrals`."""
        return integrals(self.solver, self.state)[0]

    def wave_phase(self, degree: int, order: int) -> float:
        """Return the phase of one coefficient of the vorticity."""
        return float(self.state[0, VORTICITY, degree, order].angle())

    def sampled(self, grid: Grid, variable: str) -> Tensor:
        """Return a field on another grid, (nlat, nlon)."""
        return Sampler(grid, self.lmax, (variable,))(self.state, self.solver.physics)[0, 0]

    def row(self, name: str, value: float, bound: float | None) -> Row:
        """Return a row: the value, and its upper limit."""
        return row(name, self.lmax, value, bound)


def row(name: str, lmax: int, value: float, bound: float | None) -> Row:
    """Return a row: the value at a truncation, and its upper limit."""
    ratio = bound / max(value, 1e-300) if bound else None
    return Row(name, f"T{lmax - 1}", value, bound, "bound" if bound else "", ratio, "")


def errors(field: Tensor, truth: Tensor, grid: Grid) -> tuple[float, float]:
    """Return the relative l2 and l∞ errors of a field (nlat, nlon)."""
    l2 = (area_mean((field - truth) ** 2, grid) / area_mean(truth**2, grid)).sqrt()
    return float(l2), float((field - truth).abs().max() / truth.abs().max())
