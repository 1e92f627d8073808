"""Transforms and branches against torch-harmonics (and ducc0 for the transforms).

    python -m benchmarks.sphere_ops [--quick] [--json FILE] [--device cuda] [--precision bf16]

Times are minima of interleaved runs in one process, medians beside them; peak memory comes from a
fresh process for each layer, with the allocator at its defaults.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.measure import Row, interleaved, peak_memory, relative_difference, report
from sphere_ops import Grid, IntegralConv, InverseRealSHT, LocalSphericalConv, RealSHT
from sphere_ops.memory import keep_freed_memory

_FIELDS = 128
_CHANNELS, _BATCH = 32, 4


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small grids, few runs")
    parser.add_argument("--json", type=Path, help="save the rows here")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--only", default="", help="operations whose name contains this")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory rows out")
    parser.add_argument(
        "--peak", nargs=3, metavar=("SIDE", "NLAT", "DEVICE"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="torch_harmonics")
    if arguments.peak:
        side, nlat, device = arguments.peak
        print(_peak(side, int(nlat), torch.device(device)))
        return
    keep_freed_memory()
    device = torch.device(arguments.device)
    runs = 5 if arguments.quick else arguments.runs
    rows: list[Row] = []
    for name, function in (
        ("transforms", lambda n: _transforms(n, runs, device)),
        ("integral", lambda n: _integral(n, runs, device)),
        ("block", lambda n: _block(n, runs, device)),
    ):
        sizes = (128, 256) if name == "transforms" else (64, 128, 256)
        if arguments.only in name:
            for nlat in sizes[:1] if arguments.quick else sizes:
                rows += function(nlat)
    if not arguments.no_memory and arguments.only in "memory":
        for nlat in (64,) if arguments.quick else (64, 128, 256):
            rows.append(_memory(nlat, device))
    report(
        rows, f"sphere_ops on {device}, float32, {torch.get_num_threads()} threads", arguments.json
    )


def _transforms(nlat: int, runs: int, device: torch.device) -> list[Row]:
    import torch_harmonics as th

    grid = Grid.legendre_gauss(nlat, 2 * nlat)
    options = {"lmax": nlat, "mmax": nlat}
    ours = RealSHT(grid, **options), InverseRealSHT(grid, **options)
    theirs = (
        th.RealSHT(*grid.shape, grid=grid.kind, **options).float().to(device),
        th.InverseRealSHT(*grid.shape, grid=grid.kind, **options).float().to(device),
    )
    x = torch.randn(_FIELDS, *grid.shape, device=device)
    coeffs = theirs[0](x)
    rows = []
    for name, a, b, data in (
        ("SHT", ours[0], theirs[0], x),
        ("inverse SHT", ours[1], theirs[1], coeffs),
    ):
        difference = relative_difference(a(data), b(data))
        with torch.no_grad():
            functions: dict[str, Callable[[], object]] = {
                "ours": lambda a=a, data=data: a(data),
                "peer": lambda b=b, data=data: b(data),
            }
            if device.type == "cpu":
                functions |= _ducc(name, data, grid)
            times = interleaved(functions, runs, device)
        shape = f"{_FIELDS}×{nlat}×{2 * nlat}"
        rows.append(_row(f"{name}, forward", shape, times, "torch-harmonics", difference))
        if "ducc0" in times:
            both = {"ours": times["ours"], "peer": times["ducc0"]}
            rows.append(_row(f"{name}, forward", shape, both, "ducc0", None))
        steps = {"ours": _step(a, data), "peer": _step(b, data)}
        times = interleaved(steps, runs, device)
        rows.append(
            _row(f"{name}, forward + backward", shape, times, "torch-harmonics", difference)
        )
    return rows


def _ducc(name: str, data: Tensor, grid: Grid) -> dict[str, Callable[[], object]]:
    """The transforms of ducc0, field by field in one call, where it is installed."""
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
        weighted = (data * (4 * math.pi * grid.area_weights).to(data)).reshape(_FIELDS, 1, -1)
        maps = weighted.numpy()
        return {
            "ducc0": lambda: [ducc0.sht.adjoint_synthesis(map=m, **rings, **options) for m in maps]
        }
    triangle = torch.triu_indices(lmax + 1, lmax + 1)
    alm = data.mT[:, triangle[0], triangle[1]].contiguous()[:, None].numpy()
    return {"ducc0": lambda: [ducc0.sht.synthesis(alm=a, **rings, **options) for a in alm]}


def _integral(nlat: int, runs: int, device: torch.device) -> list[Row]:
    grid, x, conv = _layers("integral", nlat, device)
    ours, theirs = conv
    functions = {"ours": _step(ours, x)} | {n: _step(m, x) for n, m in theirs.items()}
    difference = relative_difference(ours(x), theirs["unfused"](x))
    return _fastest("integral", grid, x, functions, runs, device, difference)


def _block(nlat: int, runs: int, device: torch.device) -> list[Row]:
    grid, x, conv = _layers("block", nlat, device)
    ours, theirs = conv
    functions = {"ours": _step(ours, x)} | {n: _step(m, x) for n, m in theirs.items()}
    name = "three branches against two"
    return _fastest(name, grid, x, functions, runs, device, None)


def _fastest(
    name: str,
    grid: Grid,
    x: Tensor,
    functions: dict[str, Callable[[], object]],
    runs: int,
    device: torch.device,
    difference: float | None,
) -> list[Row]:
    """A row against the fastest of the peers."""
    times = interleaved(functions, runs, device)
    peer = min((n for n in times if n != "ours"), key=lambda n: times[n].minimum)
    shape = "×".join(map(str, x.shape))
    both = {"ours": times["ours"], "peer": times[peer]}
    label = f"{name}, forward + backward"
    return [_row(label, shape, both, f"torch-harmonics, {peer}", difference)]


class _TwoBranches(nn.Module):
    """torch-harmonics' spectral and integral layers side by side."""

    def __init__(self, spectral: nn.Module, integral: nn.Module) -> None:
        super().__init__()
        self.spectral, self.integral = spectral, integral

    def forward(self, x: Tensor) -> Tensor:
        return self.spectral(x) + self.integral(x)


def _layers(
    name: str, nlat: int, device: torch.device
) -> tuple[Grid, Tensor, tuple[nn.Module, dict[str, nn.Module]]]:
    """Our layer and torch-harmonics' (fused and unfused) with the same settings and weights."""
    import torch_harmonics as th

    grid = Grid.legendre_gauss(nlat, 2 * nlat)
    cutoff, c = 3 * math.pi / nlat, _CHANNELS
    x = torch.randn(_BATCH, c, *grid.shape, device=device, requires_grad=True)
    integral: dict[str, nn.Module] = {
        "fused" if fused else "unfused": th.DiscreteContinuousConvS2(
            c,
            c,
            in_shape=grid.shape,
            out_shape=grid.shape,
            kernel_shape=(3, 3),
            theta_cutoff=cutoff,
            grid_in=grid.kind,
            grid_out=grid.kind,
            bias=False,
            fused=fused,
        ).to(device)
        for fused in (False, True)
    }
    if name == "integral":
        ours = IntegralConv(c, c, grid, theta_cutoff=cutoff).to(device)
        with torch.no_grad():
            for layer in integral.values():
                layer.weight.copy_(ours.weight)
        return grid, x, (ours, integral)
    branches = {
        "spectral": {"lmax": nlat},
        "integral": {"theta_cutoff": cutoff},
        "differential": {"order": 1, "length_scale": 1 / nlat},
    }
    ours_block = LocalSphericalConv(c, c, grid, branches).to(device)
    spectral = th.SpectralConvS2(
        grid.shape, grid.shape, c, c, grid_in=grid.kind, grid_out=grid.kind
    ).to(device)
    peers = {n: _TwoBranches(spectral, layer) for n, layer in integral.items()}
    return grid, x, (ours_block, peers)


def _memory(nlat: int, device: torch.device) -> Row:
    def peak(side: str) -> float:
        command = [sys.executable, "-m", "benchmarks.sphere_ops", "--peak", side, str(nlat)]
        out = subprocess.run([*command, str(device)], check=True, capture_output=True, text=True)
        return float(out.stdout.split()[-1]) / 2**20

    ours = peak("ours")
    peers = {side: peak(side) for side in ("unfused", "fused")}
    name = min(peers, key=lambda n: peers[n])
    shape = f"{_BATCH}×{_CHANNELS}×{nlat}×{2 * nlat}"
    return Row(
        "three branches against two, peak memory",
        shape,
        ours,
        peers[name],
        f"torch-harmonics, {name}",
        peers[name] / ours,
        "MiB",
    )


def _peak(side: str, nlat: int, device: torch.device) -> float:
    _, x, (ours, theirs) = _layers("block", nlat, device)
    return peak_memory(_step(ours if side == "ours" else theirs[side], x), device)


def _step(layer: nn.Module, data: Tensor) -> Callable[[], object]:
    """Forward and backward with a gradient that is neither 0 nor 1, input gradient included."""
    data = data.detach().requires_grad_()
    with torch.no_grad():
        gradient = torch.randn_like(layer(data))

    def step() -> None:
        data.grad = None
        layer.zero_grad(set_to_none=True)
        layer(data).backward(gradient)

    return step


def _row(name: str, shape: str, times: dict, peer: str, difference: float | None) -> Row:
    ours, other = times["ours"], times["peer"]
    return Row(
        name,
        shape,
        ours.minimum * 1e3,
        other.minimum * 1e3,
        peer,
        other.minimum / ours.minimum,
        "ms",
        difference,
        ours.median * 1e3,
        other.median * 1e3,
    )


if __name__ == "__main__":
    main()
