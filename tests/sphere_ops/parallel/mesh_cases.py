"""Computations whose results must be equal on one process and in a mesh.

Every case takes this rank's rows of whole fields, computes, and gathers the results.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sphere_ops.branches.block import LocalSphericalConv
from sphere_ops.branches.differential import DifferentialConv
from sphere_ops.branches.integral import IntegralConv
from sphere_ops.branches.spectral import SpectralConv
from sphere_ops.grid import Grid
from sphere_ops.harmonics.fill import smooth_fill
from sphere_ops.harmonics.resample import resample
from sphere_ops.harmonics.transforms import (
    InverseRealSHT,
    InverseRealVectorSHT,
    RealSHT,
    RealVectorSHT,
    laplacian,
    power_spectrum,
)
from sphere_ops.harmonics.winds import vorticity_divergence, winds
from sphere_ops.parallel import launch
from sphere_ops.parallel.fields import area_mean
from sphere_ops.parallel.mesh import WireDtype, current

Results = dict[str, Tensor]

GAUSS, EQUIANGULAR, CELLS = (
    Grid.legendre_gauss(16, 32),
    Grid.equiangular(13, 24),
    Grid.cell_centred(11, 21),
)
GRIDS = (GAUSS, EQUIANGULAR, CELLS)
ALL = {
    "spectral": {"lmax": 9},
    "integral": {"theta_cutoff": 0.5},
    "differential": {"order": 2, "length_scale": 0.1},
}

FITTED = {
    "integral": {"theta_cutoff": 0.5, "fit_lmax": 9},
    "differential": {"order": 1, "length_scale": 0.1, "fit_lmax": 9},
}


def random(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def rows(x: Tensor) -> Tensor:
    return x[..., current().latitude.rows(x.shape[-2]), :].clone()


def whole(x: Tensor, grid: Grid) -> Tensor:
    return current().gather_rows(x, grid.nlat)


def layer_case(layer: nn.Module, grid: Grid, grid_out: Grid, dtype: torch.dtype) -> Results:
    """Return output, input gradient and the sum of the ranks' weight gradients of a layer."""
    layer = layer.to(dtype)
    with torch.no_grad():
        for i, p in enumerate(layer.parameters()):
            p.copy_(random(*p.shape, seed=i))
    channels_out, channels_in = next(layer.parameters()).shape[:2]
    x = rows(random(2, channels_in, *grid.shape, seed=100)).to(dtype).requires_grad_()
    y = layer(x)
    y.backward(rows(random(2, channels_out, *grid_out.shape, seed=101)).to(dtype))
    assert x.grad is not None
    results = {"output": whole(y, grid_out), "input gradient": whole(x.grad, grid)}
    for name, p in layer.named_parameters():
        assert p.grad is not None
        results[f"gradient of {name}"] = current().sum_rows(p.grad)
    return {name: value.detach() for name, value in results.items()}


def transform_case(grid: Grid, dtype: torch.dtype) -> Results:
    """Return round trips of a scalar and a vector field, and their gradients."""
    lmax, mmax = grid.exact_lmax, grid.exact_lmax
    x = rows(random(2, 3, 2, *grid.shape, seed=7)).to(dtype).requires_grad_()
    sht, inverse = RealSHT(grid, lmax=lmax, mmax=mmax), InverseRealSHT(grid, lmax=lmax, mmax=mmax)
    vsht = RealVectorSHT(grid, lmax=lmax, mmax=mmax)
    ivsht = InverseRealVectorSHT(grid, lmax=lmax, mmax=mmax)
    coeffs = sht(x)
    y = inverse(laplacian(coeffs))
    v = ivsht(laplacian(vsht(x)))
    power = power_spectrum(coeffs)
    mean = area_mean(x.square(), grid)
    cotangent = rows(random(2, 3, 2, *grid.shape, seed=8)).to(dtype)
    # Every rank counts a replicated value once, hence the mean.
    shared = (power.sqrt().sum() + mean.sqrt().sum()) / current().latitude.ranks
    ((y + v) * cotangent).sum().add(shared).backward()
    assert x.grad is not None
    return {
        "scalar": whole(y.detach(), grid),
        "vector": whole(v.detach(), grid),
        "spectrum": power.detach(),
        "mean": mean.detach(),
        "gradient": whole(x.grad, grid),
    }


def other_case(dtype: torch.dtype) -> Results:
    x = rows(random(2, *GAUSS.shape, seed=9)).to(dtype)
    shifted = Grid("equiangular", 9, 20, 3.0)
    layer = DifferentialConv(2, 1, GAUSS, order=2)
    mask = rows(random(2, *GAUSS.shape, seed=9)) > 0
    everywhere = current().gather_rows(x, GAUSS.nlat, everywhere=True)
    y = x[None].clone().requires_grad_()
    derivatives = layer.derivatives(y)
    derivatives.backward(rows(random(1, 2, 5, *GAUSS.shape, seed=10)).to(dtype))
    assert y.grad is not None
    return {
        "resampled": whole(resample(x, GAUSS, shifted), shifted),
        "derivatives": whole(derivatives, GAUSS),
        "input gradient of derivatives": whole(y.grad, GAUSS),
        "mask": whole(mask, GAUSS).to(dtype),
        "gathered everywhere": everywhere,
    }


def fill_case(dtype: torch.dtype) -> Results:
    mask = rows(random(2, *CELLS.shape, seed=11) > 1)
    x = rows(random(3, 2, *CELLS.shape, seed=12)).to(dtype).requires_grad_()
    filled = smooth_fill(x, mask, CELLS)
    filled.backward(rows(random(3, 2, *CELLS.shape, seed=13)).to(dtype))
    assert x.grad is not None
    return {"filled": whole(filled.detach(), CELLS), "gradient": whole(x.grad, CELLS)}


def wind_case(dtype: torch.dtype) -> Results:
    """Return vorticity and divergence of a wind, and its winds, on equally spaced rows."""
    wind = [rows(random(2, *EQUIANGULAR.shape, seed=seed)).to(dtype) for seed in (14, 15)]
    found = vorticity_divergence(*wind, EQUIANGULAR, 1.0)
    names = ("vorticity", "divergence", "east", "north")
    fields = (*found, *winds(*found, EQUIANGULAR, 1.0))
    return {name: whole(x, EQUIANGULAR) for name, x in zip(names, fields, strict=True)}


def cases() -> Iterator[tuple[str, Callable[[torch.dtype], Results]]]:
    for grid in GRIDS:
        yield (
            f"all branches, {grid}",
            lambda dtype, grid=grid: layer_case(
                LocalSphericalConv(3, 2, grid, branches=ALL), grid, grid, dtype
            ),
        )
        yield (f"transforms, {grid}", lambda dtype, grid=grid: transform_case(grid, dtype))
    leading = {name: ALL[name] for name in ("spectral", "integral")}
    change = LocalSphericalConv(1, 2, GAUSS, leading, grid_out=EQUIANGULAR)
    yield "another grid", lambda dtype: layer_case(change, GAUSS, EQUIANGULAR, dtype)
    spectral = SpectralConv(1, 1, GAUSS, lmax=16, complex=True)
    yield "complex kernel", lambda dtype: layer_case(spectral, GAUSS, GAUSS, dtype)
    few = SpectralConv(2, 1, GAUSS, lmax=2)
    yield "fewer wavenumbers than ranks", lambda dtype: layer_case(few, GAUSS, GAUSS, dtype)
    integral = IntegralConv(2, 1, CELLS, theta_cutoff=0.7)
    yield "integral branch alone", lambda dtype: layer_case(integral, CELLS, CELLS, dtype)
    fitted = LocalSphericalConv(2, 1, GAUSS, FITTED)
    yield "fitted branches", lambda dtype: layer_case(fitted, GAUSS, GAUSS, dtype)
    yield "smooth fill", fill_case
    yield "winds", wind_case
    yield "everything else", other_case


def results() -> dict[str, Results]:
    found = {}
    for dtype in (torch.float64, torch.float32):
        for name, case in cases():
            found[f"{name}, {dtype}"] = case(dtype)
    return found


# --- traffic -------------------------------------------------------------------------------------

COLLECTIVES = [name for name in dir(dist) if name.startswith(("all_", "reduce", "broadcast",
               "gather", "scatter", "send", "recv", "isend", "irecv", "barrier"))]  # fmt: skip
BLOCK = (2, 6, 8)  # batch, channels in and out
TRAFFIC_GRID = Grid.legendre_gauss(24, 48)


@contextmanager
def recorded() -> Iterator[list[tuple[str, int]]]:
    """Record every collective in a context, with the bytes that this rank sends to others."""
    calls: list[tuple[str, int]] = []
    originals = {name: getattr(dist, name) for name in COLLECTIVES}

    def record(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            sent = args[1].numel() * args[1].element_size() if name == "all_to_all_single" else -1
            calls.append((name, sent))
            return originals[name](*args, **kwargs)

        return call

    for name in originals:
        if callable(originals[name]):
            setattr(dist, name, record(name))
    try:
        yield calls
    finally:
        for name, original in originals.items():
            setattr(dist, name, original)


def traffic() -> dict[str, list[tuple[str, int]]]:
    b, c, o = BLOCK
    layer = LocalSphericalConv(c, o, TRAFFIC_GRID, branches=ALL)
    x = rows(random(b, c, *TRAFFIC_GRID.shape, seed=1)).float().requires_grad_()
    with recorded() as forward:
        y = layer(x)
    with recorded() as backward:
        y.sum().backward()
    return {"forward": forward, "backward": backward}


def all_of_it(path: str, wire_dtype: WireDtype) -> None:
    """Run all cases on a rank."""
    with launch.started(1, launch.world(), timeout=60, wire_dtype=wire_dtype) as mesh:
        found = {"results": results(), "traffic": traffic()}
    torch.save(found, f"{path}.{mesh.latitude.rank}")
