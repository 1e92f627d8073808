"""Forecasts of the atmosphere of the circulation model: branches, peers, references.

    python -m benchmarks.accuracy.atmosphere --data STORE --out DIR [--preset NAME]
        [--rows NAME ...] [--seeds S ...] [--split validation|test]
        [--overrides KEY=VALUE ...]

Rows are `global` (a complex kernel), `integral`, `differential` and `all`, and the peers `sfno` and
`lsno` of torch-harmonics inside our forecaster, with about as many parameters as `all`. A run is
trained by the preset with the overrides, and forecasts evenly spaced states of the split for 15
days; then one state is followed to the end of the split. DIR has a run folder and a JSON file for
each row and seed; what is there is not done again, and an interrupted training goes on.
DIR/atmosphere.json collects all.

References are persistence, the monthly climatology of the training years, and damped persistence:
departures from that climatology times the regression at each lead time, one number for each
channel, fitted to the training years.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.atmosphere_scores import LEADS, forecast_scores, references, year_of
from benchmarks.accuracy.experiments import digest
from benchmarks.accuracy.peers import PEERS, peer_builder
from benchmarks.accuracy.sizes import nearest
from benchmarks.accuracy.study import saved, write
from benchmarks.speed.measure import machine
from configs.load import load_config
from configs.schema import Config
from data_prep.store.reader import Store
from forecast.model.build import BuildNetwork, build_network
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package, read_description
from forecast.training.tracking.git import git_commit
from forecast.training.train import chosen_part, train
from sphere_ops.memory import keep_freed_memory

_ABSENT = {
    "global": ("integral", "differential"),
    "integral": ("differential",),
    "differential": ("integral",),
    "all": (),
}
ROWS = (*_ABSENT, *PEERS)


def config_of(preset: str, row: str, seed: int, overrides: Sequence[str]) -> Config:
    """Return the configuration of a run."""
    words = [*overrides, f"training.seed={seed}", "tracking.enabled=false"]
    words += [f"model.branches.{branch}=null" for branch in _ABSENT.get(row, _ABSENT["global"])]
    if row == "global":
        words.append("model.branches.spectral.complex=true")
    return load_config(preset, words)


def build_of(row: str) -> BuildNetwork:
    """Return the function that builds the network of a row."""
    return peer_builder(row) if row in PEERS else build_network


def sized(row: str, preset: str, overrides: Sequence[str], store: Store) -> list[str]:
    """Return the overrides with the channels of a peer that has about the parameters of `all`."""
    if row not in PEERS:
        return list(overrides)

    def parameters(row: str, words: Sequence[str]) -> int:
        model = config_of(preset, row, 0, words).model
        network = Forecaster.from_store(model, store, build_of(row)).network
        return sum(network.parameter_counts().values())

    target = parameters("all", overrides)
    more = [*overrides, "model.mlp_ratio=2"]
    channels = nearest(lambda n: parameters(row, [*more, f"model.channels={n}"]), target)
    return [*more, f"model.channels={channels}"]


def run(config: Config, row: str, data: Path, folder: Path, split: str) -> dict[str, Any]:
    """Train a row and measure it."""
    result = train(config, data, folder, resume=True, build=build_of(row))
    if result.stopped_by is not None:
        raise SystemExit(f"{folder} was stopped at step {result.step}; start again to go on")
    forecaster = load_package(folder / "best", build=build_of(row)).eval()
    store = chosen_part(config, Store(data))
    counts = forecaster.network.parameter_counts()
    about = read_description(folder / "best")["training"]
    return {
        "row": row,
        "seed": config.training.seed,
        "split": split,
        "commit": git_commit(),
        "machine": machine(),
        "data": digest(Store(data)),
        "parameters": sum(counts.values()),
        "configuration": config.model_dump(mode="json", include={"model", "training"}),
        "validation": about["validation"],
        "scores": forecast_scores(forecaster, store, split),
        "year": {str(on): year_of(forecaster, store, split, limiter=on) for on in (True, False)},
    }


def main() -> None:
    """Run what is not done yet and collect the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="store of `forecast data gcm`")
    parser.add_argument("--out", type=Path, required=True, help="folder, made if absent")
    parser.add_argument("--preset", default="atmosphere")
    parser.add_argument("--rows", nargs="+", default=list(_ABSENT), choices=ROWS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    keep_freed_memory()
    (args.out / args.split).mkdir(parents=True, exist_ok=True)
    plain = config_of(args.preset, "all", 0, args.overrides)
    store = chosen_part(plain, Store(args.data))
    found = saved(args.out / args.split / "references.json", lambda: references(store, args.split))
    for seed in args.seeds:
        for row in args.rows:
            path = args.out / args.split / f"{row}-{seed}.json"
            if not path.exists():
                words = sized(row, args.preset, args.overrides, store)
                config = config_of(args.preset, row, seed, words)
                write(path, run(config, row, args.data, args.out / f"{row}-{seed}", args.split))
            print(line(json.loads(path.read_text())), flush=True)
    runs = [
        json.loads(path.read_text())
        for path in sorted((args.out / args.split).glob("*-[0-9]*.json"))
    ]
    about = {"preset": args.preset, "overrides": args.overrides, "leads_hours": list(LEADS)}
    write(args.out / "atmosphere.json", about | {"references": found, "runs": runs})


def line(record: dict[str, Any]) -> str:
    """Return a line with the RMSE of z500 over its spread at each lead time."""
    of = record["scores"]["z500"]
    numbers = " ".join(f"{x:.3f}" for x in np.array(of["rmse"]) / of["spread"])
    return f"{record['row']:14} {record['seed']} {record['parameters']:>9,} {numbers}"


if __name__ == "__main__":
    main()
