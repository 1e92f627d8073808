"""Reference rows of the shallow-water experiments: forecasts that learn nothing.

`persistence` keeps the initial state. `linear` is the exact solution of the equations linearised
about rest, with the diffusion of the solver. `solver` has a truncation: the one of the data, for
its cost and for the errors of float32 initial states, and half of it. `symmetry` is a lower bound:
an operator F that commutes with a reflection M of the sphere about a meridian errs on x and on M x,
which is as likely, by at least ½‖T(x) − M T(M x)‖ in the mean, T being the truth. All fields are
reflected as scalars, as such an operator does; the true flow turns the other way round then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.accuracy.errors import RelativeL2, forecast_errors, scored, truth_of
from benchmarks.accuracy.experiments import CHANNELS, Experiment
from data_prep.shallow_water import cases
from data_prep.shallow_water.equations import ShallowWater
from data_prep.shallow_water.sampling import Sampler
from data_prep.solvers.time_stepping import advance
from data_prep.store.reader import Store
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import RealSHT


class Flow:
    """Solver of an experiment at some truncation, on coefficients of the experiment's fields.

    Args:
        experiment: Experiment.
        grid: Grid of its fields.
        lmax: Truncation, exclusive; at most that of the data.
    """

    def __init__(self, experiment: Experiment, grid: Grid, lmax: int) -> None:
        self.seconds, self.lmax = experiment.seconds, lmax
        case = experiment.case
        of_case = cases.Experiment(case["name"], case.get("parameters", {}), lmax)
        self.solver: ShallowWater = of_case.solver
        self._analysis = RealSHT(grid, lmax=lmax, mmax=lmax)
        self._sample = Sampler(grid, lmax, CHANNELS)

    def coefficients(self, fields: Tensor) -> Tensor:
        """Return the state of the solver, (b, 3, lmax, lmax), of fields of `CHANNELS`."""
        geopotential, vorticity, divergence = fields.double().unbind(1)
        layer = geopotential - self.solver.physics.mean_geopotential
        return self._analysis(torch.stack([vorticity, divergence, layer], dim=1))

    def fields(self, state: Tensor) -> Tensor:
        """Return the fields of `CHANNELS`, (b, 3, nlat, nlon), of a state of the solver."""
        return self._sample(state, self.solver.physics)

    def linear(self, fields: Tensor) -> Iterator[Tensor]:
        """Yield the fields after each step of the linear equations."""
        step = self.solver.waves.propagator(self.seconds, torch.complex128, self.solver.device)
        state = self.coefficients(fields)
        while True:
            state = step.propagate(state)
            yield self.fields(state)

    def solved(self, fields: Tensor, *, reflected: bool = False) -> Iterator[Tensor]:
        """Yield the fields after each step of the solver, with automatic steps of its own.

        Args:
            fields: Initial states.
            reflected: Reflect the initial states, and what comes out; in coefficients that is the
                complex conjugate.
        """
        state = self.coefficients(fields)
        state = state.conj().resolve_conj() if reflected else state
        while True:
            state = advance(self.solver, state, 0.0, self.seconds, None)
            yield self.fields(state.conj().resolve_conj() if reflected else state)


def reference_rows(
    experiment: Experiment, store: Store, split: str, error: RelativeL2
) -> dict[str, dict[str, Any]]:
    """Return the errors of all references, by name, and the cost of those that compute.

    Args:
        experiment: Experiment, of a case whose forcing does not depend on time.
        store: Truth of forecasts.
        split: Split of the store.
        error: Error of a forecast.
    """
    truth = scored(truth_of(store, split), store.channel_names)
    start, half = truth[:, 0], (experiment.lmax + 1) // 2
    full, coarse = (Flow(experiment, store.grid, n) for n in (experiment.lmax, half))

    def unchanged() -> Iterator[Tensor]:
        while True:
            yield start

    forecasts = {
        "persistence": unchanged(),
        "linear": full.linear(start),
        f"solver T{half - 1}": coarse.solved(start),
        f"solver T{experiment.lmax - 1}": full.solved(start),
        "symmetry": full.solved(start, reflected=True),
    }
    rows = {
        name: forecast_errors(steps, truth, error, experiment) for name, steps in forecasts.items()
    }
    for name in ("persistence", "symmetry"):
        rows[name].pop("seconds_per_day")
    floor = rows["symmetry"]["errors"]
    rows["symmetry"]["errors"] = [[e / 2 for e in of_step] for of_step in floor]
    return rows
