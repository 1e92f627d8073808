"""Time of the differential branch with stencils that are fitted to degrees.

    python -m benchmarks.speed.sphere_ops.stencils [--quick] [--json FILE]

Interleaved runs of the differential branch alone, and of a block of all three branches, with both
kinds of stencils: fitted to the degrees of a grid's truncation (ours) and polynomials (peer).
Batches of 4 with 32 channels, float32, on the CPU.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.measure import Row, interleaved, report
from benchmarks.speed.sphere_ops.passes import forward_pass, timed_row, training_pass
from sphere_ops import DifferentialConv, Grid, LocalSphericalConv
from sphere_ops.memory import keep_freed_memory

CASES = ((64, 43), (128, 85))


def measure(nlat: int, lmax: int, runs: int) -> list[Row]:
    """Return the rows of one grid."""
    grid = Grid.legendre_gauss(nlat, 2 * nlat)
    x = torch.randn(4, 32, *grid.shape)
    kinds: dict[str, dict[str, Any]] = {"ours": {"fit_lmax": lmax}, "peer": {}}
    rows = []
    for order in (1, 2):
        others: dict[str, dict[str, Any]] = {
            "spectral": {"lmax": nlat // 4},
            "integral": {"theta_cutoff": 3 * math.pi / nlat},
        }
        alone = {n: DifferentialConv(32, 32, grid, order=order, **s) for n, s in kinds.items()}
        block = {
            n: LocalSphericalConv(32, 32, grid, {**others, "differential": {"order": order, **s}})
            for n, s in kinds.items()
        }
        for name, layers in (("differential branch", alone), ("block", block)):
            for work, step in (("forward", forward_pass), ("forward + backward", training_pass)):
                times = interleaved(
                    {n: step(layer, x) for n, layer in layers.items()}, runs, torch.device("cpu")
                )
                operation, shape = f"{name}, order {order}, {work}", f"4×32 × {nlat}×{2 * nlat}"
                rows.append(timed_row(operation, shape, times, "polynomials", None))
    return rows


def main() -> None:
    """Measure and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smaller grid, few runs")
    parser.add_argument("--json", type=Path, help="save the rows here")
    arguments = parser.parse_args()
    keep_freed_memory()
    rows = []
    for nlat, lmax in CASES[:1] if arguments.quick else CASES:
        rows += measure(nlat, lmax, 5 if arguments.quick else 30)
    report(rows, f"stencils, {torch.get_num_threads()} threads", arguments.json)


if __name__ == "__main__":
    main()
