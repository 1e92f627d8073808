"""Runs of the study of long rollouts: configuration, training, rollouts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.accuracy.architecture.runs import PROBLEMS, prepare, validated
from benchmarks.accuracy.records import digest, read, saved, write
from benchmarks.accuracy.stability.measure import Climate, climate, measured
from benchmarks.speed.measure import machine
from configs.load import load_config
from configs.schema import Config
from configs.solvers import ShallowWaterData
from data_prep.shallow_water.generate import generate_shallow_water
from data_prep.store.reader import Store
from forecast.model.package import load_package

ROWS: dict[str, tuple[str, ...]] = {
    "full": (),
    "damped": ("model.persistence=damped",),
    "damped, spectral": ("model.persistence=damped", "training.spectral_loss=0.05"),
    "damped, spectral, two steps": (
        "model.persistence=damped", "training.spectral_loss=0.05", "training.rollout_steps=2",
        "training.rollout_from=0.8",
    ),
    "replay": ("training.replay_steps=40", "training.replay_from=0.2"),
    "damped, spectral, replay": (
        "model.persistence=damped", "training.spectral_loss=0.05", "training.replay_steps=40",
        "training.replay_from=0.2",
    ),
}  # fmt: skip
YEAR = (
    *PROBLEMS["forced"].overrides, "data.n_steps=1460",
    "data.trajectories={train: 4, validation: 1, test: 0}",
)  # fmt: skip
LMAX = 22
"""Truncation of the data, exclusive."""


def config_of(problem: str, row: str, seed: int, training: int) -> Config:
    """Return the configuration of a training."""
    words = YEAR if problem == "year" else PROBLEMS[problem].overrides
    more = (
        "model.mlp_ratio=1.5", f"training.steps={training}", "tracking.enabled=false",
        f"training.learning_rate={PROBLEMS['forced'].rate}", f"training.seed={seed}",
    )  # fmt: skip
    return load_config("swe", (*words, *more, *ROWS[row]))


def year_store(folder: Path) -> Path:
    """Return the store of five years; make it first if it is absent."""
    path = folder / "year.zarr"
    if not path.exists():
        data = load_config("swe", YEAR).data
        assert isinstance(data, ShallowWaterData)
        generate_shallow_water(data, path)
    return path


def _rolled_out(
    head: dict[str, Any], store: Store, package: Path, truth: Climate, n_steps: int
) -> dict[str, Any]:
    """Return the climate of a package, after the entries of `head`; see `measured`."""
    started, limited = time.perf_counter(), head["limiter is"] == "on"
    found = measured(load_package(package), store, truth, n_steps, limited=limited)
    about = {"data": digest(store), "machine": machine()}
    return head | about | found | {"seconds": time.perf_counter() - started}


def _validated(head: dict[str, Any], store: Path, config: Config, package: Path) -> dict[str, Any]:
    """Train once, and return the validation errors after the entries of `head`."""
    return head | validated(store, "limit 3", config, package)


def climate_run(
    out: Path,
    stores: Path,
    row: str,
    seed: int,
    training: int,
    n_steps: int,
    limiters: Sequence[str],
) -> None:
    """Train a row on the years and roll it out.

    Args:
        out: Folder of packages and results.
        stores: Folder of the stores.
        row: Row.
        seed: Seed of the weights and of the order of the batches.
        training: Steps of the training.
        n_steps: Steps of the rollout.
        limiters: "off" and "on": rollouts without and with the limiter.
    """
    path = year_store(stores)
    slug = f"year-{row.replace(', ', '_')}-{training}-{seed}"
    package = out / "packages" / slug
    head = {"problem": "year", "row": row, "seed": seed, "training": training}
    config = config_of("year", row, seed, training)
    record = saved(
        out / "trainings" / f"{slug}.json",
        partial(_validated, head, path, config, package),
    )
    print(f"{slug:36} error {record['validation']['validation/relative_l2']:.4f}", flush=True)
    store = Store(path)
    truth = climate(store, load_package(package), LMAX)
    write(
        out / "truth.json",
        {
            "data": digest(store),
            "lowest": truth.low.tolist(),
            "highest": truth.high.tolist(),
            "power": truth.power.tolist(),
            "largest factor of a trajectory": truth.largest_factor(),
            "integrals": truth.integrals,
        },
    )
    for limiter in limiters:
        make = partial(_rolled_out, head | {"limiter is": limiter}, store, package, truth, n_steps)
        found = saved(out / "rollouts" / f"{slug}-{n_steps}-{limiter}.json", make)
        left, factor = found["left the widened range at"], found.get("largest factor")
        share = found.get("limiter", {}).get("share of steps")
        print(f"    limiter {limiter}: {found['steps']} steps, left at {left}, largest factor "
              f"{factor}, share of steps {share}", flush=True)  # fmt: skip


def accuracy_run(out: Path, stores: Path, problem: str, row: str, seed: int) -> None:
    """Train a row on a problem of the comparison of architectures."""
    path = prepare(problem, stores, stores)
    slug = f"{problem}-{row.replace(', ', '_')}-{seed}"
    config, package = config_of(problem, row, seed, 500), out / "packages" / slug
    head = {"problem": problem, "row": row, "seed": seed}
    make = partial(_validated, head, path, config, package)
    of = saved(out / "accuracy" / f"{slug}.json", make)["validation"]
    errors = [of[f"validation/relative_l2{end}"] for end in ("", "_step_1", "_step_10")]
    print(f"{slug:36}", *(f"{error:.4f}" for error in errors), flush=True)


def collect(out: Path) -> None:
    """Write all results into one file."""
    content: dict[str, Any] = {"rows": ROWS, "year": YEAR}
    for kind in ("trainings", "accuracy", "rollouts"):
        content[kind] = [read(path) for path in sorted((out / kind).glob("*.json"))]
    if (out / "truth.json").exists():
        content["truth"] = read(out / "truth.json")
    write(out / "stability.json", content)
