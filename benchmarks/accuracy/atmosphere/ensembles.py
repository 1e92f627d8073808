"""Ensembles of an atmosphere from perturbed starts, models or noise: CRPS, and spread over error.

    python -m benchmarks.accuracy.atmosphere.ensembles PACKAGE ... --data STORE --out DIR
        [--members N] [--starts N] [--perturbations TEXT ...] [--json FILE]

Members take the packages in turn. Each perturbation (`forecast rollout --perturb`) makes ensembles
from evenly spaced states of the validation split; `none` leaves the starts as they are, for a model
with noise or as many packages as members. That with the least CRPS of z500 after five days is taken
to the test split, and compared there with single forecasts of the first package, whose CRPS is
their mean absolute error. Scores are those of `forecast evaluate`. What is done is kept in DIR and
not done again.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.accuracy.atmosphere.packages import described
from benchmarks.accuracy.atmosphere.scores import LEADS
from benchmarks.accuracy.records import digest, saved, write
from benchmarks.speed.measure import machine
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.models.packages import PackageSpec
from forecast.training.tracking.git import git_commit
from forecast.verification.evaluate import evaluate
from sphere_ops.memory import keep_freed_memory

PERTURBATIONS = (
    "field:amplitude=0.1,length=1000km",
    "field:amplitude=0.3,length=1000km",
    "bred:amplitude=0.1,interval=1d,cycles=3",
    "bred:amplitude=0.3,interval=1d,cycles=3",
)
_NONE = "none"
_CHANNELS = ("z500", "t850", "t2m", "u200", "u850", "q850", "sp")
_CHOSEN_BY, _CHOSEN_AT = "z500", 120  # channel, and lead time in hours
_HOUR = np.timedelta64(1, "h")


def ensemble(
    packages: Sequence[str],
    data: Path,
    out: Path,
    split: str,
    perturbation: str,
    members: int,
    starts: int,
) -> dict[str, Any]:
    """Forecast from a split and return CRPS, error of the mean, and spread over that.

    Args:
        packages: Packages of the members.
        data: Store.
        out: Folder for the forecast and scores files.
        split: Split of the starts.
        perturbation: Perturbation of the starts, or `none`; "" for single forecasts.
        members: Members of an ensemble.
        starts: Number of starts.
    """
    store = Store(data)
    step, hours = store.time_step.hours, PackageSpec(packages[0]).load().time_step.hours
    assert step is not None and hours is not None
    indices, leads = store.split_indices(split), [lead for lead in LEADS if lead % hours == 0]
    last = len(indices) - 1 - round(LEADS[-1] / step)
    chosen = indices[np.linspace(0, last, starts).round().astype(int)]
    times = [str(store.time[i].astype("M8[m]")) for i in chosen]
    forecast, scores = out / "forecast.zarr", out / "scores.nc"
    if not forecast.exists():
        run_rollout(
            packages if perturbation else packages[:1], data, forecast,
            init_times=times, n_steps=round(LEADS[-1] / hours), batch_size=members,
            members=members if perturbation else None,
            perturbations=[perturbation] if perturbation not in ("", _NONE) else [], restart=True,
        )  # fmt: skip
    if not scores.exists():
        evaluate(forecast, data, scores, baselines=(), spectra=False)
    with xr.open_dataset(scores) as file:
        found = (
            file.isel(region=0)
            .mean("forecast", keep_attrs=True)
            .sel(lead_time=[lead * _HOUR for lead in leads])
        )
        channels = [c for c in _CHANNELS if c in found["channel"]]
        # The CRPS of a single forecast is its mean absolute error.
        names = {"crps": "crps" if perturbation else "mae", "rmse": "rmse"}
        if perturbation:
            names["spread_skill"] = "spread_skill"
        return {
            "starts": times,
            "leads_hours": leads,
            "scores": {
                key: {c: found[name].sel(channel=c).values.tolist() for c in channels}
                for key, name in names.items()
            },
        }


def main() -> None:
    """Choose a perturbation, score it, and write one file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("packages", nargs="+", metavar="PACKAGE")
    parser.add_argument("--data", type=Path, required=True, help="store of `forecast data gcm`")
    parser.add_argument("--out", type=Path, required=True, help="folder, made if absent")
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--starts", type=int, default=8)
    parser.add_argument("--perturbations", nargs="+", default=list(PERTURBATIONS))
    parser.add_argument("--json", type=Path, help="results; default: DIR/ensembles.json")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    keep_freed_memory()
    packages = described(args.packages)
    made_from = {
        "weights": [model["weights"] for model in packages["models"]],
        "members": args.members, "number_of_starts": args.starts,
    }  # fmt: skip

    def scored(split: str, perturbation: str) -> dict[str, Any]:
        slug = "".join(c if c.isalnum() or c in ".=-" else "_" for c in perturbation) or "single"
        folder = args.out / f"{split}-{slug}"
        folder.mkdir(parents=True, exist_ok=True)
        found: dict[str, Any] = saved(
            folder / "record.json",
            lambda: (
                made_from
                | ensemble(
                    args.packages, args.data, folder, split, perturbation, args.members, args.starts
                )
            ),
        )
        if any(found.get(key) != value for key, value in made_from.items()):
            parser.error(
                f"{folder} holds forecasts of other packages, or of other numbers of members or "
                "starts; take another --out"
            )
        of = found["scores"]
        print(split, perturbation or "single", *(
            f"{name} {' '.join(f'{x:.4g}' for x in of[name][_CHOSEN_BY])}" for name in of
        ), flush=True)  # fmt: skip
        return found

    tried = {text: scored("validation", text) for text in args.perturbations}

    def crps(text: str) -> float:
        at = tried[text]["leads_hours"].index(_CHOSEN_AT)
        return float(tried[text]["scores"]["crps"][_CHOSEN_BY][at])

    chosen = min(tried, key=crps)
    result = {
        "commit": git_commit(), "machine": machine(), "data": digest(Store(args.data)),
        "packages": packages, "leads_hours": tried[chosen]["leads_hours"],
        "members": args.members, "chosen": chosen, "validation": tried,
        "test": {"ensemble": scored("test", chosen), "single": scored("test", "")},
    }  # fmt: skip
    write(args.json or args.out / "ensembles.json", result)


if __name__ == "__main__":
    main()
