"""A layer whose channels are sent in chunks against the same layer with one, on the same processes.

    python -m benchmarks.speed.chunks [--ranks N] [--runs N] [--json FILE]

While one chunk travels, the next one is transformed (`mesh.chunks`). Times as in
`benchmarks.speed.parallel`; all numbers of chunks run in turn.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.measure import Row, relative_difference, report
from benchmarks.speed.processes import in_turn, rows_of
from sphere_ops import Grid, LocalSphericalConv
from sphere_ops.parallel.mesh import Mesh

_CHUNKS = (1, 2, 4)
_SHAPES = ((4, 32, 64), (2, 64, 128), (1, 64, 256))
"""Batch, channels, rows."""


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path, help="save the rows here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = rows_of(arguments.ranks, _compare, arguments.runs)
    title = f"chunks against one, {arguments.ranks} processes, gloo on one machine, a thread each"
    report(rows, title, arguments.json)


def _compare(mesh: Mesh, runs: int) -> list[Row]:
    rows = []
    for b, c, nlat in _SHAPES:
        grid = Grid.legendre_gauss(nlat, 2 * nlat)
        torch.manual_seed(0)
        branches: dict[str, dict[str, Any]] = {
            "spectral": {"lmax": nlat // 2},
            "integral": {"theta_cutoff": 3 * math.pi / nlat},
        }
        layer = LocalSphericalConv(c, c, grid, branches)
        x, dy = (torch.randn(b, c, mesh.latitude.n_rows(nlat), grid.nlon) for _ in range(2))
        steps: dict[str, Callable[[], list[Tensor]]] = {
            str(k): partial(_step, mesh, k, layer, x, dy) for k in _CHUNKS
        }
        found = {name: step() for name, step in steps.items()}
        times = {
            name: (1e3 * t.minimum, 1e3 * t.median)
            for name, t in in_turn(mesh, steps, runs).items()
        }
        one = times["1"]
        for name in [str(k) for k in _CHUNKS[1:]]:
            ours = times[name]
            difference = max(map(relative_difference, found[name], found["1"]))
            rows.append(
                Row(
                    f"spectral + integral, {name} chunks",
                    f"{b}×{c}×{nlat}×{2 * nlat}",
                    ours[0],
                    one[0],
                    "one chunk",
                    one[0] / ours[0],
                    "ms",
                    difference,
                    ours[1],
                    one[1],
                )
            )
    return rows


def _step(mesh: Mesh, chunks: int, layer: nn.Module, x: Tensor, dy: Tensor) -> list[Tensor]:
    mesh.chunks = chunks
    own = x.detach().requires_grad_()
    y = layer(own)
    y.backward(dy)
    assert own.grad is not None
    return [y.detach(), own.grad]


if __name__ == "__main__":
    main()
