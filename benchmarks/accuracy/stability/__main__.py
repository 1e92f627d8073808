"""Long rollouts of the forced climate, with and without the limiter, and the errors of the rows.

    python -m benchmarks.accuracy.stability --out DIR [--stores FOLDER] [--rows NAME ...]
        [--seeds S ...] [--parts climate accuracy] [--problems forced strong] [--limiter off on]
        [--steps N] [--training N]

`climate`: models are trained on four years of the `forced` climate at T21 on 32×64, every 6 hours,
all seasons, and rolled out from a state of a fifth year. A rollout holds if no value leaves the
range of the truth widened by half its width on both sides. Its spectra are compared with the mean
of the truth over the five years, up to degree lmax − 4. With the limiter on, the steps in which it
acts are counted.

`accuracy`: the same rows on the problems `forced` and `strong` of
`benchmarks.accuracy.architecture`, with 500 steps. Its row `limit 3` is the row `full` here.

DIR holds packages, one JSON file for each training and rollout, and stability.json with all of
them. What is there is not done again.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from benchmarks.accuracy.architecture.runs import PROBLEMS
from benchmarks.accuracy.stability.runs import ROWS, accuracy_run, climate_run, collect
from sphere_ops.memory import keep_freed_memory


def main() -> None:
    """Run what is not done yet and collect the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stores", type=Path, help="folder of the stores; default: DIR")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--parts", nargs="+", default=["climate", "accuracy"],
                        choices=["climate", "accuracy"])  # fmt: skip
    parser.add_argument("--problems", nargs="+", default=["forced", "strong"], choices=PROBLEMS,
                        help="problems of the accuracy")  # fmt: skip
    parser.add_argument("--limiter", nargs="+", default=["off", "on"], choices=["off", "on"])
    parser.add_argument("--steps", type=int, default=10_000, help="steps of the rollouts")
    parser.add_argument("--training", type=int, default=1000,
                        help="optimiser steps of the models for the climate")  # fmt: skip
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    keep_freed_memory()
    stores = args.stores or args.out
    for part in args.parts:
        for seed in args.seeds:
            for row in args.rows:
                if part == "climate":
                    climate_run(
                        args.out, stores, row, seed, args.training, args.steps, args.limiter
                    )
                else:
                    for problem in args.problems:
                        accuracy_run(args.out, stores, problem, row, seed)
    collect(args.out)


if __name__ == "__main__":
    main()
