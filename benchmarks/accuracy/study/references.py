"""Reference rows of the shallow-water experiments: forecasts that learn nothing.

`persistence` keeps the initial state. `linear` is the exact solution of the equations linearised
about rest, with the diffusion of the solver. `solver` has a truncation: the one of the data, for
its cost and for the errors of float32 initial states, and half of it. `symmetry` is a lower bound:
an operator F that commutes with a reflection M of the sphere about a meridian errs on x and on M x,
which is as likely, by at least ½‖T(x) − M T(M x)‖ in the mean, T being the truth. All fields are
reflected as scalars, as such an operator does; the true flow turns the other way round then.

A forced climate has mountains and a forcing: `linear` and `symmetry` do not apply. `climatology` is
the mean of the training data at the same hour of ten days before to ten days after.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.accuracy.study.errors import DAY, RelativeL2, Truth, forecast_errors, scored
from benchmarks.accuracy.study.experiments import CHANNELS, Experiment
from data_prep.shallow_water import cases
from data_prep.shallow_water.equations import GEOPOTENTIAL, ShallowWater
from data_prep.shallow_water.sampling import Sampler
from data_prep.solvers.time_stepping import advance
from data_prep.store.reader import Store
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import RealSHT

_DAYS = 10
"""Days on either side of a time that its climatology is the mean of."""
_FREE = {"persistence", "climatology", "symmetry"}
"""References without a cost of their own."""


class Flow:
    """Solver of an experiment at some truncation, on coefficients of the experiment's fields.

    Args:
        experiment: Experiment.
        grid: Grid of its fields.
        lmax: Truncation, exclusive; at most that of the data.
    """

    def __init__(self, experiment: Experiment, grid: Grid, lmax: int) -> None:
        self.seconds, self.lmax = experiment.seconds, lmax
        case = experiment.cases[0]  # the others have the same constants
        of_case = cases.Experiment(case["name"], case.get("parameters", {}), lmax)
        self.solver: ShallowWater = of_case.solver
        self._analysis = RealSHT(grid, lmax=lmax, mmax=lmax)
        self._sample = Sampler(grid, lmax, CHANNELS)

    def coefficients(self, fields: Tensor) -> Tensor:
        """Return the state of the solver, (b, 3, lmax, lmax), of fields of `CHANNELS`."""
        geopotential, vorticity, divergence = fields.double().unbind(1)
        physics = self.solver.physics
        surface = geopotential - physics.mean_geopotential
        state = self._analysis(torch.stack([vorticity, divergence, surface], dim=1))
        if physics.orography is not None:  # the solver has the depth of the layer
            state[:, GEOPOTENTIAL] -= physics.orography.to(state)
        return state

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

    def solved(
        self, fields: Tensor, start: NDArray[np.datetime64], *, reflected: bool = False
    ) -> Iterator[Tensor]:
        """Yield the fields after each step of the solver, with automatic steps of its own.

        Args:
            fields: Initial states.
            start: Their times, (b,).
            reflected: Reflect the initial states, and what comes out; in coefficients that is the
                complex conjugate.
        """
        state = self.coefficients(fields)
        state = state.conj().resolve_conj() if reflected else state
        time = torch.from_numpy((start - np.datetime64(0, "ns")) / np.timedelta64(1, "s"))
        while True:
            for at in time.unique():
                same = time == at
                state[same] = advance(self.solver, state[same], float(at), self.seconds, None)
            time = time + self.seconds
            yield self.fields(state.conj().resolve_conj() if reflected else state)


def climatology(truth: Truth, train: Store, experiment: Experiment) -> Iterator[Tensor]:
    """Yield the mean state of the training at the times of forecasts, after each step.

    Args:
        truth: Initial times.
        train: Training store, of the same times as the trajectories of the truth.
        experiment: Time step, which divides a day.
    """
    day = round(DAY / experiment.seconds)
    places = np.searchsorted(train.time, truth.init_time)
    count = len(train.time)
    states = [
        scored(train.states(int(i), 0, count), train.channel_names)
        for i in train.split_indices("train")
    ]
    mean = torch.stack(states).mean(0)
    while True:
        places = places + 1
        near = [range(k - _DAYS * day, k + _DAYS * day + 1, day) for k in places]
        yield torch.stack([mean[[k for k in of if 0 <= k < count]].mean(0) for of in near])


def reference_rows(
    experiment: Experiment, truth: Truth, train: Store, error: RelativeL2
) -> dict[str, dict[str, Any]]:
    """Return the errors of all references, by name, and the cost of those that compute.

    Args:
        experiment: Experiment.
        truth: Truth of the forecasts.
        train: Training store.
        error: Error of a forecast.
    """
    of_truth, time = truth.scored, truth.init_time
    start, half = of_truth[:, 0], (experiment.lmax + 1) // 2
    full, coarse = (Flow(experiment, train.grid, n) for n in (experiment.lmax, half))

    def unchanged() -> Iterator[Tensor]:
        while True:
            yield start

    forecasts = {
        "persistence": unchanged(),
        f"solver T{half - 1}": coarse.solved(start, time),
        f"solver T{experiment.lmax - 1}": full.solved(start, time),
    }
    if experiment.starts_every is None:
        forecasts["linear"] = full.linear(start)
        forecasts["symmetry"] = full.solved(start, time, reflected=True)
    else:
        forecasts["climatology"] = climatology(truth, train, experiment)
    rows = {
        name: forecast_errors(steps, of_truth, error, experiment)
        for name, steps in forecasts.items()
    }
    for name in _FREE & set(rows):
        rows[name].pop("seconds_per_day")
    if "symmetry" in rows:
        floor = rows["symmetry"]["errors"]
        rows["symmetry"]["errors"] = [[e / 2 for e in of_step] for of_step in floor]
        rows["symmetry"].pop("vorticity_correlation")  # of two truths, not of a forecast
    return rows
