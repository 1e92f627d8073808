"""Time per simulated hour of our solver and of torch-harmonics' solver, with their errors."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from benchmarks.speed.measure import Row, interleaved, relative_difference
from configs.solvers import ShallowWaterData, SplitCounts
from data_prep.shallow_water.cases import Experiment
from data_prep.shallow_water.equations import ShallowWater
from data_prep.shallow_water.generate import generate_shallow_water

_HOUR = 3600.0
_LMAX = 43
_OURS = (3600.0, 1800.0, 1200.0)
_PEER = (300.0, 150.0, 75.0)


def speed(runs: int, batch: int) -> list[Row]:
    """Return rows for one hour of random states at T42; the peer solves one state at a time."""
    rows = []
    truth = _truth(batch)
    for dtype in (torch.float64, torch.float32):
        experiment = Experiment("random", {}, _LMAX, dtype)
        states = torch.stack([experiment.initial_state(seed) for seed in range(batch)])
        functions: dict[str, Callable[[], object]] = {}
        errors: dict[str, float] = {}
        for dt in _OURS:
            n = round(_HOUR / dt)
            functions[f"ours {dt:g}"] = partial(experiment.solver.advance, states, 0.0, _HOUR, n)
            errors[f"ours {dt:g}"] = _error(experiment.solver.advance(states, 0.0, _HOUR, n), truth)
        for dt in _PEER:
            peer = _peer(experiment.solver, dt, dtype)
            theirs = _to_peer(experiment.solver, states)
            # One state is enough: the peer's time per trajectory does not depend on their number.
            functions[f"peer {dt:g}"] = partial(peer.timestep, theirs[0], round(_HOUR / dt))
            ends = torch.stack([peer.timestep(x, round(_HOUR / dt)) for x in theirs])
            errors[f"peer {dt:g}"] = _error(_from_peer(experiment.solver, ends), truth)
        timing = interleaved(functions, runs, torch.device("cpu"))
        name = str(dtype).removeprefix("torch.")
        for ours in (f"ours {dt:g}" for dt in _OURS):
            for peer_name in (f"peer {dt:g}" for dt in _PEER):
                mine, other = timing[ours], timing[peer_name]
                rows.append(
                    Row(
                        f"{name}, steps {ours[5:]} s (error {errors[ours]:.1e}) and "
                        f"{peer_name[5:]} s ({errors[peer_name]:.1e})",
                        f"{batch}×T42, 1 h",
                        mine.minimum / batch * 1e3,
                        other.minimum * 1e3,
                        "ShallowWaterSolver",
                        other.minimum * batch / mine.minimum,
                        "ms",
                        None,
                        mine.median / batch * 1e3,
                        other.median * 1e3,
                    )
                )
    return rows


def generator(pairs: int) -> list[Row]:
    """Return the row of the generator: one-hour pairs at 64×128, written to a store."""
    _generated(8, "float64")  # tables, and what is imported at the first use
    rows = []
    for dtype in ("float64", "float32"):
        seconds, bound = _generated(pairs, dtype), 10.0 * pairs / 1000
        name = f"{pairs} pairs one hour apart, {dtype}"
        rows.append(Row(name, "64×128, T42", seconds, bound, "bound", bound / seconds, "s"))
    return rows


def _generated(pairs: int, dtype: Literal["float32", "float64"]) -> float:
    """Return the time to make a store of pairs, s."""
    config = ShallowWaterData(
        trajectories=SplitCounts(train=pairs, validation=0, test=0), n_steps=1, dtype=dtype
    )
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        generate_shallow_water(config, Path(folder) / "pairs.zarr")
        return time.perf_counter() - start


def _truth(batch: int) -> Tensor:
    """Return the states after an hour in steps of 30 s, in double precision."""
    experiment = Experiment("random", {}, _LMAX)
    states = torch.stack([experiment.initial_state(seed) for seed in range(batch)])
    return experiment.solver.advance(states, 0.0, _HOUR, 120)


def _error(states: Tensor, truth: Tensor) -> float:
    """Return the relative l2 error, averaged over vorticity, divergence and height."""
    errors = [relative_difference(states[:, i], truth[:, i]) for i in range(3)]
    return math.sqrt(sum(e**2 for e in errors) / 3)


def _peer(solver: ShallowWater, dt: float, dtype: torch.dtype):  # type: ignore[no-untyped-def]
    """Return the peer with the same grid, truncation, planet and diffusion (∇⁸, 2 h)."""
    from torch_harmonics.examples.shallow_water_equations import ShallowWaterSolver

    planet, grid = solver.physics.planet, solver.grid
    peer = ShallowWaterSolver(
        grid.nlat, grid.nlon, dt, lmax=_LMAX, mmax=_LMAX, grid="legendre-gauss",
        radius=planet.radius, omega=planet.rotation, gravity=planet.gravity,
    )  # fmt: skip
    return peer.to(dtype)


def _to_peer(solver: ShallowWater, states: Tensor) -> Tensor:
    """Return φ with its mean, ζ and δ, without the Condon-Shortley phase."""
    phase = (-1.0) ** torch.arange(_LMAX, dtype=solver.dtype)
    theirs = states[:, [2, 0, 1]] * phase
    theirs[:, 0, 0, 0] += solver.physics.mean_geopotential * math.sqrt(4 * math.pi)
    return theirs


def _from_peer(solver: ShallowWater, states: Tensor) -> Tensor:
    phase = (-1.0) ** torch.arange(_LMAX, dtype=solver.dtype)
    ours = states[:, [1, 2, 0]] * phase
    ours[:, 2, 0, 0] -= solver.physics.mean_geopotential * math.sqrt(4 * math.pi)
    return ours
