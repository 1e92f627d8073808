"""New branches: a class and one registration, as `sphere_ops.branches` describes."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from sphere_ops import Grid, LocalSphericalConv
from sphere_ops.branches import block
from sphere_ops.branches.layer import Branch
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT, laplacian
from sphere_ops.kernels.filters import BandedFilters, Filter

GRID = Grid.legendre_gauss(9, 17)


class LaplacianConv(Branch):
    """Learned combination of the Laplacians of the channels, on the unit sphere."""

    def __init__(
        self, in_channels, out_channels, grid, *, lmax, grid_out=None, device=None, dtype=None
    ) -> None:
        super().__init__(in_channels, out_channels, grid, grid_out, lmax=lmax)
        shape = out_channels, in_channels
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.in_channels**-0.5 / self.lmax**2)

    def degree_matrices(self) -> Tensor:
        l = torch.arange(self.lmax).to(self.weight)[:, None, None]
        return -l * (l + 1) * self.weight.mT


@dataclass(frozen=True)
class PointFilter(Filter):
    """Filter that is 1 at the output point."""

    def sample(self, grid: Grid, grid_out: Grid) -> BandedFilters:
        values = torch.zeros(1, grid.nlat, 1, grid.nlon, dtype=torch.float64)
        values[..., 0] = 1
        return BandedFilters(torch.arange(grid.nlat), values)


class PointwiseConv(Branch):
    """Learned mixing of the channels at every point."""

    changes_grid = False

    def __init__(
        self, in_channels, out_channels, grid, *, grid_out=None, device=None, dtype=None
    ) -> None:
        super().__init__(in_channels, out_channels, grid, grid_out, filter=PointFilter())
        shape = out_channels, in_channels, self.k
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.in_channels**-0.5)

    def filter_weights(self, dtype: torch.dtype) -> Tensor:
        return self.weight.to(dtype)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(block.BRANCHES, "laplacian", LaplacianConv)
    monkeypatch.setitem(block.BRANCHES, "pointwise", PointwiseConv)


def field(channels: int = 3) -> Tensor:
    """Return random fields that the grid resolves exactly."""
    coeffs = torch.randn(2, channels, 8, 8, dtype=torch.complex128).tril()
    return InverseRealSHT(GRID, 8, 8)(coeffs)


def test_a_branch_of_degree_matrices_is_its_definition():
    layer = LocalSphericalConv(3, 2, GRID, {"laplacian": {"lmax": 8}}, dtype=torch.float64)
    x = field()
    weight = layer.branches["laplacian"].weight
    of_channels = InverseRealSHT(GRID)(laplacian(RealSHT(GRID)(x)))
    expected = torch.einsum("oc,bchw->bohw", weight, of_channels)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_a_branch_of_filters_is_its_definition():
    layer = LocalSphericalConv(3, 2, GRID, {"pointwise": {}}, dtype=torch.float64)
    x = torch.randn(2, 3, *GRID.shape, dtype=torch.float64)
    expected = torch.einsum("oc,bchw->bohw", layer.branches["pointwise"].weight[..., 0], x)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("complex", [False, True])
def test_a_block_adds_new_branches_to_the_others(complex):
    """Use two branches with degree matrices, of different lmax, and two with filters."""
    branches = {
        "spectral": {"lmax": 6, "complex": complex},
        "differential": {"order": 1},
        "laplacian": {"lmax": 8},
        "pointwise": {},
    }
    layer = LocalSphericalConv(3, 2, GRID, branches, dtype=torch.float64)
    x = torch.randn(2, 3, *GRID.shape, dtype=torch.float64, requires_grad=True)
    inputs = [x, *layer.parameters()]
    found, expected = layer(x), sum(branch(x) for branch in layer.summands())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    dy = torch.randn_like(found)
    for a, b in zip(
        torch.autograd.grad(found, inputs, dy), torch.autograd.grad(expected, inputs, dy),
        strict=True,
    ):  # fmt: skip
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)
    names, weights = zip(*layer.named_parameters(), strict=True)

    def call(x: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (x, *weights), fast_mode=True)


def test_a_new_branch_compiles_without_a_graph_break():
    layer = LocalSphericalConv(2, 2, GRID, {"laplacian": {"lmax": 5}, "pointwise": {}})
    x = torch.randn(1, 2, *GRID.shape)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x), rtol=0, atol=1e-5)


def test_its_settings_and_its_grid_are_checked_as_those_of_the_others():
    with pytest.raises(ValueError, match="the laplacian branch has no lmax"):
        LocalSphericalConv(2, 2, GRID, {"laplacian": {}})
    with pytest.raises(ValueError, match="PointwiseConv from .* to "):
        LocalSphericalConv(2, 2, GRID, {"pointwise": {}}, Grid.equiangular(8, 17))
