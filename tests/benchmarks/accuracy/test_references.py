"""References against closed forms and against the solver."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.accuracy.study.errors import RelativeL2, truth_of
from benchmarks.accuracy.study.experiments import FORCED, Experiment, prepare, quick
from benchmarks.accuracy.study.references import Flow, climatology, reference_rows
from data_prep.shallow_water import cases
from data_prep.shallow_water.equations import DIVERGENCE, GEOPOTENTIAL, VORTICITY
from data_prep.store.reader import Store
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(12, 24)
START = np.array(["2001-01-01"], dtype="M8[ns]")


def flow(experiment: Experiment, **parameters: float) -> Flow:
    case = {"name": "random", "parameters": parameters}
    return Flow(replace(experiment, cases=(case,)), GRID, experiment.lmax)


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
    linear, solved = small.linear(fields), small.solved(fields, START)
    for _ in range(3):
        one, other = (small.coefficients(next(steps)) for steps in (linear, solved))
        for i in (VORTICITY, DIVERGENCE, GEOPOTENTIAL):
            difference = (one[:, i] - other[:, i]).norm() / other[:, i].norm()
            assert difference < 1e-4  # waves of relative size 1e-6, times the degrees in products
    large = 1e6 * (fields - fields.mean((-2, -1), keepdim=True))
    large[:, 0] += small.solver.physics.mean_geopotential
    one, other = next(small.linear(large)), next(small.solved(large, START))
    assert (one - other)[:, 1].norm() > 1e-3 * other[:, 1].norm()


def test_without_rotation_and_vorticity_a_flow_looks_the_same_in_a_mirror(
    tiny: Experiment,
) -> None:
    state = cases.Experiment("random", {"mach": 2.0}, tiny.lmax).initial_state(1)
    state[VORTICITY] = 0
    for rotation, low, high in ((0.0, 0.0, 1e-9), (7e-5, 1e-3, 2.0)):
        of = flow(tiny, rotation=rotation)
        fields = of.fields(state[None])
        direct, reflected = (next(of.solved(fields, START, reflected=r)) for r in (False, True))
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
    of = truth_of(stores["validation"], "validation")
    rows = reference_rows(tiny, of, stores["train"], error)
    assert list(rows) == ["persistence", "solver T3", "solver T7", "linear", "symmetry"]
    truth = of.scored
    unchanged = error(truth[:, 0], truth[:, 2]).tolist()
    assert rows["persistence"]["errors"][1] == pytest.approx(unchanged, rel=1e-4)
    assert max(map(max, rows["solver T7"]["errors"])) < 1e-4  # float32 states
    for name in ("linear", "solver T3", "symmetry"):
        assert all(1e-3 < e < 2 for of_step in rows[name]["errors"] for e in of_step), name
    for name in ("linear", "solver T3", "solver T7"):
        assert rows[name]["seconds_per_day"] > 0


def test_references_of_a_climate_begin_at_the_times_of_their_states(tmp_path: Path) -> None:
    year = replace(quick(FORCED), spin_up="1d", nlat=16, n_steps=48)
    train, store = (prepare(year, part, tmp_path) for part in ("train", "validation"))
    truth = truth_of(store, "validation", year.leads[-1], every=year.starts_every)
    assert truth.fields.shape[:2] == (24, 3) and len(set(truth.init_time)) == 24
    error = RelativeL2.from_store(train)
    rows = reference_rows(year, truth, train, error)
    assert list(rows) == ["persistence", "solver T3", "solver T7", "climatology"]
    # The daily heating depends on the time: from a wrong one the solver errs as much as any other.
    assert max(map(max, rows["solver T7"]["errors"])) < 1e-4
    later = replace(truth, init_time=truth.init_time + np.timedelta64(12, "h"))
    wrong = reference_rows(year, later, train, error)["solver T7"]["errors"]
    assert min(map(min, wrong)) > 1e-3


def test_the_climatology_is_the_mean_of_the_same_hours_of_the_days_around(
    tiny: Experiment, stores: dict[str, Store]
) -> None:
    train = stores["train"]
    truth = truth_of(train, "train", n_steps=2, every=2)
    daily = replace(tiny, time_step="12h")  # as if the hours of the store were half days
    states = torch.stack([train.states(int(i), 0, 5) for i in train.split_indices("train")])
    mean = next(climatology(truth, train, daily))
    own = states.mean(0)[:, :3]
    torch.testing.assert_close(mean[0], own[1::2].mean(0))
    torch.testing.assert_close(mean[1], own[1::2].mean(0))
