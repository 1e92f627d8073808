"""Runs of the preset `sst`, the linear forecasts, and the records of both."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.records import digest, write
from benchmarks.accuracy.sst.bands import LEADS, measure_bands, rounded
from benchmarks.accuracy.sst.references import REFERENCES, Series
from benchmarks.speed.measure import machine
from configs.schema import Config
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.training.train import train
from forecast.verification.evaluate import MODEL, score
from forecast.verification.regions import GLOBAL
from forecast.verification.truth import Truth


@dataclass
class Result:
    """Measurements of one run; lists are over `LEADS`, in months.

    Attributes:
        overrides: Overrides of the preset, without the seed.
        seed: Seed of the weights and of the order of the batches.
        split: Split of the initial states.
        configuration: Settings of the model and of the training.
        validation: Errors of the measured package on the validation split.
        rmse: Root mean square error of the forecast, °C.
        rmse_of: Root mean square error of the baselines, by name, °C.
        squares: Mean square error over the ocean of each forecast, °C²; NaN without a truth.
        bands: Spectral measurements by band of degrees; see `measure_bands`.
    """

    overrides: list[str]
    seed: int
    split: str
    configuration: dict[str, Any]
    validation: dict[str, float]
    rmse: list[float]
    rmse_of: dict[str, list[float]]
    squares: list[list[float]]
    bands: dict[str, dict[str, list[float]]]


def run(config: Config, overrides: Sequence[str], split: str, data: Path) -> Result:
    """Train, forecast and measure."""
    with tempfile.TemporaryDirectory() as folder:
        out, forecast = Path(folder, "run"), Path(folder, "forecast.nc")
        train(config, data, out)
        run_rollout(out / "best", data, forecast, split=split, n_steps=LEADS[-1])
        file, store = ForecastFile(forecast), Store(data)
        of_sst = {"channel": "sst", "region": GLOBAL}
        rmse = score(Truth(file, store)).rmse.sel(of_sst).isel(lead_time=list(LEADS))
        squares, bands = model_squares(file, store), measure_bands(file, store)
        description = json.loads((out / "best" / "package.json").read_text())
        file.dataset.close()
    return Result(
        overrides=list(overrides),
        seed=config.training.seed,
        split=split,
        configuration=config.model_dump(mode="json", include={"model", "training"}),
        validation=description["training"]["validation"],
        rmse=rounded(rmse.sel(forecast=MODEL)),
        rmse_of={
            str(name): rounded(rmse.sel(forecast=name))
            for name in rmse.forecast.values
            if name != MODEL
        },
        squares=squares.round(5).tolist(),
        bands=bands,
    )


def model_squares(file: ForecastFile, store: Store) -> NDArray[np.float64]:
    """Return the mean square error over the ocean of each forecast, (lead, start), °C².

    Forecasts beyond the times of the store are NaN.
    """
    truth, area = Truth(file, store), np.broadcast_to(store.grid.area_weights, store.grid.shape)
    found = np.full((len(LEADS), len(file.init_time)), np.nan)
    for i in range(len(file.init_time)):
        known = set(truth.known(i, slice(None)).tolist())
        for k, lead in enumerate(LEADS):
            if lead in known:
                at = np.array([lead])
                error = (file.states(i, slice(lead, lead + 1)) - truth.states(i, at))[0, 0]
                ocean = np.isfinite(error)
                found[k, i] = np.average(error[ocean].astype(np.float64) ** 2, weights=area[ocean])
    return found


def linear_forecasts(store: Store, split: str) -> dict[str, Any]:
    """Return `rmse` and `squares` of all linear forecasts from a split, by name; see `Result`."""
    series = Series.from_store(store)
    starts = series.splits[split]
    found = {}
    for name, fit in REFERENCES.items():
        squares = np.full((len(LEADS), len(starts)), np.nan)
        for k, lead in enumerate(LEADS):
            known = starts[starts + lead <= starts[-1]]
            squares[k, : len(known)] = series.squares(fit(series, lead)(known), known, lead)
        rmse = rounded(np.sqrt(np.nanmean(squares, axis=1)))
        found[name] = {"rmse": rmse, "squares": squares.round(5).tolist()}
    return found


def save(
    results: Sequence[dict[str, Any]], linear: dict[str, Any], store: Store, path: Path
) -> None:
    """Write the results, with descriptions of the machine and of the data."""
    data = {"sha256": digest(store), "provenance": json.loads(store.provenance)}
    about = {"machine": machine(), "data": data, "leads": LEADS}
    write(path, about | {"linear": linear, "runs": list(results)})
