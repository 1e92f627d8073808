"""Balanced perturbations: small gravity waves in the shallow-water equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs.time.step import TimeStep
from configs.variables import variable
from data_prep.shallow_water.cases import Experiment
from data_prep.shallow_water.equations import DIVERGENCE, GEOPOTENTIAL, ShallowWater
from forecast.inference.ensemble.kinds import PerturbationSpec
from forecast.inference.ensemble.perturbation import Setup
from forecast.inference.ensemble.sample import Sample
from forecast.model.normalizer import Normalizer
from forecast.model.state import State
from sphere_ops.grid import Grid
from sphere_ops.harmonics.winds import vorticity_divergence
from sphere_ops.parallel.fields import area_mean

SAMPLES = [Sample(0, member, 0, (0, 0, member)) for member in range(3)]


def difference(grid: Grid, names: tuple[str, ...], text: str, std_step: float = 1e-5) -> dict:
    step, n = TimeStep.parse("1h"), len(names)
    sizes = torch.full((n,), std_step)
    normalizer = Normalizer(torch.zeros(n), sizes, sizes, step)
    of = Setup(grid, tuple(variable(name) for name in names), step, normalizer)
    zero = torch.zeros(len(SAMPLES), n, *grid.shape)
    time = np.zeros(len(SAMPLES), dtype="datetime64[ns]")
    built = PerturbationSpec(f"balanced:{text}").build(of, 0)
    found = built.perturb(State(zero, time, (zero,)), SAMPLES, None)
    assert found.history[0].equal(found.fields)
    return dict(zip(names, found.fields.unbind(1), strict=True))


def start() -> tuple[ShallowWater, torch.Tensor]:
    """Return a solver, and a balanced flow with jets of tens of metres per second."""
    experiment = Experiment("random_balanced", {"mach": 0.1, "cutoff": 10}, 22)
    return experiment.solver, experiment.initial_state(0)


def divergence_tendency(solver: ShallowWater, flow: torch.Tensor, change: torch.Tensor) -> float:
    """Return the rms divergence that a small change of a flow makes within ten seconds."""
    states = solver.advance(torch.stack((flow + change, flow)), 0.0, 10.0, 1)
    made = solver.on_grid((states[0] - states[1])[DIVERGENCE])
    return float(area_mean(made.square(), solver.grid).sqrt())


@pytest.mark.parametrize("with_flow", [False, True])
def test_the_tendency_of_divergence_is_far_smaller_than_without_balance(with_flow):
    solver, flow = start()
    names = ("geopotential", "vorticity", "divergence")
    found = difference(solver.grid, names, "amplitude=0.1,length=2500km")
    assert not found["divergence"].any()
    unbalanced = torch.stack([found[n][0] for n in ("vorticity", "divergence", "geopotential")])
    changes = solver.coefficients(unbalanced)
    other = changes.clone()
    other[GEOPOTENTIAL] = solver.coefficients(found["geopotential"][1])  # of another member
    background = flow if with_flow else torch.zeros_like(flow)
    balanced, without = (divergence_tendency(solver, background, c) for c in (changes, other))
    # In the linear equations only the cut at the solver's highest degree remains; on a flow the
    # products of both do.
    assert balanced < (0.1 if with_flow else 0.005) * without


@pytest.mark.parametrize(
    "grid",
    [Grid.legendre_gauss(16, 32), Grid.equiangular(33, 64)],
    ids=str,
)
def test_winds_are_those_of_the_vorticity_without_divergence(grid):
    names = ("geopotential", "eastward_wind", "northward_wind")
    found = difference(grid, names, "amplitude=0.5,length=3000km", std_step=10.0)
    u, v = found["eastward_wind"], found["northward_wind"]
    vorticity, divergence = vorticity_divergence(u, v, grid)
    assert divergence.abs().max() < 1e-3 * vorticity.abs().max()
    speed = area_mean(u.square() + v.square(), grid).sqrt()
    # Half of the winds' step, sqrt(2) 10 m/s; three members of a few tens of degrees of freedom.
    assert speed.mean().item() == pytest.approx(5 * 2**0.5, rel=0.25)
    assert area_mean(found["geopotential"], grid).abs().max() < 1e-3


def test_the_amplitude_is_that_of_the_vorticity():
    grid = Grid.legendre_gauss(16, 32)
    found = difference(grid, ("geopotential", "vorticity"), "amplitude=0.2,length=1000km")
    std = area_mean(found["vorticity"].square(), grid).mean().sqrt()
    assert std.item() == pytest.approx(0.2e-5, rel=0.2)
