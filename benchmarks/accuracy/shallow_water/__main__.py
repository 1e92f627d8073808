"""Shallow-water solver: physics on the standard tests, and speed compared with the peer.

    python -m benchmarks.accuracy.shallow_water [--quick] [--only NAME] [--json FILE]
                                                [--figures FOLDER]

Physics (`--only williamson5`, galewsky, climate, ...): `ours` is the measured value, `peer` the
required one. Speed (`--only speed`): time of one hour of one trajectory, compared with
torch-harmonics' `ShallowWaterSolver`, for several steps of each, with the error against a reference
in double precision with a very short step. The peer solves one trajectory at a time, our solver a
batch; runs are interleaved in one process. `--only generator` times the generator. `--only climate`
takes most of an hour, saves every month beside the JSON file, and continues from there when it is
run again.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import torch

from benchmarks.accuracy.shallow_water.physics import TESTS
from benchmarks.accuracy.shallow_water.run import Plan
from benchmarks.speed.measure import Row, report, selected
from benchmarks.speed.shallow_water_solver import generator, speed
from sphere_ops.memory import keep_freed_memory


def main() -> None:
    """Run the selected tests and print their rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="low truncations, few runs")
    parser.add_argument("--only", default="", help="tests whose name contains this")
    parser.add_argument("--json", type=Path, help="save the rows here")
    parser.add_argument("--figures", type=Path, help="draw the figures of docs into this folder")
    parser.add_argument("--runs", type=int, default=20, help="counted runs of each timing")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="torch_harmonics")
    names = selected(parser, arguments.only, ["speed", "generator", *TESTS])
    keep_freed_memory()
    torch.set_grad_enabled(False)

    rows: list[Row] = []
    if "speed" in names:
        rows += speed(3 if arguments.quick else arguments.runs, batch=8 if arguments.quick else 32)
    if "generator" in names:
        rows += generator(50 if arguments.quick else 1000)
    plan = Plan(arguments.quick, arguments.figures, arguments.json or Path("shallow_water.json"))
    for row in (row for name in names if name in TESTS for row in TESTS[name](plan)):
        print(f"{row.name} {row.shape}: {row.ours:.4g}", flush=True)
        rows.append(row)
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    report(rows, f"Shallow water (load of the machine {load})", arguments.json)


if __name__ == "__main__":
    main()
