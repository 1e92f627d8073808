"""Transforms and branches, compared with torch-harmonics (transforms also with ducc0).

    python -m benchmarks.speed.sphere_ops [--quick] [--json FILE] [--device cuda]

Times are minima and medians of interleaved runs in one process. Peak memory is measured in a new
process for each layer, whose allocator returns freed memory. On a GPU the grids are those of 1° and
0.25°, and the branches run in every product precision; the peer uses the same one, through tf32
products or bf16 autocast. Differences are from the peer in float32. The default wheels of the peer
have no CUDA kernels: install those that have them for a fair comparison.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.speed.measure import (
    Row,
    interleaved,
    peak_memory,
    peak_of_process,
    relative_difference,
    report,
    selected,
)
from benchmarks.speed.sphere_ops.passes import forward_pass, timed_row, training_pass
from benchmarks.speed.sphere_ops.peer_layers import Case, InPrecision, layers
from sphere_ops import Grid, InverseRealSHT, RealSHT
from sphere_ops.memory import keep_freed_memory
from sphere_ops.precision import ProductPrecision, set_product_precision

_BRANCHES = ("integral", "block")
_OPERATIONS = ("transforms", *_BRANCHES, "memory")


def _cases(device: torch.device, transforms: bool) -> list[Case]:
    if device.type == "cpu":
        sizes = (128, 256) if transforms else (64, 128, 256)
        batch, channels = (1, 128) if transforms else (4, 32)
        grids = [Grid.legendre_gauss(n, 2 * n) for n in sizes]
        return [Case(g, batch, channels, 3 * math.pi / g.nlat) for g in grids]
    one_degree, quarter = Grid.equiangular(180, 360), Grid.equiangular(721, 1440)
    cases = [
        Case(one_degree, 8, 64, 0.017),
        Case(one_degree, 8, 64, 3 * math.pi / 180),
        Case(Grid.legendre_gauss(180, 360), 8, 64, 3 * math.pi / 180),
        Case(quarter, 1, 64, 3 * math.pi / 721),
    ]
    return [Case(one_degree, 8, 1, 0.017), *cases[1:]] if transforms else cases


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small grids, few runs")
    parser.add_argument("--json", type=Path, help="save the rows here")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--only", default="", help="operations whose name contains this")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory rows out")
    parser.add_argument("--peak", metavar="SIDE", help=argparse.SUPPRESS)
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="torch_harmonics")
    device = torch.device(arguments.device)
    if arguments.peak:
        case = _cases(device, False)[arguments.case]
        print(_peak(arguments.peak, case, device, arguments.precision))
        return
    names = selected(parser, arguments.only, _OPERATIONS)
    keep_freed_memory()
    runs = 5 if arguments.quick else arguments.runs
    precisions: tuple[ProductPrecision, ...] = ("float32",)
    if device.type == "cuda":
        precisions = ("float32", "tf32", "bf16")
    most = 1 if arguments.quick else None
    rows: list[Row] = []
    if "transforms" in names:
        for case in _cases(device, True)[:most]:
            rows += _transforms(case, runs, device)
    for name in (name for name in _BRANCHES if name in names):
        for case in _cases(device, False)[:most]:
            rows += _branches(name, case, runs, device, precisions)
    if not arguments.no_memory and "memory" in names:
        for number, case in enumerate(_cases(device, False)[:most]):
            rows += [_memory(number, case, device, precision) for precision in precisions]
    title = f"sphere_ops on {device}, {torch.get_num_threads()} threads"
    report(rows, title, arguments.json, keep=bool(arguments.only))


def _transforms(case: Case, runs: int, device: torch.device) -> list[Row]:
    import torch_harmonics as th

    grid = case.grid
    options = {"lmax": grid.nlat, "mmax": min(grid.nlat, grid.nlon // 2)}
    ours = RealSHT(grid, **options), InverseRealSHT(grid, **options)
    theirs = (
        th.RealSHT(*grid.shape, grid=grid.kind, **options).float().to(device),
        th.InverseRealSHT(*grid.shape, grid=grid.kind, **options).float().to(device),
    )
    x = torch.randn(case.batch * case.channels, *grid.shape, device=device)
    coeffs = theirs[0](x)
    rows = []
    for name, a, b, data in (
        ("SHT", ours[0], theirs[0], x),
        ("inverse SHT", ours[1], theirs[1], coeffs),
    ):
        difference = relative_difference(a(data), b(data))
        with torch.no_grad():
            functions: dict[str, Callable[[], object]] = {
                "ours": partial(a, data),
                "peer": partial(b, data),
            }
            if device.type == "cpu":
                functions |= _ducc(name, data, grid)
            times = interleaved(functions, runs, device)
        shape = f"{case.shape} {grid.kind}"
        rows.append(timed_row(f"{name}, forward", shape, times, "torch-harmonics", difference))
        if "ducc0" in times:
            both = {"ours": times["ours"], "peer": times["ducc0"]}
            rows.append(timed_row(f"{name}, forward", shape, both, "ducc0", None))
        steps = {"ours": training_pass(a, data), "peer": training_pass(b, data)}
        times = interleaved(steps, runs, device)
        rows.append(
            timed_row(f"{name}, forward + backward", shape, times, "torch-harmonics", difference)
        )
    return rows


def _ducc(name: str, data: Tensor, grid: Grid) -> dict[str, Callable[[], object]]:
    """Return the transforms of ducc0, if it is installed; a call transforms field by field."""
    try:
        import ducc0
    except ImportError:
        return {}
    lmax = grid.nlat - 1
    options = {"spin": 0, "lmax": lmax, "mmax": lmax, "nthreads": torch.get_num_threads()}
    theta, n = grid.colatitude.numpy(), grid.nlat
    rings = {
        "theta": theta,
        "nphi": torch.full((n,), grid.nlon, dtype=torch.int64).numpy().astype("uint64"),
        "phi0": 0 * theta,
        "ringstart": (torch.arange(n) * grid.nlon).numpy().astype("uint64"),
    }
    if name == "SHT":
        weighted = (data * (4 * math.pi * grid.area_weights).to(data)).reshape(len(data), 1, -1)
        maps = weighted.numpy()
        return {
            "ducc0": lambda: [ducc0.sht.adjoint_synthesis(map=m, **rings, **options) for m in maps]
        }
    triangle = torch.triu_indices(lmax + 1, lmax + 1)
    alm = data.mT[:, triangle[0], triangle[1]].contiguous()[:, None].numpy()
    return {"ducc0": lambda: [ducc0.sht.synthesis(alm=a, **rings, **options) for a in alm]}


def _branches(
    name: str,
    case: Case,
    runs: int,
    device: torch.device,
    precisions: Sequence[ProductPrecision],
) -> list[Row]:
    """Return rows that compare a layer with its fastest peer, in each precision."""
    x, ours, theirs = layers(name, case, device)
    label = {"integral": "integral", "block": "three branches against two"}[name]
    with torch.no_grad():
        reference = theirs["unfused"](x)
    rows = []
    for precision in precisions:
        set_product_precision(precision)
        peers = {n: InPrecision(m, precision, device) for n, m in theirs.items()}
        with torch.no_grad():
            difference = relative_difference(ours(x), reference) if name == "integral" else None
        for work in ("forward", "forward + backward"):
            step = training_pass if "backward" in work else forward_pass
            functions = {"ours": step(ours, x)} | {n: step(m, x) for n, m in peers.items()}
            times = interleaved(functions, runs, device)
            peer = min((n for n in times if n != "ours"), key=lambda n: times[n].minimum)
            both = {"ours": times["ours"], "peer": times[peer]}
            operation = f"{label} {case.cutoff:.3f}, {precision}, {work}"
            shape = f"{case.shape} {case.grid.kind}"
            rows.append(timed_row(operation, shape, both, f"torch-harmonics, {peer}", difference))
    set_product_precision("float32")
    return rows


def _memory(number: int, case: Case, device: torch.device, precision: str) -> Row:
    def peak(side: str) -> float:
        command = ["-m", "benchmarks.speed.sphere_ops", "--peak", side, "--case", str(number)]
        return peak_of_process(*command, "--device", str(device), "--precision", precision)

    ours = peak("ours")
    peers = {side: peak(side) for side in ("unfused", "fused")}
    name = min(peers, key=lambda n: peers[n])
    return Row(
        f"three branches against two {case.cutoff:.3f}, {precision}, peak memory",
        f"{case.shape} {case.grid.kind}",
        ours,
        peers[name],
        f"torch-harmonics, {name}",
        peers[name] / ours,
        "MiB",
    )


def _peak(side: str, case: Case, device: torch.device, precision: ProductPrecision) -> float:
    set_product_precision(precision)
    x, ours, theirs = layers("block", case, device)
    layer = ours if side == "ours" else InPrecision(theirs[side], precision, device)
    return peak_memory(training_pass(layer, x), device)


if __name__ == "__main__":
    main()
