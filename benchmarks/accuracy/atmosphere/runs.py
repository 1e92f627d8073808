"""Runs of forecasts of the atmosphere: rows, sizes, training and scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.atmosphere.scores import forecast_scores, year_of
from benchmarks.accuracy.peers import PEERS, peer_builder
from benchmarks.accuracy.records import digest
from benchmarks.accuracy.study.sizes import nearest
from benchmarks.speed.measure import machine
from configs.load import load_config
from configs.schema import Config
from data_prep.store.reader import Store
from forecast.model.build import BuildNetwork, build_network
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package, read_description
from forecast.training.tracking.git import git_commit
from forecast.training.train import chosen_part, train

ABSENT = {
    "global": ("integral", "differential"),
    "integral": ("differential",),
    "differential": ("integral",),
    "all": (),
}
ROWS = (*ABSENT, *PEERS)


def config_of(preset: str, row: str, seed: int, overrides: Sequence[str]) -> Config:
    """Return the configuration of a run."""
    words = [*overrides, f"training.seed={seed}", "tracking.enabled=false"]
    words += [f"model.branches.{branch}=null" for branch in ABSENT.get(row, ABSENT["global"])]
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


def trained(config: Config, row: str, data: Path, folder: Path) -> tuple[Forecaster, Store]:
    """Train a row, or go on with it, and return its best weights and the data that it takes."""
    result = train(config, data, folder, resume=True, build=build_of(row))
    if result.stopped_by is not None:
        raise SystemExit(f"{folder} was stopped at step {result.step}; start again to go on")
    forecaster = load_package(folder / "best", build=build_of(row)).eval()
    return forecaster, chosen_part(config, Store(data))


def run(
    config: Config, row: str, data: Path, folder: Path, split: str, *, followed: bool = True
) -> dict[str, Any]:
    """Train a row and measure it; `followed` to the end of the split, too."""
    forecaster, store = trained(config, row, data, folder)
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
        "year": {
            str(on): year_of(forecaster, store, split, limiter=on)
            for on in (True, False)
            if followed
        },
    }


def line(record: dict[str, Any]) -> str:
    """Return a line with the RMSE of z500 over its spread at each lead time."""
    of = record["scores"]["z500"]
    numbers = " ".join(f"{x:.3f}" for x in np.array(of["rmse"]) / of["spread"])
    return f"{record['row']:14} {record['seed']} {record['parameters']:>9,} {numbers}"
