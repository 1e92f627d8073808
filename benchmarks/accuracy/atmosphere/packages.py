"""Forecasts of trained packages on a split of another store of the same variables.

    python -m benchmarks.accuracy.atmosphere.packages PACKAGE ... --names NAME ... --data STORE
        [--split validation|test] [--splits YAML] --json FILE

The forecasts, scores and references are those of `benchmarks.accuracy.atmosphere`. The store may be
longer than that of the training, so that models of several stores are compared on the same states.
A package may be a cascade, such as `short/best,1d,long/best`. The forecasts of packages with the
same name are averaged.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.accuracy.atmosphere.runs import line
from benchmarks.accuracy.atmosphere.scores import LEADS, forecast_scores, references
from benchmarks.accuracy.records import digest, write
from benchmarks.speed.measure import machine
from configs.schema import SplitRanges
from data_prep.store.reader import Store
from forecast.inference.models.packages import PackageSpec
from forecast.model.package import load_package, read_description, weights_digest
from forecast.training.tracking.git import git_commit
from sphere_ops.memory import keep_freed_memory


def scored(texts: Sequence[str], name: str, store: Store, split: str) -> dict[str, Any]:
    """Return the scores of the mean forecast of packages or cascades.

    Raises:
        ValueError: if the store has other channels.
    """
    named = [PackageSpec(text) for text in texts]
    models = [of.load() for of in named]
    theirs = tuple(v.name for v in store.channels if v.role != "forcing")
    for of, model in zip(named, models, strict=True):
        if model.channel_names != theirs:
            raise ValueError(
                f"{of.name} forecasts {', '.join(model.channel_names)}, but {store.path} has "
                f"{', '.join(theirs)}; give a store with the same channels in the same order"
            )
    about = described(texts)
    return {
        "row": name,
        **about,
        "seed": about["models"][0]["seed"],
        "parameters": sum(model["parameters"] for model in about["models"]),
        "scores": forecast_scores(models, store, split),
    }


def described(texts: Sequence[str]) -> dict[str, Any]:
    """Describe the members of an ensemble, and the models in them by their places.

    Args:
        texts: Packages or cascades.
    """
    named = [PackageSpec(text) for text in texts]
    folders = list(dict.fromkeys(str(folder) for of in named for folder in of.packages))
    return {
        "members": [
            of.with_ends([str(folders.index(str(f))) for f in of.packages]) for of in named
        ],
        "models": [_about(Path(folder)) for folder in folders],
    }


def _about(package: Path) -> dict[str, Any]:
    """Describe a model."""
    forecaster, training = load_package(package), read_description(package)["training"]
    return {
        "seed": training["configuration"]["seed"],
        "weights": weights_digest(package),
        "parameters": sum(forecaster.network.parameter_counts().values()),
        "configuration": forecaster.config.model_dump(mode="json"),
    }


def arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add arguments for named packages and a split of a store, and parse the command line."""
    parser.add_argument("packages", nargs="+", metavar="PACKAGE")
    parser.add_argument("--names", nargs="+", required=True)
    parser.add_argument("--data", type=Path, required=True, help="store of `forecast data gcm`")
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    parser.add_argument("--splits", help="time ranges of the splits, in place of the store's, YAML")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    if len(args.names) != len(args.packages):
        parser.error(f"{len(args.names)} names for {len(args.packages)} packages")
    return args


def store_of(args: argparse.Namespace) -> Store:
    """Return the store of a command line, with its splits."""
    store = Store(args.data)
    if args.splits is None:
        return store
    return store.select(splits=SplitRanges.model_validate(yaml.safe_load(args.splits)))


def main() -> None:
    """Score the packages and write one file."""
    args = arguments(argparse.ArgumentParser(description=__doc__.split("\n")[0]))
    keep_freed_memory()
    store = store_of(args)
    rows: dict[str, list[str]] = {}
    for package, name in zip(args.packages, args.names, strict=True):
        rows.setdefault(name, []).append(package)
    runs = []
    for name, texts in rows.items():
        runs.append(scored(texts, name, store, args.split))
        print(line(runs[-1]), flush=True)
    about: dict[str, Any] = {"commit": git_commit(), "machine": machine(), "data": digest(store)}
    about |= {"split": args.split, "splits": args.splits, "leads_hours": list(LEADS)}
    write(args.json, about | {"references": references(store, args.split), "runs": runs})


if __name__ == "__main__":
    main()
