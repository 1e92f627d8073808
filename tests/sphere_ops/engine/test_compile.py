"""Compilation of layers as whole graphs, also when it makes the first use of their tables."""

import shutil
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from sphere_ops.branches.block import LocalSphericalConv
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT

BRANCHES = {
    "spectral": {"lmax": 6, "complex": True},
    "integral": {"theta_cutoff": 0.6},
    "differential": {"order": 2, "length_scale": 0.2},
}


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def model(grid: Grid, channels: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, channels, 1),
        LocalSphericalConv(channels, channels, grid, branches=BRANCHES),
        nn.GELU(),
        LocalSphericalConv(channels, 2, grid, branches={"integral": BRANCHES["integral"]}),
    )


def run(net: nn.Module, module: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = module(x)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), [x, *net.parameters()])]


def assert_compiled_is_eager(net: nn.Module, x: Tensor, backend: str) -> None:
    # Compiled first: were a table made while tracing, it would stay behind as a fake tensor.
    compiled = run(net, torch.compile(net, fullgraph=True, backend=backend), x)
    for a, b in zip(compiled, run(net, net, x), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(b.abs().max()))


def test_a_model_is_one_graph_and_computes_what_it_does_in_eager_mode():
    # A grid that no other test uses, so that its tables are made here.
    grid = Grid.equiangular(7, 14)
    assert_compiled_is_eager(model(grid), torch.randn(2, 2, *grid.shape), "aot_eager")


def test_there_is_no_graph_break():
    grid = Grid.cell_centred(7, 12)
    explained = torch._dynamo.explain(model(grid))(torch.randn(2, 2, *grid.shape))
    assert explained.graph_break_count == 0 and explained.graph_count == 1


def test_another_batch_size_is_computed_too():
    grid = Grid.legendre_gauss(7, 12)
    net = model(grid)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for batch in (2, 3, 5):
        x = torch.randn(batch, 2, *grid.shape)
        torch.testing.assert_close(compiled(x), net(x), rtol=0, atol=1e-5)


@pytest.mark.isa
def test_autocast_around_a_compiled_model():
    grid = Grid.legendre_gauss(7, 13)
    net = model(grid)
    x = torch.randn(2, 2, *grid.shape)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = compiled(x).detach(), net(x).detach()
    assert found.dtype == expected.dtype
    # Both round to bfloat16 at the same places.
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-2 * float(expected.abs().max()))


def test_the_transforms_compile_in_one_graph():
    grid = Grid.cell_centred(8, 15)

    class Filter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sht = RealSHT(grid, lmax=5, mmax=5)
            self.inverse = InverseRealSHT(grid, lmax=5, mmax=5)
            self.factor = nn.Parameter(torch.rand(5, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.inverse(self.sht(x) * self.factor)

    assert_compiled_is_eager(Filter(), torch.randn(3, 2, *grid.shape), "aot_eager")


@pytest.mark.skipif(shutil.which("g++") is None, reason="the default backend needs a compiler")
@pytest.mark.isa
def test_the_default_backend_fuses_what_is_around_the_layers():
    """Compile forward only, for one kernel; the test above covers backward graphs."""
    grid = Grid.legendre_gauss(8, 14)
    net = nn.Sequential(LocalSphericalConv(2, 2, grid, branches=BRANCHES), nn.GELU())
    x = torch.randn(1, 2, *grid.shape)
    with torch.no_grad():
        found, expected = torch.compile(net, fullgraph=True)(x), net(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_an_exported_model_computes_the_same():
    grid = Grid.equiangular(8, 13)
    net = model(grid).eval()
    x = torch.randn(2, 2, *grid.shape)
    program = torch.export.export(net, (x,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), net(x), rtol=0, atol=1e-5)
