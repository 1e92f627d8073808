"""Operators on a GPU, against those on a CPU."""

import copy

import pytest
import torch
from torch import Tensor, nn

from sphere_ops.branches.block import LocalSphericalConv
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT
from sphere_ops.precision import set_product_precision
from tests.sphere_ops.branches.test_against_reference import CASES

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
TYPES = [(torch.float64, 1e-11), (torch.float32, 1e-5)]


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("name", CASES)
def test_layers_and_their_gradients(name, dtype, tolerance):
    grid = Grid.equiangular(19, 36)
    layer = LocalSphericalConv(3, 4, grid, branches=CASES[name]).to(dtype)
    x = torch.randn(2, 3, *grid.shape, dtype=dtype)
    results = []
    for device in ("cpu", "cuda"):
        here, z = copy.deepcopy(layer).to(device), x.to(device).requires_grad_()
        y = here(z)
        results.append(
            [y.detach(), *torch.autograd.grad(y.square().sum(), [z, *here.parameters()])]
        )
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=0, atol=tolerance * float(a.abs().max()))


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
def test_transforms_and_their_gradients(dtype, tolerance):
    grid = Grid.cell_centred(19, 36)
    sht, inverse = RealSHT(grid, lmax=10, mmax=10), InverseRealSHT(grid, lmax=10, mmax=10)
    x = torch.randn(2, *grid.shape, dtype=dtype)
    results = []
    for device in ("cpu", "cuda"):
        z = x.to(device).requires_grad_()
        coeffs = sht(z)
        y = inverse(coeffs * coeffs.real)
        (gradient,) = torch.autograd.grad(y.square().sum(), z)
        results.append([coeffs.detach(), y.detach(), gradient])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=0, atol=tolerance * float(a.abs().max()))


def test_autocast_changes_nothing_inside():
    grid = Grid.legendre_gauss(12, 24)
    layer = LocalSphericalConv(3, 4, grid, branches=CASES["all"]).cuda()
    x = torch.randn(2, 3, *grid.shape, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        found = layer(x)
    torch.testing.assert_close(found, layer(x), rtol=0, atol=0)


def results(layer: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    y = layer(x)
    return [r.detach() for r in (y, *torch.autograd.grad(y.sin().sum(), [x, *layer.parameters()]))]


def assert_agree(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= tolerance * b.norm()


# The relative rounding of the type, with room for the sums over rows and branches.
@pytest.mark.parametrize(("precision", "tolerance"), [("tf32", 2e-3), ("bf16", 2e-2)])
def test_lower_precisions_of_products_differ_by_their_rounding(precision, tolerance, request):
    grid = Grid.legendre_gauss(16, 32)
    layer = LocalSphericalConv(3, 4, grid, branches=CASES["all"]).cuda()
    x = torch.randn(2, 3, *grid.shape, device="cuda")
    expected = results(layer, x)
    request.addfinalizer(lambda: set_product_precision("float32"))
    set_product_precision(precision)
    assert_agree(results(layer, x), expected, tolerance)


def test_a_compiled_model_is_one_graph_and_computes_the_same():
    grid = Grid.legendre_gauss(16, 32)
    layer = LocalSphericalConv(3, 4, grid, branches=CASES["all"])
    net = nn.Sequential(nn.Conv2d(3, 3, 1), layer, nn.GELU()).cuda()
    x = torch.randn(2, 3, *grid.shape, device="cuda")
    assert_agree(results(torch.compile(net, fullgraph=True), x), results(net, x), 1e-5)
