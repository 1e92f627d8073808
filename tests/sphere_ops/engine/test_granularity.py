"""Granularity of the work: cache-sized blocks and few large launches give the same results."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from sphere_ops.branches.block import LocalSphericalConv
from sphere_ops.engine import layout, legendre_tables, local
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealVectorSHT, RealVectorSHT
from sphere_ops.parallel.partition import Shard
from sphere_ops.precision import products as products_in

GRIDS = [Grid.legendre_gauss(16, 32), Grid.equiangular(13, 24), Grid.cell_centred(11, 21)]
CPU = torch.device("cpu")


def block(grid: Grid) -> nn.Module:
    branches = {
        "spectral": {"lmax": grid.nlat, "complex": True},
        "integral": {"theta_cutoff": 0.5},
        "differential": {"order": 2, "length_scale": 0.1},
    }
    return LocalSphericalConv(3, 4, grid, branches=branches).double()


def block_results(layer: nn.Module, x: Tensor, dy: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    y = layer(x)
    return [r.detach() for r in (y, *torch.autograd.grad(y, [x, *layer.parameters()], dy))]


def transform_results(grid: Grid, v: Tensor) -> list[Tensor]:
    v = v.detach().requires_grad_()
    size = {"lmax": grid.nlat, "mmax": (grid.nlon + 1) // 2 - 1}
    coeffs = RealVectorSHT(grid, **size)(v)
    back = InverseRealVectorSHT(grid, **size)(coeffs)
    return [r.detach() for r in (coeffs, back, *torch.autograd.grad(back.square().sum(), v))]


def assert_agree(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= tolerance * b.norm()


@pytest.fixture
def few_large_launches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use the granularity of a GPU on the CPU, with several blocks of orders on small grids."""
    for module in (layout, legendre_tables, local):
        monkeypatch.setattr(module, "prefers_small_blocks", lambda device: False)
    monkeypatch.setattr(legendre_tables, "_ORDERS_PER_BLOCK", 3)
    yield


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use the granularity of a cache that holds a few rows and orders of small grids."""
    monkeypatch.setattr(layout, "_SLAB", 300)
    monkeypatch.setattr(legendre_tables, "_ORDERS_PER_BLOCK", 3)
    yield


@pytest.mark.parametrize("cut", ["few_large_launches", "small_pieces"])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_results_do_not_depend_on_how_the_work_is_cut(grid: Grid, cut: str, request):
    layer, x, dy = block(grid), torch.randn(2, 3, *grid.shape), torch.randn(2, 4, *grid.shape)
    x, dy, v = x.double(), dy.double(), torch.randn(2, 2, *grid.shape, dtype=torch.float64)
    expected = block_results(layer, x, dy) + transform_results(grid, v)
    request.getfixturevalue(cut)
    layer._tables.made.clear()  # those that are cut as before
    table = legendre_tables.legendre_tables(
        grid, grid.nlat, Shard().orders(9), torch.float64, CPU, "P"
    )
    assert len(table.blocks) == 3
    found = block_results(layer, x, dy) + transform_results(grid, v)
    assert_agree(found, expected, 1e-12)


def test_a_gpus_products_are_set_and_restored_whichever_way_others_set_them():
    matmul, device = torch.backends.cuda.matmul, torch.device("cuda")
    before = matmul.fp32_precision
    try:
        for theirs in ("tf32", "ieee", before):
            matmul.fp32_precision = theirs
            for precision, expected in (("tf32", "tf32"), ("float32", "ieee"), ("bf16", "ieee")):
                with products_in(precision, device):
                    assert matmul.fp32_precision == expected
                assert matmul.fp32_precision == theirs
        with products_in("tf32", CPU):
            assert matmul.fp32_precision == before
    finally:
        matmul.fp32_precision = before
