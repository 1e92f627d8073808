"""Errors of forecasts by the size of the model, the years of training data and the resolution.

    python -m benchmarks.accuracy.atmosphere.scaling --data STORE --out DIR [--preset NAME]
        [--channels N ...] [--years N ...] [--base-channels N] [--seeds S ...]
        [--overrides KEY=VALUE ...] [--beside FILE ...] [--json FILE] [--figure FILE]

Models of several numbers of channels are trained on all training years, and models with
`--base-channels` on the last years alone; all with the same number of steps. They forecast evenly
spaced states of the validation split. A power law, error ∝ nᵇ, is fitted to the errors of z500
over its spread at each lead time. A run is a JSON file in DIR; what is there is not done again.

`--beside` takes files of results on other grids. Runs with the base channels and all years are
then compared by the number of latitudes; the splits should be the same in all stores.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.atmosphere.rows import config_of
from benchmarks.accuracy.atmosphere.runs import scored_part, trained
from benchmarks.accuracy.atmosphere.scores import LEADS, forecast_scores
from benchmarks.accuracy.records import digest, read, saved, write
from benchmarks.speed.measure import machine
from configs.schema import Config
from configs.style import new_figure, picture_style
from data_prep.store.reader import Store
from forecast.training.tracking.git import git_commit
from sphere_ops.memory import keep_freed_memory

_CHANNEL = "z500"
_DRAWN = (6, 24, 72, 120, 168)  # lead times, h
_AXES = {
    "parameters": "parameters",
    "years": "years of training data",
    "latitudes": "latitudes of the grid",
}


def run(config: Config, years: int, data: Path, folder: Path, store: Store) -> dict[str, Any]:
    """Train a model and return its size and errors over the spread in `store`, of all years."""
    forecaster, _ = trained(config, "all", data, folder)
    of = forecast_scores([forecaster], store, "validation")[_CHANNEL]
    return {
        "channels": config.model.channels,
        "years": years,
        "latitudes": store.grid.nlat,
        "seed": config.training.seed,
        "parameters": sum(forecaster.network.parameter_counts().values()),
        "errors": (np.array(of["rmse"]) / of["spread"]).round(5).tolist(),
        "configuration": config.model_dump(mode="json", include={"model", "training"}),
        "commit": git_commit(),
        "machine": machine(),
    }


def series_of(
    runs: Sequence[dict[str, Any]], base_channels: int, beside: Sequence[dict[str, Any]] = ()
) -> dict[str, list[dict[str, Any]]]:
    """Return the runs that differ in one axis alone, for each axis that has several values."""
    longest = max(r["years"] for r in runs)
    base = [r for r in runs if r["channels"] == base_channels]
    others = [r for r in beside if r["channels"] == base_channels and r["years"] == longest]
    series = {
        "parameters": [r for r in runs if r["years"] == longest],
        "years": base,
        "latitudes": [*(r for r in base if r["years"] == longest), *others],
    }
    return {axis: of for axis, of in series.items() if len({r[axis] for r in of}) > 1}


def fit(runs: Sequence[dict[str, Any]], axis: str) -> list[float]:
    """Return the exponent of a power law in `axis`, by least squares, at each lead time.

    It is NaN where there are no errors, at lead times within a longer step.
    """
    n = np.log([r[axis] for r in runs])
    errors = np.log(np.array([r["errors"] for r in runs], dtype=float))  # (run, lead)
    return [float(np.polyfit(n, of, 1)[0]) if np.isfinite(of).all() else np.nan for of in errors.T]


@picture_style()
def draw(path: Path, series: dict[str, list[dict[str, Any]]], exponents: dict[str, Any]) -> None:
    """Draw the errors over each axis, both logarithmic, with the fitted laws."""
    figure = new_figure(5.0 * len(series), 3.6)
    axes = np.atleast_1d(figure.subplots(1, len(series), sharey=True))
    for ax, (axis, runs) in zip(axes, series.items(), strict=True):
        n = np.array([r[axis] for r in runs], float)
        for lead in _DRAWN:
            k = LEADS.index(lead)
            errors = np.array([r["errors"][k] for r in runs], dtype=float)
            if not np.isfinite(errors).all():
                continue
            b = exponents[axis][k]
            label = f"{lead} h, exponent {b:.2f}" if lead < 24 else f"{lead // 24} d, {b:.2f}"
            (points,) = ax.loglog(n, errors, "o", label=label)
            ends = np.array([n.min(), n.max()])
            law = np.exp(np.log(errors).mean() + b * (np.log(ends) - np.log(n).mean()))
            ax.loglog(ends, law, color=points.get_color())
        ax.set_xlabel(_AXES[axis])
        ax.legend()
    axes[0].set_ylabel("error of z500 over its spread")
    figure.savefig(path, dpi=80)


def main() -> None:
    """Run what is not done yet, fit and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="store of `forecast data gcm`")
    parser.add_argument("--out", type=Path, required=True, help="folder, made if absent")
    parser.add_argument("--preset", default="atmosphere")
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 24, 32, 48])
    parser.add_argument("--years", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--base-channels", type=int, default=32)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--beside", type=Path, nargs="*", default=[], metavar="FILE",
                        help="results of stores on other grids")  # fmt: skip
    parser.add_argument("--json", type=Path, help="results; default: DIR/scaling.json")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    keep_freed_memory()
    # The spread is about the climatology of all training years.
    store = scored_part(config_of(args.preset, "all", 0, args.overrides), Store(args.data))
    times = store.time[store.split_indices("train")[[0, -1]]]
    first, last = (times.astype("M8[Y]").astype(int) + 1970).tolist()
    longest = last - first + 1
    if wrong := [n for n in args.years if not 1 <= n <= longest]:
        parser.error(f"--years {wrong[0]}; the training split has {longest} years")

    def of(channels: int, years: int, seed: int) -> dict[str, Any]:
        words = [*args.overrides, f"model.channels={channels}"]
        words.append(f"data.splits.train={{first: '{last - years + 1}', last: '{last}'}}")
        config = config_of(args.preset, "all", seed, words)
        name = f"{channels}-{years}-{seed}"
        make = partial(run, config, years, args.data, args.out / name, store)
        found = saved(args.out / f"{name}.json", make)
        print(name, found["parameters"], *found["errors"], flush=True)
        return found

    sizes = dict.fromkeys([(n, longest) for n in args.channels])
    sizes |= dict.fromkeys([(args.base_channels, years) for years in args.years])
    runs = [of(*size, seed) for size in sizes for seed in args.seeds]
    beside = [r for path in args.beside for r in read(path)["runs"]]
    series = series_of(runs, args.base_channels, beside)
    exponents = {axis: fit(of, axis) for axis, of in series.items()}
    about = {"preset": args.preset, "overrides": args.overrides, "leads_hours": list(LEADS)}
    content = about | {"data": digest(Store(args.data)), "exponents": exponents, "runs": runs}
    write(args.json or args.out / "scaling.json", content)
    if args.figure is not None and series:
        draw(args.figure, series, exponents)


if __name__ == "__main__":
    main()
