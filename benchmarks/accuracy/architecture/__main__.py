"""Comparison of architectures on small problems of all kinds: blocks, branches, learning rates.

    python -m benchmarks.accuracy.architecture --out DIR [--problems NAME ...] [--rows NAME ...]
                                               [--factors F ...] [--seeds S ...] [--data FOLDER]
                                               [--test] [--test-seed SEED]

A row is a kind of block, and options that change the branches or the shape, as in `limit 3, no
integral`. Every run is a JSON file in DIR/validation with the validation errors of the best
package; what is there is not done again. Of several learning rates, the one with the least
validation error of the first seed is taken for the other seeds and for the test. With --test the
errors on trajectories whose seed is used for nothing else are in DIR/test. Errors are relative L2
errors, the mean over the steps of a rollout. DIR/architecture.json collects all runs.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np

from benchmarks.accuracy.architecture.blocks import BLOCKS
from benchmarks.accuracy.architecture.runs import PROBLEMS, TEST_SEED, collect, run
from sphere_ops.memory import keep_freed_memory


def main() -> None:
    """Run what is not done yet and collect the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=PROBLEMS)
    parser.add_argument("--rows", nargs="+", default=list(BLOCKS))
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0],
                        help="learning rates over the first one of the problem")  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"),
                        help="folder with the files of observations, at any depth")  # fmt: skip
    parser.add_argument("--test", action="store_true", help="measure test data, too")
    parser.add_argument("--test-seed", type=int, default=TEST_SEED,
                        help="of the test trajectories; a new one for rows that were chosen after "
                             "the test errors of others were known")  # fmt: skip
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    keep_freed_memory()
    test_seed = args.test_seed if args.test else None
    for name in args.problems:
        rates = [PROBLEMS[name].rate * factor for factor in args.factors]
        for row in args.rows:
            rate = rates[0]
            if len(rates) > 1:
                tried = [run(args.out, args.data, name, row, r, args.seeds[0], None) for r in rates]
                rate = rates[int(np.argmin(tried))]
            for seed in args.seeds:
                run(args.out, args.data, name, row, rate, seed, test_seed)
    collect(args.out)


if __name__ == "__main__":
    main()
