"""Observed sea surface temperature: errors of the preset `sst` and the spectra of its forecasts.

    python -m benchmarks.accuracy.sst --data STORE [KEY=VALUE ...] [--seeds 0 1 2] [--split test]
                             [--quick] [--json FILE]

Trains the preset, with overrides, and forecasts 12 months from every month of a split. Spectra are
of anomalies, 0 over land. Those of forecast and truth are compared at the same lead time, summed
over bands of degrees below and above 45, where the grid of the blocks of the preset ends. The JSON
file is written after every run, and runs in it are not repeated.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.speed.measure import machine
from configs.load import load_config
from configs.schema import Config
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.training.tracking.git import git_commit
from forecast.training.train import train
from forecast.verification.evaluate import MODEL, score
from forecast.verification.regions import GLOBAL
from forecast.verification.truth import Truth
from sphere_ops.harmonics.transforms import RealSHT, sum_orders

LEADS = (1, 3, 6, 12)
BANDS = ((20, 30), (30, 45), (45, 75))
"""First and last (exclusive) degrees; from 45 on quadrature on the grid is not exact."""


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
        bands: Spectral measurements by band of degrees; see `measure_bands`.
    """

    overrides: list[str]
    seed: int
    split: str
    configuration: dict[str, Any]
    validation: dict[str, float]
    rmse: list[float]
    rmse_of: dict[str, list[float]]
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
        bands = measure_bands(file, store)
        description = json.loads((out / "best" / "package.json").read_text())
        file.dataset.close()
    return Result(
        overrides=list(overrides),
        seed=config.training.seed,
        split=split,
        configuration=config.model_dump(mode="json", include={"model", "training"}),
        validation=description["training"]["validation"],
        rmse=_rounded(rmse.sel(forecast=MODEL)),
        rmse_of={
            str(name): _rounded(rmse.sel(forecast=name))
            for name in rmse.forecast.values
            if name != MODEL
        },
        bands=bands,
    )


def measure_bands(
    file: ForecastFile, store: Store, bands: Sequence[tuple[int, int]] = BANDS
) -> dict[str, dict[str, list[float]]]:
    """Compare the spectra of forecasts, of the truth and of the initial states.

    Args:
        file: Forecasts of every month up to the last of `LEADS`.
        store: Store with the truth; forecasts beyond its times are left out.
        bands: First degree and last degree (exclusive) of each band.

    Returns:
        By band, over `LEADS`: `power` of the forecast over that of the truth,
        `power_of_regression` of the truth on the initial state, likewise over that of the truth,
        and `coherence_with_initial`, the squared coherence of forecast and initial state.
    """
    truth, last = Truth(file, store), bands[-1][1]
    analysis = RealSHT(store.grid, lmax=last, mmax=last)
    leads = np.array([0, *LEADS])
    sums: list[Tensor] = []
    for i in range(len(file.init_time)):
        if len(truth.known(i, slice(None))) <= LEADS[-1]:
            continue
        reference = truth.reference(i, leads)
        fields = file.states(i, slice(None))[leads], truth.states(i, leads)
        f, t = (analysis(torch.from_numpy(np.nan_to_num(x - reference)))[:, 0] for x in fields)
        start, f, t = t[:1].expand_as(f[1:]), f[1:], t[1:]  # (lead, l, m)
        pairs = (f, f), (t, t), (start, start), (start, f), (start, t)
        sums.append(torch.stack([sum_orders((a.conj() * b).real) for a, b in pairs]))
    total = torch.stack(sums).double().sum(0)  # (5, lead, l)
    return {
        f"{first} to {end - 1}": _of_band(total[..., first:end].sum(-1)) for first, end in bands
    }


def _of_band(total: Tensor) -> dict[str, list[float]]:
    """Return the ratios of the sums of `measure_bands` over one band, (5, lead)."""
    forecast, truth, initial, carried, persisted = total
    return {
        "power": _rounded(forecast / truth),
        "power_of_regression": _rounded(persisted.square() / initial / truth),
        "coherence_with_initial": _rounded(carried.square() / initial / forecast),
    }


def digest(store: Store) -> str:
    """Return the SHA-256 of the fields and the times of a store."""
    sha = hashlib.sha256(store.time.tobytes())
    for i in range(len(store.time)):
        sha.update(store.state(i).numpy().tobytes())
    return sha.hexdigest()


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="changes of the preset")
    parser.add_argument("--data", type=Path, required=True, help="store, from `data ingest sst`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split", choices=["validation", "test"], default="test")
    parser.add_argument("--quick", action="store_true", help="20 training steps of one seed")
    parser.add_argument("--json", type=Path, help="results, written after every run")
    args = parser.parse_intermixed_args()
    results = json.loads(args.json.read_text())["runs"] if args.json and args.json.exists() else []
    overrides = args.overrides + ["training.steps=20"] * args.quick
    for seed in args.seeds[: 1 if args.quick else None]:
        key = {"overrides": overrides, "seed": seed, "split": args.split}
        if any(key.items() <= r.items() for r in results):
            continue
        words = [*overrides, f"training.seed={seed}", "tracking.enabled=false"]
        result = run(load_config("sst", words), overrides, args.split, args.data)
        print(json.dumps(asdict(result) | {"configuration": "..."}, indent=1), flush=True)
        results.append(asdict(result) | {"commit": git_commit()})
        if args.json is not None:
            save(results, Store(args.data), args.json)


def save(results: Sequence[dict[str, Any]], store: Store, path: Path) -> None:
    """Write the results, with descriptions of the machine and of the data."""
    data = {"sha256": digest(store), "provenance": json.loads(store.provenance)}
    content = {"machine": machine(), "data": data, "leads": LEADS, "runs": results}
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def _rounded(x: xr.DataArray | Tensor | NDArray[np.floating[Any]]) -> list[float]:
    return [round(float(value), 4) for value in x]


if __name__ == "__main__":
    main()
