"""Layers on several processes, compared with torch-harmonics' distributed layers.

    python -m benchmarks.speed.parallel [--ranks 1 2 4] [--grid NLAT] [--runs N] [--json FILE]

Processes with one thread each share the rows of every field, connected by gloo on this machine.
Layers of both libraries run in turn in the same processes. A time is that of the slowest rank:
minimum and median over the runs. Bytes are those sent by the rank that sends most (see `traffic`).
"With weight gradients" adds the all-reduce of partial gradients: of all weights for our layers; for
torch-harmonics of the integral branch only, because it partitions spectral weights by degree.
The difference is the largest one of outputs and input gradients from those of a single process.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchmarks.speed.measure import Row, relative_difference, report
from benchmarks.speed.parallel.processes import in_turn, rows_of
from benchmarks.speed.parallel.traffic import Traffic, counted
from benchmarks.speed.sphere_ops.peer_layers import TwoBranches
from sphere_ops import Grid, InverseRealSHT, LocalSphericalConv, RealSHT
from sphere_ops.parallel.mesh import SINGLE_PROCESS, Mesh, use

_BATCH, _CHANNELS = 4, 32


@dataclass(frozen=True)
class Side:
    """Layer, and those of its weights whose gradients are partial on every rank."""

    layer: nn.Module
    shared: list[nn.Parameter]


@dataclass(frozen=True)
class Pair:
    """Layers of both libraries; `same` is True if weights and branches are the same."""

    name: str
    ours: Side
    peer: Side
    same: bool


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--grid", type=int, default=64, help="rows of the grid")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path, help="save the rows here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for ranks in arguments.ranks:
        rows += rows_of(ranks, _rows, arguments.grid, arguments.runs)
    report(rows, "layers in a mesh, gloo on one machine, a thread per rank", arguments.json)


def _rows(mesh: Mesh, nlat: int, runs: int) -> list[Row]:
    grid = Grid.legendre_gauss(nlat, 2 * nlat)
    return [row for pair in _pairs(grid, mesh) for row in _compare(pair, grid, mesh, runs)]


def _pairs(grid: Grid, mesh: Mesh) -> list[Pair]:
    import torch_harmonics.distributed as thd

    assert mesh.device_mesh is not None
    thd.init(mesh.device_mesh.get_group("latitude"), None)
    torch.manual_seed(0)  # the same weights everywhere
    c, cutoff = _CHANNELS, 3 * math.pi / grid.nlat
    grids = {"grid_in": grid.kind, "grid_out": grid.kind}
    spectral = thd.DistributedSpectralConvS2(grid.shape, grid.shape, c, c, **grids)
    integral = thd.DistributedDiscreteContinuousConvS2(
        c, c, grid.shape, grid.shape, (3, 3), theta_cutoff=cutoff, bias=False, **grids
    )
    torch.manual_seed(1)
    lmax = spectral.lmax
    settings: dict[str, dict[str, Any]] = {
        "spectral": {"lmax": lmax},
        "integral": {"theta_cutoff": cutoff},
    }
    three = settings | {"differential": {"order": 1, "length_scale": 1 / grid.nlat}}
    two, all_three = (LocalSphericalConv(c, c, grid, branches) for branches in (settings, three))
    degrees = slice(sum(spectral.l_shapes[: mesh.latitude.rank]), None)
    with torch.no_grad():
        own = two.branches["spectral"].get_parameter("weight").permute(1, 0, 2)[..., degrees]
        spectral.weight.copy_(own[None, ..., : spectral.lmax_local])
        integral.weight.copy_(two.branches["integral"].get_parameter("weight"))
    peer = Side(TwoBranches(spectral, integral), list(integral.parameters()))
    options = {"lmax": lmax, "mmax": lmax}
    ours = nn.Sequential(RealSHT(grid, **options), InverseRealSHT(grid, **options))
    theirs = nn.Sequential(
        thd.DistributedRealSHT(*grid.shape, grid=grid.kind, **options).float(),
        thd.DistributedInverseRealSHT(*grid.shape, grid=grid.kind, **options).float(),
    )
    return [
        Pair("SHT and back", Side(ours, []), Side(theirs, []), same=True),
        Pair("spectral + integral", Side(two, list(two.parameters())), peer, same=True),
        Pair(
            "three branches against two",
            Side(all_three, list(all_three.parameters())),
            peer,
            same=False,
        ),
    ]


def _compare(pair: Pair, grid: Grid, mesh: Mesh, runs: int) -> list[Row]:
    """Return rows of time, bytes and collectives."""
    generator = torch.Generator().manual_seed(2)
    shape = _BATCH, _CHANNELS, *grid.shape
    x, dy = (torch.randn(*shape, generator=generator) for _ in range(2))
    own = mesh.latitude.rows(grid.nlat)
    sides = {"ours": pair.ours, "peer": pair.peer}
    inputs = x[..., own, :].contiguous(), dy[..., own, :].contiguous()
    steps = {name: _step(side.layer, *inputs) for name, side in sides.items()}
    found = {
        name: [mesh.gather_rows(field, grid.nlat, everywhere=True) for field in step()]
        for name, step in steps.items()
    }
    with use(SINGLE_PROCESS):
        expected = _step(pair.ours.layer, x, dy)()
    compared = ("ours", "peer") if pair.same else ("ours",)
    difference = max(
        relative_difference(a, b)
        for name in compared
        for a, b in zip(found[name], expected, strict=True)
    )
    traffic = {name: _traffic(steps[name], []) for name in sides}
    whole = {name: _traffic(steps[name], side.shared) for name, side in sides.items()}
    times = in_turn(mesh, steps, runs)
    title = f"{pair.name}, ranks: {mesh.latitude.ranks}"
    fields = "×".join(map(str, shape))

    def row(name: str, unit: str, ours: float, peer: float, *rest: float) -> Row:
        ratio = peer / ours if ours else None
        return Row(
            f"{title}, {name}",
            fields,
            ours,
            peer,
            "torch-harmonics",
            ratio,
            unit,
            difference,
            *rest,
        )

    ours, theirs = times["ours"], times["peer"]
    figures = (ours.minimum, theirs.minimum, ours.median, theirs.median)
    rows = [row("forward + backward", "ms", *(1e3 * seconds for seconds in figures))]
    if mesh.latitude.ranks > 1:
        a, b = traffic["ours"], traffic["peer"]
        rows += [
            row("sent", "MB", a.sent / 1e6, b.sent / 1e6),
            row("collectives", "calls", a.calls, b.calls),
        ]
        if pair.ours.shared:
            sent = [whole[name].sent / 1e6 for name in ("ours", "peer")]
            rows.append(row("sent with weight gradients", "MB", *sent))
    return rows


def _step(layer: nn.Module, x: Tensor, dy: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    """Run forward and backward; return the output and the gradient of the input."""

    def step() -> tuple[Tensor, Tensor]:
        own = x.detach().requires_grad_()
        layer.zero_grad(set_to_none=True)
        y = layer(own)
        y.backward(dy)
        assert own.grad is not None
        return y.detach(), own.grad

    return step


def _traffic(step: Callable[[], object], shared: list[nn.Parameter]) -> Traffic:
    """Return the traffic of the rank that sends most in a step, with weight gradients."""
    with counted() as traffic:
        step()
        for parameter in shared:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, traffic)
    return Traffic(max(t.calls for t in everyone), max(t.sent for t in everyone))


if __name__ == "__main__":
    main()
