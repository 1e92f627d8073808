"""Long rollouts of the forced climate, with and without the limiter, and the errors of the rows.

    python -m benchmarks.accuracy.stability --out DIR [--stores FOLDER] [--rows NAME ...]
        [--seeds S ...] [--parts climate accuracy] [--problems forced strong] [--limiter off on]
        [--steps N] [--training N]

`climate`: models are trained on four years of the `forced` climate at T21 on 32×64, every 6 hours,
all seasons, and rolled out from a state of a fifth year. A rollout holds if no value leaves the
range of the truth widened by half its width on both sides. Its spectra are compared with the mean
of the truth over the five years, up to degree lmax − 4. With the limiter on, the steps in which it
acts are counted.

`accuracy`: the same rows on the problems `forced` and `strong` of
`benchmarks.accuracy.architecture`, with 500 steps. Its row `limit 3` is the row `full` here.

DIR holds packages, one JSON file for each training and rollout, and stability.json with all of
them. What is there is not done again.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.accuracy.architecture import PROBLEMS, prepare, validated
from benchmarks.accuracy.experiments import digest
from benchmarks.accuracy.stability_measure import Climate, climate, measured
from benchmarks.accuracy.study import saved, write
from benchmarks.speed.measure import machine
from configs.load import load_config
from configs.schema import Config, ShallowWaterData
from data_prep.shallow_water.generate import generate_shallow_water
from data_prep.store.reader import Store
from forecast.model.package import load_package
from sphere_ops.memory import keep_freed_memory

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


def main() -> None:
    """Run what is not done yet and collect the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stores", type=Path, help="folder of the stores; default: DIR")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--parts", nargs="+", default=["climate", "accuracy"],
                        choices=["climate", "accuracy"])  # fmt: skip
    parser.add_argument("--problems", nargs="+", default=["forced", "strong"], choices=PROBLEMS,
                        help="problems of the accuracy")  # fmt: skip
    parser.add_argument("--limiter", nargs="+", default=["off", "on"], choices=["off", "on"])
    parser.add_argument("--steps", type=int, default=10_000, help="steps of the rollouts")
    parser.add_argument("--training", type=int, default=1000,
                        help="optimiser steps of the models for the climate")  # fmt: skip
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    keep_freed_memory()
    stores = args.stores or args.out
    for part in args.parts:
        for seed in args.seeds:
            for row in args.rows:
                if part == "climate":
                    _climate(args, stores, row, seed)
                else:
                    for problem in args.problems:
                        _accuracy(args.out, stores, problem, row, seed)
    collect(args.out)


def _climate(args: argparse.Namespace, stores: Path, row: str, seed: int) -> None:
    """Train a row on the years and roll it out."""
    path, out = year_store(stores), args.out
    slug = f"year-{row.replace(', ', '_')}-{args.training}-{seed}"
    package = out / "packages" / slug
    head = {"problem": "year", "row": row, "seed": seed, "training": args.training}
    config = config_of("year", row, seed, args.training)
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
    for limiter in args.limiter:
        make = partial(
            _rolled_out, head | {"limiter is": limiter}, store, package, truth, args.steps
        )
        found = saved(out / "rollouts" / f"{slug}-{args.steps}-{limiter}.json", make)
        left, factor = found["left the widened range at"], found.get("largest factor")
        share = found.get("limiter", {}).get("share of steps")
        print(f"    limiter {limiter}: {found['steps']} steps, left at {left}, largest factor "
              f"{factor}, share of steps {share}", flush=True)  # fmt: skip


def _accuracy(out: Path, stores: Path, problem: str, row: str, seed: int) -> None:
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
        content[kind] = [
            json.loads(path.read_text()) for path in sorted((out / kind).glob("*.json"))
        ]
    if (out / "truth.json").exists():
        content["truth"] = json.loads((out / "truth.json").read_text())
    write(out / "stability.json", content)


if __name__ == "__main__":
    main()
