"""Forecasts of the atmosphere of the circulation model: branches, peers, references.

    python -m benchmarks.accuracy.atmosphere --data STORE --out DIR [--preset NAME]
        [--rows NAME ...] [--seeds S ...] [--split validation|test]
        [--rates R ... [--rate-overrides KEY=VALUE ...]] [--days-only] [--overrides KEY=VALUE ...]

Rows are `global` (a complex kernel), `integral`, `differential` and `all`, and the peers `sfno` and
`lsno` of torch-harmonics inside our forecaster, with about as many parameters as `all`, or as
`sfno-time` and `lsno-time` with about the same time of a training step. A run is trained by the
preset with the overrides, and forecasts evenly spaced states of the split for 15 days; then,
without `--days-only`, one state is followed to the end of the split. With `--rates`, the learning
rate is the one with the least validation error of the first seed, in trainings with the overrides
and then `--rate-overrides`, such as fewer steps. DIR has a run folder and a JSON file for each row
and seed; what is there is not done again, and an interrupted training goes on. DIR/atmosphere.json
collects all.

References are persistence, the monthly climatology of the training years, and damped persistence:
departures from that climatology times the regression at each lead time, one number for each
channel, fitted to the training years.
"""

from __future__ import annotations

import argparse
import logging
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.accuracy.atmosphere.rows import ABSENT, ROWS, config_of
from benchmarks.accuracy.atmosphere.runs import best_rate, line, run, scored_part
from benchmarks.accuracy.atmosphere.scores import LEADS, references
from benchmarks.accuracy.atmosphere.sizes import sized
from benchmarks.accuracy.records import read, saved, write
from data_prep.store.reader import Store
from forecast.training.train import chosen_part
from sphere_ops.memory import keep_freed_memory


def main() -> None:
    """Run what is not done yet and collect the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="store of `forecast data gcm`")
    parser.add_argument("--out", type=Path, required=True, help="folder, made if absent")
    parser.add_argument("--preset", default="atmosphere")
    parser.add_argument("--rows", nargs="+", default=list(ABSENT), choices=ROWS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    parser.add_argument("--days-only", action="store_true", help="no rollout to the split's end")
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--rates", nargs="*", type=float, default=[], help="learning rates to try")
    parser.add_argument("--rate-overrides", nargs="*", default=[], metavar="KEY=VALUE",
                        help="further overrides of the trainings that find the rate")  # fmt: skip
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    keep_freed_memory()
    (args.out / args.split).mkdir(parents=True, exist_ok=True)
    plain = config_of(args.preset, "all", 0, args.overrides)
    whole = Store(args.data)
    store, scored = chosen_part(plain, whole), scored_part(plain, whole)
    found = saved(args.out / args.split / "references.json", lambda: references(scored, args.split))

    def settings(row: str) -> dict[str, Any]:
        # A size found by times differs from try to try.
        size = saved(
            args.out / "sizes" / f"{row}.json",
            lambda: {"overrides": sized(row, args.preset, args.overrides, store)},
        )
        words = size["overrides"]
        rate = best_rate(row, args.preset, [*args.overrides, *words], args.seeds[0], args.rates,
                         args.rate_overrides, args.data, args.out / "rates")  # fmt: skip
        return {"overrides": [*words, *rate]}

    for seed in args.seeds:
        for row in args.rows:
            path = args.out / args.split / f"{row}-{seed}.json"
            if not path.exists():
                chosen = saved(args.out / "settings" / f"{row}.json", partial(settings, row))
                words = [*args.overrides, *chosen["overrides"]]
                config = config_of(args.preset, row, seed, words)
                folder, followed = args.out / f"{row}-{seed}", not args.days_only
                write(path, run(config, row, args.data, folder, args.split, followed=followed))
            print(line(read(path)), flush=True)
    runs = [read(path) for path in sorted((args.out / args.split).glob("*-[0-9]*.json"))]
    rates = {path.stem: read(path) for path in sorted((args.out / "rates").glob("*.json"))}
    about = {"preset": args.preset, "overrides": args.overrides, "leads_hours": list(LEADS)}
    content = about | {"rates": rates, "references": found, "runs": runs}
    write(args.out / "atmosphere.json", content)


if __name__ == "__main__":
    main()
