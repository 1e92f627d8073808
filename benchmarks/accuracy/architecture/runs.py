"""Runs of the comparison of architectures: configuration, training, errors."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.architecture.blocks import BLOCKS, builder
from benchmarks.accuracy.records import digest, read, saved, write
from benchmarks.speed.measure import machine
from configs.load import load_config
from configs.schema import Config
from data_prep.store.reader import Store
from forecast.model.package import load_package, read_description
from forecast.training.samples.batches import Windows
from forecast.training.train import chosen_part, train
from forecast.training.trainer import Trainer

_GRID = (
    "data.grid={kind: legendre-gauss, nlat: 32, nlon: 64}", "data.lmax=22",
    "model.branches.spectral.lmax=32", "model.branches.integral.theta_cutoff=0.3",
    "model.branches.integral.fit_lmax=22", "model.branches.differential.fit_lmax=22",
    "model.dealias_lmax=22", "training.steps=500", "training.batch_size=4",
)  # fmt: skip
TEST_SEED = 2402
"""Default seed of the test trajectories, which is used for nothing else."""
_TEST_COUNTS = "{train: 1, validation: 0, test: 16}"


@dataclass(frozen=True)
class Problem:
    """A small problem.

    Attributes:
        preset: Preset that is changed.
        overrides: Changes of it.
        rate: Learning rate that is tried first.
        file: Name of a file of observations in the folder of data; None if a solver makes them.
    """

    preset: str
    overrides: tuple[str, ...]
    rate: float
    file: str | None = None


def _swe(mach: float, *more: str) -> tuple[str, ...]:
    case = f"{{name: random, parameters: {{mach: {mach}, height_amplitude: {600 * mach}}}}}"
    return (*_GRID, f"data.cases=[{case}]", "data.time_step=2h",
            "data.trajectories={train: 60, validation: 8, test: 0}", *more)  # fmt: skip


PROBLEMS = {
    "weak": Problem("swe", _swe(0.2), 1e-2),
    "strong": Problem("swe", _swe(2.0, "data.spin_up=1d"), 1e-2),
    "forced": Problem("swe", (
        *_GRID, "data.cases=[{name: forced}]", "data.time_step=6h", "data.spin_up=90d",
        "data.trajectories={train: 8, validation: 2, test: 0}", "data.n_steps=160",
        "model.static=[sin_latitude, cos_latitude, orography]",
        "model.forcing=[insolation, sin_year, cos_year]",
        "training.validation_states=16",
    ), 1e-2),
    "barotropic": Problem("barotropic", (
        *_GRID, "data.trajectories={train: 60, validation: 8, test: 0}"), 1e-2),
    "reaction": Problem("reaction", (
        *_GRID, "data.trajectories={train: 60, validation: 8, test: 0}"), 1e-2),
    "darcy": Problem("darcy", (
        *_GRID[:1], "data.lmax=65", *_GRID[2:4], "training.steps=1000",
        "data.trajectories={train: 400, validation: 50, test: 0}"), 2e-3),
    "sst": Problem("sst", (), 6e-3, "cobe2_sst_monthly_1950-2009_2deg.nc"),
}  # fmt: skip
OPTIONS: dict[str, tuple[str, ...]] = {
    "no integral": ("model.branches.integral=null",),
    "no differential": ("model.branches.differential=null",),
    "global": ("model.branches.integral=null", "model.branches.differential=null"),
    "complex": ("model.branches.spectral.complex=true",),
    "second order": ("model.branches.differential.order=2",),
    "truncated": ("model.branches.spectral.lmax=8",),
    "aliased": ("model.dealias_lmax=null",),
    "2 blocks": ("model.blocks=2", "model.channels=46"),
    "8 blocks": ("model.blocks=8", "model.channels=23"),
    "longitude": (),  # in addition to the static inputs of the problem
    "adamw": ("training.optimizer=adamw",),
    "muon": ("training.optimizer=muon",),
}


def config_of(problem: Problem, row: str, rate: float, seed: int) -> Config:
    """Return the configuration of a run.

    Raises:
        ValueError: if the row has an unknown option.
    """
    kind, *options = row.split(", ")
    wrong = [option for option in options if option not in OPTIONS]
    if wrong or kind not in BLOCKS:
        raise ValueError(
            f"there is no row {row!r}; it is one of {', '.join(BLOCKS)}, and options of "
            f"{', '.join(OPTIONS)}"
        )
    words = [*problem.overrides, f"model.mlp_ratio={BLOCKS[kind].ratio}"]
    words += [word for option in options for word in OPTIONS[option]]
    if "longitude" in options:
        static = load_config(problem.preset, problem.overrides).model.static
        words.append(f"model.static=[{', '.join((*static, 'sin_longitude', 'cos_longitude'))}]")
    words += [f"training.learning_rate={rate}", f"training.seed={seed}", "tracking.enabled=false"]
    return load_config(problem.preset, words)


def prepare(name: str, folder: Path, data: Path, test_seed: int | None = None) -> Path:
    """Return the store of a problem; make it first if it is absent.

    Args:
        name: Name of the problem.
        folder: Folder of the stores.
        data: Folder with the files of observations, at any depth.
        test_seed: Seed of the test trajectories; None for the other splits. Observations have all
            splits in one store.
    """
    problem = PROBLEMS[name]
    part = f"-test-{test_seed}" if test_seed is not None and problem.file is None else ""
    path = folder / f"{name}{part}.zarr"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    more = (f"data.seed={test_seed}", f"data.trajectories={_TEST_COUNTS}") if part else ()
    config = load_config(problem.preset, (*problem.overrides, *more))
    of = config.data
    if of.source == "files":
        from data_prep.ingest.run import ingest

        (source,) = data.rglob(str(problem.file))
        ingest([str(source)], of, path, table=config.table)
    elif of.source == "shallow_water":
        from data_prep.shallow_water.generate import generate_shallow_water

        generate_shallow_water(of, path)
    else:
        from data_prep.equations.generate import generate

        generate(of, path)
    return path


def validated(store: Path, row: str, config: Config, package: Path) -> dict[str, Any]:
    """Train once, and keep the best package.

    Returns:
        Validation errors of the best package, or the reason that there is none.
    """
    started = time.perf_counter()
    about = {"data": digest(Store(store)), "machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        try:
            result = train(config, store, out, build=builder(row.split(", ")[0]))
        except ValueError as error:
            if "not finite" not in str(error):
                raise
            return about | {"diverged": str(error)}
        if result.stopped_by is not None:
            raise SystemExit(f"stopped at step {result.step}; start again to go on")
        shutil.copytree(out / "best", package, dirs_exist_ok=True)
    errors = read_description(package)["training"]["validation"]
    return about | {"validation": errors, "seconds": time.perf_counter() - started}


def tested(store: Path, row: str, config: Config, package: Path) -> dict[str, Any]:
    """Return the errors of a package on test trajectories, or on years of observations."""
    forecaster = load_package(package, build=builder(row.split(", ")[0]))
    trainer, chosen = Trainer(forecaster, config.training), chosen_part(config, Store(store))
    windows = Windows(chosen, "test", config.training.validation_rollout, config.model.n_history)
    of = windows.starts[:, 0]
    if not chosen.has_trajectories:
        of = chosen.time[of].astype("M8[Y]").astype(int)
    errors: list[dict[str, float]] = []
    for group in np.unique(of):
        indices = np.flatnonzero(of == group)
        errors.append(trainer.validate(windows, indices[:: max(1, len(indices) // 8)].tolist()))
    names = {key.removeprefix("validation/"): key for key in errors[0]}
    return {
        "data": digest(Store(store)),
        "test": {name: [e[key] for e in errors] for name, key in names.items()},
    }


def run(
    out: Path, data: Path, name: str, row: str, rate: float, seed: int, test_seed: int | None
) -> float:
    """Do a run if it is not done, and print its errors.

    Args:
        out: Folder of stores, packages and results.
        data: Folder with the files of observations.
        name: Name of the problem.
        row: Kind of block and options.
        rate: Learning rate.
        seed: Seed of the weights and of the order of the batches.
        test_seed: Seed of the test trajectories; None to leave them alone.

    Returns:
        The validation error; infinity if the training diverged.
    """
    store = prepare(name, out, data)
    config = config_of(PROBLEMS[name], row, rate, seed)
    slug = f"{name}-{row.replace(', ', '_').replace(' ', '-')}-{rate:g}-{seed}"
    package = out / "packages" / slug
    head = {"problem": name, "row": row, "rate": rate, "seed": seed}
    record = saved(
        out / "validation" / f"{slug}.json", lambda: head | validated(store, row, config, package)
    )
    of = record.get("validation")
    value = float(of["validation/relative_l2"]) if of else math.inf
    error = f"{value:.4f}" if of else "diverged"
    if of and test_seed is not None:
        found = saved(
            out / "test" / f"{slug}-{test_seed}.json",
            lambda: (
                head
                | {"test_seed": test_seed}
                | tested(prepare(name, out, data, test_seed), row, config, package)
            ),
        )
        error += f", test {np.mean(found['test']['relative_l2']):.4f}"
    print(f"{name:12} {row:32} {rate:7g} {seed} {error}", flush=True)
    return value


def collect(out: Path) -> None:
    """Write all runs into one file, with the settings of each problem."""
    content: dict[str, Any] = {
        "problems": {name: asdict(problem) for name, problem in PROBLEMS.items()},
        "options": OPTIONS,
    }
    for split in ("validation", "test"):
        paths = sorted((out / split).glob("*.json"))
        content[split] = [read(path) for path in paths]
    write(out / "architecture.json", content)
