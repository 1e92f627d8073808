"""Runs of forecasts of the atmosphere: learning rate, training and scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.atmosphere.rows import build_of, config_of
from benchmarks.accuracy.atmosphere.scores import forecast_scores, year_of
from benchmarks.accuracy.records import digest, saved
from benchmarks.speed.measure import machine
from configs.schema import Config
from data_prep.store.reader import Store
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package, read_description
from forecast.training.tracking.git import git_commit
from forecast.training.train import chosen_part, train


def trained(config: Config, row: str, data: Path, folder: Path) -> tuple[Forecaster, Store]:
    """Train a row, or go on with it.

    Returns:
        Its best weights, and the data to score it on.
    """
    result = train(config, data, folder, resume=True, build=build_of(row))
    if result.stopped_by is not None:
        raise SystemExit(f"{folder} was stopped at step {result.step}; start again to go on")
    forecaster = load_package(folder / "best", build=build_of(row)).eval()
    return forecaster, scored_part(config, Store(data))


def scored_part(config: Config, store: Store) -> Store:
    """Return the part of a store that a configuration describes, at all times of the store."""
    section = config.data.model_copy(update={"time_step": store.time_step.label})
    return chosen_part(config.model_copy(update={"data": section}), store)


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
        "scores": forecast_scores([forecaster], store, split),
        "year": {
            str(on): year_of(forecaster, store, split, limiter=on)
            for on in (True, False)
            if followed
        },
    }


def best_rate(
    row: str, preset: str, words: Sequence[str], seed: int, rates: Sequence[float],
    more: Sequence[str], data: Path, out: Path,
) -> list[str]:  # fmt: skip
    """Return an override with the learning rate of the least validation error; none without rates.

    Args:
        row: Name of the row.
        preset: Name of the preset.
        words: Overrides of all trainings of the row.
        seed: Seed of the trainings.
        rates: Rates to try.
        more: Further overrides of the trainings that find the rate.
        data: Store.
        out: Folder of these trainings, and of a file of errors for each.
    """

    def errors(rate: float) -> dict[str, Any]:
        tried = [*words, *more, f"training.learning_rate={rate:g}"]
        config = config_of(preset, row, seed, tried)
        folder = out / f"{row}-{rate:g}-{seed}"
        try:
            trained(config, row, data, folder)
        except ValueError as error:
            if "not finite" not in str(error):
                raise
            return {"diverged": str(error)}
        about = read_description(folder / "best")["training"]
        return {"validation": about["validation"], "overrides": tried, "commit": git_commit()}

    found = [saved(out / f"{row}-{r:g}-{seed}.json", partial(errors, r)) for r in rates]
    values = [r.get("validation", {}).get("validation/relative_l2", math.inf) for r in found]
    return [f"training.learning_rate={rates[int(np.argmin(values))]:g}"] if values else []


def line(record: dict[str, Any]) -> str:
    """Return a line with the RMSE of z500 over its spread at each lead time."""
    of = record["scores"]["z500"]
    numbers = " ".join(f"{x:.3f}" for x in np.array(of["rmse"], float) / of["spread"])
    return f"{record['row']:14} {record['seed']} {record['parameters']:>9,} {numbers}"
