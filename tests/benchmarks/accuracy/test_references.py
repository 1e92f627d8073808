"""References against closed forms and against the solver."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from benchmarks.accuracy.errors import RelativeL2, truth_of
from benchmarks.accuracy.experiments import Experiment
from benchmarks.accuracy.references import Flow, reference_rows
from data_prep.shallow_water import cases
from data_prep.shallow_water.equations import DIVERGENCE, GEOPOTENTIAL, VORTICITY
from data_prep.store.reader import Store
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(12, 24)


def flow(experiment: Experiment, **parameters: float) -> Flow:
    case = {"name": "random", "parameters": parameters}
    return Flow(replace(experiment, case=case), GRID, experiment.lmax)


def test_a_gravity_wave_of_the_linear_reference_oscillates_at_its_frequency(
    tiny: Experiment,
) -> None:
    at_rest = flow(tiny, rotation=0.0, hyperdiffusion_hours=0.0)
    degree, amplitude = 4, 30.0
    state = torch.zeros(1, 3, tiny.lmax, tiny.lmax, dtype=torch.complex128)
    state[0, GEOPOTENTIAL, degree, 2] = amplitude * (1 + 0.5j)
    start, steps = at_rest.fields(state), at_rest.linear(at_rest.fields(state))
    physics = at_rest.solver.physics
    rate = math.sqrt(physics.mean_geopotential * degree * (degree + 1)) / physics.planet.radius
    for n in range(1, 4):
        anomaly = next(steps)[:, 0] - physics.mean_geopotential
        expected = (start[:, 0] - physics.mean_geopotential) * math.cos(rate * n * 3600)
        torch.testing.assert_close(anomaly, expected, rtol=1e-8, atol=1e-8)


def test_the_linear_reference_is_the_solver_for_small_waves(tiny: Experiment) -> None:
    small = flow(tiny)
    initial = 1e-6 * cases.Experiment("random", {}, tiny.lmax).initial_state(3)
    fields = small.fields(initial[None])
    torch.testing.assert_close(small.coefficients(fields)[0], initial, rtol=1e-9, atol=1e-11)
    linear, solved = small.linear(fields), small.solved(fields)
    for _ in range(3):
        one, other = (small.coefficients(next(steps)) for steps in (linear, solved))
        for i in (VORTICITY, DIVERGENCE, GEOPOTENTIAL):
            difference = (one[:, i] - other[:, i]).norm() / other[:, i].norm()
            assert difference < 1e-4  # waves of relative size 1e-6, times the degrees in products
    large = 1e6 * (fields - fields.mean((-2, -1), keepdim=True))
    large[:, 0] += small.solver.physics.mean_geopotential
    one, other = next(small.linear(large)), next(small.solved(large))
    assert (one - other)[:, 1].norm() > 1e-3 * other[:, 1].norm()


def test_without_rotation_and_vorticity_a_flow_looks_the_same_in_a_mirror(
    tiny: Experiment,
) -> None:
    state = cases.Experiment("random", {"mach": 2.0}, tiny.lmax).initial_state(1)
    state[VORTICITY] = 0
    for rotation, low, high in ((0.0, 0.0, 1e-9), (7e-5, 1e-3, 2.0)):
        of = flow(tiny, rotation=rotation)
        fields = of.fields(state[None])
        direct, reflected = next(of.solved(fields)), next(of.solved(fields, reflected=True))
        assert (direct - fields)[:, 2].norm() > 0.1 * fields[:, 2].norm()
        difference = (direct - reflected)[:, 2].norm() / direct[:, 2].norm()
        assert low <= difference <= high


def test_reflected_fields_are_those_at_the_opposite_longitude(tiny: Experiment) -> None:
    of = flow(tiny)
    fields = of.fields(cases.Experiment("random", {}, tiny.lmax).initial_state(1)[None])
    opposite = torch.roll(fields.flip(-1), 1, dims=-1)
    mirrored = of.fields(of.coefficients(fields).conj().resolve_conj())
    torch.testing.assert_close(mirrored, opposite, rtol=1e-9, atol=1e-9)


def test_references_of_an_experiment(tiny: Experiment, stores: dict[str, Store]) -> None:
    error = RelativeL2.from_store(stores["train"])
    rows = reference_rows(tiny, stores["validation"], "validation", error)
    assert list(rows) == ["persistence", "linear", "solver T3", "solver T7", "symmetry"]
    truth = truth_of(stores["validation"], "validation")[:, :, :3]
    unchanged = error(truth[:, 0], truth[:, 2]).tolist()
    assert rows["persistence"]["errors"][1] == pytest.approx(unchanged, rel=1e-4)
    assert max(map(max, rows["solver T7"]["errors"])) < 1e-4  # float32 states
    for name in ("linear", "solver T3", "symmetry"):
        assert all(1e-3 < e < 2 for of_step in rows[name]["errors"] for e in of_step), name
    for name in ("linear", "solver T3", "solver T7"):
        assert rows[name]["seconds_per_day"] > 0
