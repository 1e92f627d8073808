"""Climate of rollouts of years against that of the circulation model.

    python -m benchmarks.accuracy.atmosphere.decades PACKAGE ... --data STORE --out DIR --years N
        [--limiter on|off] [--init-time TIME] [--every N] [--json FILE]

Each package makes one rollout, by `forecast rollout`, with the climatology of the store as its
forcing. `forecast climate` compares it with all times of the store. DIR has the forecast and
climate files; what is there is not done again, and an interrupted rollout goes on.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.accuracy.acts import Acts
from benchmarks.accuracy.records import digest, read, saved, write
from benchmarks.speed.measure import machine
from configs import layout
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.model.package import load_package, read_description, weights_digest
from forecast.training.tracking.git import git_commit
from forecast.verification.climate.climate import climate
from sphere_ops.memory import keep_freed_memory

_YEAR = 365.2425 * 24  # hours
_DRIFTS = ("t2m", "sp", "t500", "z500")


def rolled_out(
    package: Path, data: Path, out: Path, *, n_steps: int, limiter: bool, init: str, every: int
) -> dict[str, Any]:
    """Make a rollout, and return its seconds, what its report says, and how often limiters act.

    The last is that of the steps since the last restart.
    """
    started, forecaster = time.perf_counter(), load_package(package)
    acts = {}
    for name in ("limiter", "range_limiter") if limiter else ():
        if (module := getattr(forecaster, name)) is not None:
            acts[name] = Acts()
            module.register_forward_hook(acts[name])
    reports = run_rollout(
        forecaster,
        data,
        out,
        init_times=[init],
        n_steps=n_steps,
        every=every,
        forcing="climatology",
        limiter=limiter,
        restart=True,
    )
    return {
        "seconds": time.perf_counter() - started,
        "reports": [str(report) for report in reports],
        "acts": {name: of.shares() for name, of in acts.items()},
    }


def leaves_range(out: Path, store: Store) -> dict[str, Any] | None:
    """Return the first written time at which a channel is outside the range of the truth.

    The range is that of the training years, widened by half its width on both sides.

    Returns:
        Channel and days since the start; None if all of them stay.
    """
    low, high = (store.statistics[of].flatten() for of in (layout.MINIMUM, layout.MAXIMUM))
    first: dict[str, Any] | None = None
    with xr.open_dataset(out, engine="zarr") as file:
        days = np.asarray(file["lead_time"].values / np.timedelta64(1, "D"), float)
        for v, a, b in zip(store.channels, low.tolist(), high.tolist(), strict=True):
            if v.name not in file:
                continue
            values = file[v.name].squeeze(drop=True).load()
            margin, over = (b - a) / 2, [d for d in values.dims if d != "lead_time"]
            outside = (values.min(over) < a - margin) | (values.max(over) > b + margin)
            where = np.flatnonzero(outside.values)
            if where.size and (first is None or days[where[0]] < first["days"]):
                first = {"channel": v.name, "days": float(days[where[0]])}
    return first


def measures(data: xr.Dataset) -> dict[str, Any]:
    """Return what a climatologist asks first of a climate file.

    Drifts are linear trends over the length of the rollout, with one standard error, next to the
    standard deviation of the truth's yearly means. The other numbers are by channel: annual cycles
    and standard deviations over those of the truth, correlations of the time mean with the
    truth's, largest differences of zonal means, power by degree over the truth's.
    """
    ours, truth = data.sel(source="forecast"), data.sel(source="truth")
    channels = data["channel"].values.tolist()
    latitude, of_area = data["latitude"], ("latitude", "longitude")
    area = latitude.copy(data=np.cos(np.deg2rad(latitude.values)))
    span = ours["global_series_time"]
    years = float(span.max() - span.min())
    year = (truth["global_series_time"] - truth["global_series_time"].min()) // 1
    drift = {}
    for name in (name for name in _DRIFTS if name in channels):
        a, b = ours.sel(channel=name), truth.sel(channel=name)
        yearly = b["global_series"].groupby(year.rename("year")).mean()
        drift[name] = {
            "over_the_rollout": float(a["global_trend"]) * years,
            "standard_error": float(a["global_trend_error"]) * years,
            "truth_yearly_deviation": float(yearly.std(ddof=1)),
            "mean_difference": float(a["global_mean"] - b["global_mean"]),
        }

    def ratio(name: str) -> xr.DataArray:
        a, b = (of[name].weighted(area).mean(of_area) for of in (ours, truth))
        return a / b

    means = ours["time_mean"], truth["time_mean"]
    by_channel = {
        "cycle_ratio": ratio("cycle_amplitude"),
        "deviation_ratio": ratio("variance") ** 0.5,
        "pattern_correlation": xr.corr(*means, dim=of_area, weights=area),
        "zonal_mean_difference": abs(ours["zonal_mean"] - truth["zonal_mean"]).max("latitude"),
        "power_ratio": ours["power"] / truth["power"],
    }
    return {
        "drift": drift,
        **{
            key: dict(zip(channels, of.values.tolist(), strict=True))
            for key, of in by_channel.items()
        },
    }


def run(package: Path, args: argparse.Namespace, store: Store, about_data: str) -> dict[str, Any]:
    """Roll out a package, compare, and return the record; `about_data` is the store's digest."""
    limiter = args.limiter == "on"
    name = f"{package.parent.parent.name}-{package.parent.name}-{args.years:g}-{args.limiter}"
    out, of = args.out / f"{name}.zarr", args.out / f"{name}.nc"
    hours = load_package(package).time_step.hours
    assert hours is not None
    n_steps = round(args.years * _YEAR / hours / args.every) * args.every
    about = saved(
        args.out / f"{name}.rollout.json",
        lambda: rolled_out(
            package, args.data, out, n_steps=n_steps, limiter=limiter, init=args.init_time,
            every=args.every,
        ),
    )  # fmt: skip
    if not of.exists():
        climate(out, args.data, of, spinup="30d")
    with xr.open_dataset(of) as data:
        found = measures(data)
    training = read_description(package)["training"]
    return {
        "package": name, "weights": weights_digest(package), "validation": training["validation"],
        "years": args.years, "limiter": limiter, "every": args.every, "start": args.init_time,
        "commit": git_commit(), "machine": machine(), "data": about_data,
        "leaves_range": leaves_range(out, store), **about, **found,
    }  # fmt: skip


def line(record: dict[str, Any]) -> str:
    """Return a line with the numbers that matter most."""
    left, u = record["leaves_range"], record["zonal_mean_difference"]
    parts = [f"leaves the range after {left['days']:g} days" if left else "stays in the range"]
    parts += [
        f"{name} drifts by {of['over_the_rollout']:.3g} ({of['truth_yearly_deviation']:.3g})"
        for name, of in record["drift"].items()
    ]
    for name, key in (("t2m", "cycle_ratio"), ("tp", "pattern_correlation")):
        if name in u:
            parts.append(f"{key} of {name} {record[key][name]:.3f}")
    winds = {name: of for name, of in u.items() if name.startswith("u")}
    if winds:
        worst = max(winds, key=lambda name: winds[name])
        parts.append(f"zonal mean of {worst} off by {winds[worst]:.2f}")
    return f"{record['package']}: {', '.join(parts)}; {record['seconds']:.0f} s"


def main() -> None:
    """Roll out the packages and write one file of results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("packages", nargs="+", type=Path, metavar="PACKAGE")
    parser.add_argument("--data", type=Path, required=True, help="store of `forecast data gcm`")
    parser.add_argument("--out", type=Path, required=True, help="folder, made if absent")
    parser.add_argument("--years", type=float, required=True)
    parser.add_argument("--limiter", choices=("on", "off"), default="on")
    parser.add_argument("--init-time", default="2003-01-01T00")
    parser.add_argument("--every", type=int, default=4, help="steps between states")
    parser.add_argument("--json", type=Path, help="results; default: DIR/decades.json")
    args = parser.parse_args()
    if args.years < 2:
        parser.error(f"--years {args.years:g}; expected 2 or more: trends need two years")
    logging.basicConfig(level=logging.WARNING)
    keep_freed_memory()
    args.out.mkdir(parents=True, exist_ok=True)
    path, store = args.json or args.out / "decades.json", Store(args.data)
    about_data = digest(store)
    rows = read(path)["rows"] if path.exists() else []
    for package in args.packages:
        record = run(package, args, store, about_data)
        print(line(record), flush=True)
        rows = [row for row in rows if row["package"] != record["package"]] + [record]
        write(path, {"rows": rows})


if __name__ == "__main__":
    main()
