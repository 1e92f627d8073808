"""Errors of forecasts by the size of the model and by the years of training data.

    python -m benchmarks.accuracy.atmosphere.scaling --data STORE --out DIR [--preset NAME]
        [--channels N ...] [--years N ...] [--base-channels N] [--seeds S ...]
        [--overrides KEY=VALUE ...] [--json FILE] [--figure FILE]

Models of several numbers of channels are trained on all training years, and models with
`--base-channels` on the last years alone; all with the same number of steps. They forecast evenly
spaced states of the validation split. A power law, error ∝ nᵇ, is fitted to the errors of z500
over its spread at each lead time. A run is a JSON file in DIR; what is there is not done again.
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
from benchmarks.accuracy.atmosphere.runs import trained
from benchmarks.accuracy.atmosphere.scores import LEADS, forecast_scores
from benchmarks.accuracy.records import digest, saved, write
from benchmarks.speed.measure import machine
from configs.schema import Config
from configs.style import new_figure, picture_style
from data_prep.store.reader import Store
from forecast.training.tracking.git import git_commit
from sphere_ops.memory import keep_freed_memory

_CHANNEL = "z500"
_DRAWN = (6, 24, 72, 120)  # lead times, h
_AXES = {"parameters": "parameters", "years": "years of training data"}


def run(config: Config, years: int, data: Path, folder: Path) -> dict[str, Any]:
    """Train a model and return its size and errors over the spread."""
    forecaster, _ = trained(config, "all", data, folder)
    # The spread is about the climatology of all training years.
    of = forecast_scores(forecaster, Store(data), "validation")[_CHANNEL]
    return {
        "channels": config.model.channels,
        "years": years,
        "seed": config.training.seed,
        "parameters": sum(forecaster.network.parameter_counts().values()),
        "errors": (np.array(of["rmse"]) / of["spread"]).round(5).tolist(),
        "configuration": config.model_dump(mode="json", include={"model", "training"}),
        "commit": git_commit(),
        "machine": machine(),
    }


def fit(runs: Sequence[dict[str, Any]], axis: str) -> list[float]:
    """Return the exponent of a power law in `axis`, by least squares, at each lead time."""
    n = np.log([r[axis] for r in runs])
    errors = np.log([r["errors"] for r in runs])  # (run, lead)
    return [float(b) for b in np.polyfit(n, errors, 1)[0]]


@picture_style()
def draw(path: Path, series: dict[str, list[dict[str, Any]]], exponents: dict[str, Any]) -> None:
    """Draw the errors over each axis, both logarithmic, with the fitted laws."""
    figure = new_figure(5.0 * len(series), 3.6)
    axes = np.atleast_1d(figure.subplots(1, len(series), sharey=True))
    for ax, (axis, runs) in zip(axes, series.items(), strict=True):
        n = np.array([r[axis] for r in runs], float)
        for lead in _DRAWN:
            if lead not in LEADS:
                continue
            k = LEADS.index(lead)
            errors = np.array([r["errors"][k] for r in runs])
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
    parser.add_argument("--json", type=Path, help="results; default: DIR/scaling.json")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    keep_freed_memory()
    store = Store(args.data)
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
        found = saved(
            args.out / f"{name}.json", partial(run, config, years, args.data, args.out / name)
        )
        print(name, found["parameters"], *found["errors"], flush=True)
        return found

    series = {
        "parameters": [of(n, longest, seed) for n in args.channels for seed in args.seeds],
        "years": [of(args.base_channels, y, seed) for y in args.years for seed in args.seeds],
    }
    series = {axis: runs for axis, runs in series.items() if len({r[axis] for r in runs}) > 1}
    exponents = {axis: fit(runs, axis) for axis, runs in series.items()}
    about = {"preset": args.preset, "overrides": args.overrides, "leads_hours": list(LEADS)}
    content = about | {"data": digest(store), "exponents": exponents} | series
    write(args.json or args.out / "scaling.json", content)
    if args.figure is not None and series:
        draw(args.figure, series, exponents)


if __name__ == "__main__":
    main()
