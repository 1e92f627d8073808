"""Observed sea surface temperature: errors of the preset `sst`, of linear forecasts, and spectra.

    python -m benchmarks.accuracy.sst --data STORE [KEY=VALUE ...] [--seeds 0 1 2] [--split test]
                             [--quick] [--json FILE]
    python -m benchmarks.accuracy.sst.table FILE

Trains the preset, with overrides, and forecasts 12 months from every month of a split; so do the
linear forecasts of `references`. Spectra are of anomalies, 0 over land. Those of forecast and truth
are compared at the same lead time, summed over bands of degrees below and above 45, where the grid
of the blocks of the preset ends. The JSON file is written after every run, and runs in it are not
repeated.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from benchmarks.accuracy.records import read
from benchmarks.accuracy.sst.runs import linear_forecasts, run, save
from configs.load import load_config
from data_prep.store.reader import Store
from forecast.training.tracking.git import git_commit


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
    results = read(args.json)["runs"] if args.json and args.json.exists() else []
    overrides = args.overrides + ["training.steps=20"] * args.quick
    store = Store(args.data)
    linear = linear_forecasts(store, args.split)
    for name, of in linear.items():
        print(f"{name:14}", *(f"{x:.4f}" for x in of["rmse"]), flush=True)
    for seed in args.seeds[: 1 if args.quick else None]:
        key = {"overrides": overrides, "seed": seed, "split": args.split}
        if any(key.items() <= r.items() for r in results):
            continue
        words = [*overrides, f"training.seed={seed}", "tracking.enabled=false"]
        result = run(load_config("sst", words), overrides, args.split, args.data)
        print(f"seed {seed:9}", *(f"{x:.4f}" for x in result.rmse), flush=True)
        results.append(asdict(result) | {"commit": git_commit()})
        if args.json is not None:
            save(results, linear, store, args.json)


if __name__ == "__main__":
    main()
