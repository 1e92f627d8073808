"""Comparison of architectures: runs of all kinds of problems, and their tables."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.accuracy.architecture import __main__ as command
from benchmarks.accuracy.architecture import runs
from benchmarks.accuracy.architecture.blocks import BLOCKS, builder
from benchmarks.accuracy.architecture.runs import OPTIONS, PROBLEMS, collect, config_of, run
from benchmarks.accuracy.architecture.table import (
    table_of_rates,
    table_of_test,
    table_of_validation,
)
from sphere_ops.grid import Grid

SMALL = (
    "data.grid.nlat=12", "data.grid.nlon=24", "data.lmax=8", "model.channels=4", "model.blocks=1",
    "data.trajectories={train: 2, validation: 1, test: 0}", "training.steps=2",
    "model.branches.spectral.lmax=8", "model.branches.integral.theta_cutoff=0.8",
    "training.validate_every=2", "training.validation_states=1", "training.batch_size=1",
)  # fmt: skip
OF_STEPS = (
    "data.n_steps=3", "training.validation_rollout=2", "model.dealias_lmax=8",
    "model.branches.integral.fit_lmax=8", "model.branches.differential.fit_lmax=8",
)  # fmt: skip


OF_DARCY = (
    "data.parameters.length=1.2", "data.trajectories={train: 6, validation: 1, test: 0}",
    "data.seed=3",
)  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("weak", "reaction", "darcy"):
        more = (*SMALL, *(OF_DARCY if name == "darcy" else OF_STEPS))
        problem = PROBLEMS[name]
        changed = replace(problem, overrides=(*problem.overrides, *more))
        monkeypatch.setitem(PROBLEMS, name, changed)
    monkeypatch.setattr(runs, "_TEST_COUNTS", "{train: 1, validation: 0, test: 2}")


@pytest.mark.usefixtures("small")
def test_runs_are_measured_once_and_collected(tmp_path: Path) -> None:
    rows = ("half gelu limit 3", "gelu, global, complex")
    for _ in range(2):  # the second time nothing is trained
        for name in ("weak", "reaction", "darcy"):
            for row in rows:
                run(tmp_path, tmp_path, name, row, PROBLEMS[name].rate, 0, test_seed=5)
        collect(tmp_path)
        for package in (tmp_path / "packages").iterdir():
            (package / "model.safetensors").unlink(missing_ok=True)
    content = json.loads((tmp_path / "architecture.json").read_text())
    assert len(content["validation"]) == len(content["test"]) == 6
    for of in content["test"]:
        assert len(of["test"]["relative_l2"]) == 2  # one of each trajectory
        assert of["data"] != next(
            v["data"] for v in content["validation"] if v["problem"] == of["problem"]
        )
    assert table_of_validation(content["validation"]).count("\n") == 3
    assert table_of_test(content["test"]).count("gelu, global, complex") == 3


def test_the_best_rate_of_the_first_seed_is_taken_for_all_seeds_and_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def error(out: Path, data: Path, name: str, row: str, rate: float, *more: int | None) -> float:
        done.append((rate, *more))
        return {0.01: 0.3, 0.02: 0.1, 0.04: float("inf")}[rate]

    monkeypatch.setattr(command, "run", error)
    words = ["--out", str(tmp_path), "--problems", "strong", "--rows", "limit 3", "--factors",
             "1", "2", "4", "--seeds", "5", "6", "--test", "--test-seed", "7"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["architecture", *words])
    command.main()
    assert done[:3] == [(rate, 5, None) for rate in (0.01, 0.02, 0.04)]
    assert done[3:] == [(0.02, 5, 7), (0.02, 6, 7)]


def test_every_row_has_a_configuration() -> None:
    for name, problem in PROBLEMS.items():
        for option in OPTIONS:
            config = config_of(problem, f"limit 3, {option}", 1e-3, 1)
            assert (config.training.learning_rate, config.training.seed) == (1e-3, 1), name
    with pytest.raises(ValueError, match="there is no row 'limit 4'"):
        config_of(PROBLEMS["weak"], "limit 4", 1e-3, 0)


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_block_starts_small_and_learns_from_all_its_weights(kind: str) -> None:
    torch.manual_seed(0)
    config = config_of(PROBLEMS["weak"], kind, 1e-3, 0).model
    grid = Grid.legendre_gauss(32, 64)
    network = builder(kind)(config, 5, 3, grid)
    x = torch.randn(1, config.channels, *grid.shape)
    block = network.blocks[0]
    assert block.mlp(x).std() < x.std()
    block.mlp(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in block.mlp.parameters())


def test_rows_near_the_best_are_bold_and_ratios_have_intervals() -> None:
    def validation(row: str, error: float | None, rate: float = 1.0) -> dict[str, object]:
        found = {} if error is None else {"validation": {"validation/relative_l2": error}}
        return {"problem": "p", "row": row, "rate": rate, "seed": 0, **found}

    runs = [validation("a", 0.5), validation("a", 0.1, 2.0), validation("b", 0.109),
            validation("c", 0.2), validation("d", None)]  # fmt: skip
    lines = table_of_validation(runs).splitlines()[2:]
    assert lines == ["| a | **0.1000** |", "| b | **0.1090** |", "| c | 0.2000 |",
                     "| d | diverges |"]  # fmt: skip
    lines = table_of_rates(runs, "p").splitlines()
    assert lines[0] == "| p, learning rate | 1 | 2 |"
    assert lines[2] == "| a | 0.5000 | **0.1000** |" and lines[-1] == "| d | diverges |  |"
    tests = [
        {"problem": "p", "row": row, "test": {"relative_l2": errors}}
        for row, errors in (("x, global", [0.2, 0.4]), ("x, global, complex", [0.1, 0.3]),
                            ("x", [0.05, 0.15]), ("x", [0.05, 0.15]))
    ]  # fmt: skip
    last = table_of_test(tests).splitlines()[-1]
    assert last == "| p | x | 2 | 0.1000 | 0.1000 to 0.1000 | 0.50 (0.50 to 0.50) |"
