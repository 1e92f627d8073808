"""Study of an experiment: trains its rows, measures them and the references.

    python -m benchmarks.accuracy.study weak|strong|jets|forced|ablation|half --out DIR
                                        [--rows NAME ...] [--seeds 0 1 2]
                                        [--split validation|test] [--rates R ...] [--quick]

Learning rates of rows with several are chosen by the validation error of the first seed. Errors are
measured on `validation` unless `--split test` asks for the test set, which is for final results:
for each row it can be measured once. DIR holds the stores (generated if absent), a run folder for
each training, one JSON file for each choice of a rate or size, and in DIR/SPLIT one for the
references and for each row and seed. What is there is not done again; an interrupted training goes
on. DIR/SPLIT.json collects all runs; `benchmarks.accuracy.study.summary` makes table and figure of
it.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from benchmarks.accuracy.study.experiments import EXPERIMENTS, quick
from benchmarks.accuracy.study.rows import CLAIM
from benchmarks.accuracy.study.runs import Study
from sphere_ops.memory import keep_freed_memory

QUICK_ROWS = (
    "64 both", "64 none, complex", "64 none, winds", "sfno, equal parameters", "lsno, equal time",
)  # fmt: skip


def main() -> None:
    """Run a study from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--out", type=Path, required=True, help="folder, made if absent")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="see study/rows.py")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--rates", type=float, nargs="+", default=[], help="rates of all rows")
    parser.add_argument("--quick", action="store_true", help="a few steps of everything")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    experiment = EXPERIMENTS[args.experiment]
    names, seeds = (QUICK_ROWS, [0]) if args.quick else (CLAIM, [0, 1, 2])
    try:
        Study(
            quick(experiment) if args.quick else experiment,
            args.out,
            split=args.split,
            seeds=args.seeds or seeds,
            rates=args.rates,
        ).run(args.rows or names)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
