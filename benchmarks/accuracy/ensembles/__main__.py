"""Ensembles of a model with noise against perturbed starts of a deterministic one.

    python -m benchmarks.accuracy.ensembles --out DIR [--flow FLOW] [--seeds 0 1 2]
                                            [--only NAME] [--quick]

The truth is a flow at T21 on 32×64, every 6 hours: `forced`, the climate of the shallow-water
solver over mountains, or `barotropic`, forced barotropic turbulence. All models have the same
network. `deterministic` is trained on rollouts of up to two steps, `continued` goes on from it with
rollouts of up to eight steps. Two models go on from that in turn: `longer` in the same way, and
`noise` with noise and two members of each window. Both take as many steps; those of `longer` have
twice as many windows, so that they cost as much. The perturbations of the starts of each model are
chosen on the validation trajectories by the fair CRPS at day 5, and the chosen ensemble is scored
once on the test trajectories, which nothing else reads. Ensembles have 16 members.

DIR holds the store (generated if it is not there), a run folder and a JSON file for each model and
seed, and all of these in `summary.json`. What is there is not done again; an interrupted training
goes on.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

from benchmarks.accuracy.ensembles.runs import FLOWS, QUICK, VARIANTS, Plan, study
from benchmarks.speed.measure import selected


def main() -> None:
    """Run the study from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder, made if absent")
    parser.add_argument("--flow", choices=FLOWS, default="forced")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", default="", help="variants whose name contains this")
    parser.add_argument("--quick", action="store_true", help="a few steps of everything")
    args = parser.parse_args()
    names = selected(parser, args.only, list(VARIANTS))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    plan = replace(QUICK if args.quick else Plan(), flow=args.flow)
    study(plan, args.out, args.seeds, names)


if __name__ == "__main__":
    main()
