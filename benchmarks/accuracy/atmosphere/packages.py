"""Forecasts of trained packages on a split of another store of the same variables.

    python -m benchmarks.accuracy.atmosphere.packages PACKAGE ... --names NAME ... --data STORE
        [--split validation|test] --json FILE

The forecasts, scores and references are those of `benchmarks.accuracy.atmosphere`. The store may be
longer than that of the training, so that models of several stores are compared on the same states.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.accuracy.atmosphere.runs import line
from benchmarks.accuracy.atmosphere.scores import LEADS, forecast_scores, references
from benchmarks.accuracy.records import digest, write
from benchmarks.speed.measure import machine
from data_prep.store.reader import Store
from forecast.model.package import load_package, read_description, weights_digest
from forecast.training.tracking.git import git_commit
from sphere_ops.memory import keep_freed_memory


def scored(package: Path, name: str, store: Store, split: str) -> dict[str, Any]:
    """Return the scores of a package; raise ValueError if the store has other channels."""
    forecaster = load_package(package).eval()
    theirs = tuple(v.name for v in store.channels if v.role != "forcing")
    if forecaster.channel_names != theirs:
        raise ValueError(
            f"{package} forecasts {', '.join(forecaster.channel_names)}, but {store.path} has "
            f"{', '.join(theirs)}; give a store with the same channels in the same order"
        )
    training = read_description(package)["training"]
    return {
        "row": name,
        "seed": training["configuration"]["seed"],
        "weights": weights_digest(package),
        "parameters": sum(forecaster.network.parameter_counts().values()),
        "configuration": forecaster.config.model_dump(mode="json"),
        "scores": forecast_scores(forecaster, store, split),
    }


def arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add arguments for named packages and a split of a store, and parse the command line."""
    parser.add_argument("packages", nargs="+", type=Path, metavar="PACKAGE")
    parser.add_argument("--names", nargs="+", required=True)
    parser.add_argument("--data", type=Path, required=True, help="store of `forecast data gcm`")
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    if len(args.names) != len(args.packages):
        parser.error(f"{len(args.names)} names for {len(args.packages)} packages")
    return args


def main() -> None:
    """Score the packages and write one file."""
    args = arguments(argparse.ArgumentParser(description=__doc__.split("\n")[0]))
    keep_freed_memory()
    store = Store(args.data)
    runs = []
    for package, name in zip(args.packages, args.names, strict=True):
        runs.append(scored(package, name, store, args.split))
        print(line(runs[-1]), flush=True)
    about: dict[str, Any] = {"commit": git_commit(), "machine": machine(), "data": digest(store)}
    about |= {"split": args.split, "leads_hours": list(LEADS)}
    write(args.json, about | {"references": references(store, args.split), "runs": runs})


if __name__ == "__main__":
    main()
