"""Values and gradients of the layers against the reference, on every kind and shape of grid."""

import pytest
import torch
from torch import Tensor, nn

from sphere_ops import DifferentialConv, IntegralConv, LocalSphericalConv, SpectralConv
from sphere_ops.grid import Grid
from sphere_ops.kernels.disco import integral_filters
from tests.sphere_ops import reference
from tests.sphere_ops.exact import KINDS

BRANCHES = {
    "spectral": {"lmax": 7},
    "integral": {"theta_cutoff": 0.7},
    "differential": {"order": 2, "length_scale": 0.1},
}
CASES = {
    **{name: {name: settings} for name, settings in BRANCHES.items()},
    "complex spectral": {"spectral": {"lmax": 7, "complex": True}},
    "first order": {"differential": {"order": 1}},
    "fitted": {
        "integral": {"theta_cutoff": 0.7, "fit_lmax": 8},
        "differential": {"order": 2, "length_scale": 0.1, "fit_lmax": 8},
    },
    "isotropic": {"integral": {"theta_cutoff": 0.5, "kernel_shape": (3, 1)}},
    "zernike": {"integral": {"theta_cutoff": 0.6, "kernel_shape": (3,), "basis_type": "zernike"}},
    "spectral and integral": {n: BRANCHES[n] for n in ("spectral", "integral")},
    "spectral and differential": {n: BRANCHES[n] for n in ("spectral", "differential")},
    "integral and differential": {n: BRANCHES[n] for n in ("integral", "differential")},
    "all": BRANCHES,
    "all, complex": {**BRANCHES, "spectral": {"lmax": 8, "complex": True}},
}
LAYERS = {"spectral": SpectralConv, "integral": IntegralConv, "differential": DifferentialConv}
# Even, odd and prime numbers of rows and columns; nlon far from 2 nlat on both sides.
SHAPES = [(8, 16), (9, 17), (16, 21), (11, 12), (10, 48)]


def assert_same(layer: nn.Module, grid: Grid, grid_out: Grid, batch: int = 2, **tolerance) -> None:
    """Compare values and gradients, of input and weights, of the layer and the reference."""
    channels = next(layer.parameters()).shape[1]
    x = torch.randn(batch, channels, *grid.shape, dtype=torch.float64, requires_grad=True)
    found, expected = layer(x), reference.convolve(layer, x, grid, grid_out)
    tolerance = {"rtol": 0, "atol": 1e-10, **tolerance}
    torch.testing.assert_close(found, expected, **tolerance)
    direction = torch.randn_like(found)
    inputs = [x, *layer.parameters()]
    gradients = zip(
        torch.autograd.grad((found * direction).sum(), inputs),
        torch.autograd.grad((expected * direction).sum(), inputs),
        strict=True,
    )
    for found_gradient, expected_gradient in gradients:
        assert expected_gradient.abs().max() > 0
        torch.testing.assert_close(found_gradient, expected_gradient, **tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_every_branch_and_every_sum_of_branches(name, kind):
    grid = Grid.of(kind, 12, 24)
    layer = LocalSphericalConv(3, 2, grid, branches=CASES[name]).double()
    assert_same(layer, grid, grid)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "nlon"), SHAPES)
def test_odd_prime_and_unusual_shapes(kind, nlat, nlon):
    grid = Grid.of(kind, nlat, nlon)
    assert_same(LocalSphericalConv(2, 3, grid, branches=BRANCHES).double(), grid, grid)


@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_alone_is_a_layer(name):
    grid = Grid.equiangular(13, 22)
    layer = LAYERS[name](2, 4, grid, **BRANCHES[name]).double()
    assert_same(layer, grid, grid)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("shape", "shape_out"),
    [((16, 32), (8, 16)), ((8, 16), (16, 32)), ((15, 28), (10, 18)), ((9, 17), (12, 25))],
)
def test_down_and_up_sampling(kind, shape, shape_out):
    grid, grid_out = Grid.of(kind, *shape), Grid.of("legendre-gauss", *shape_out)
    both = {name: BRANCHES[name] for name in ("spectral", "integral")}
    layer = LocalSphericalConv(2, 3, grid, branches=both, grid_out=grid_out).double()
    assert_same(layer, grid, grid_out)


def test_other_kind_or_rows_with_the_same_columns():
    grid, grid_out = Grid.equiangular(13, 24), Grid.cell_centred(10, 24)
    both = {name: BRANCHES[name] for name in ("spectral", "integral")}
    layer = LocalSphericalConv(2, 3, grid, branches=both, grid_out=grid_out).double()
    assert_same(layer, grid, grid_out)


@pytest.mark.parametrize(("channels", "channels_out", "batch"), [(1, 1, 1), (1, 3, 2), (5, 1, 3)])
def test_one_channel_and_batch_one(channels, channels_out, batch):
    grid = Grid.legendre_gauss(9, 16)
    layer = LocalSphericalConv(channels, channels_out, grid, branches=CASES["all, complex"])
    assert_same(layer.double(), grid, grid, batch)


def test_more_orders_and_degrees_than_one_block_of_the_fast_path():
    grid = Grid.equiangular(53, 102)
    assert_same(SpectralConv(2, 2, grid, lmax=51).double(), grid, grid)


def test_more_rows_than_one_block_of_the_fast_path():
    grid = Grid.equiangular(41, 18)
    branches = {"integral": {"theta_cutoff": 0.2}, "differential": {}}
    assert_same(LocalSphericalConv(3, 2, grid, branches=branches).double(), grid, grid)


def test_many_channels():
    grid = Grid.cell_centred(12, 24)
    layer = LocalSphericalConv(33, 65, grid, branches=BRANCHES).double()
    assert_same(layer, grid, grid)


@pytest.mark.parametrize("name", CASES)
def test_in_single_precision(name):
    grid = Grid.legendre_gauss(16, 32)
    layer = LocalSphericalConv(4, 5, grid, branches=CASES[name])
    x = torch.randn(2, 4, *grid.shape, requires_grad=True)
    direction = torch.randn(2, 5, *grid.shape)

    def run(y: Tensor) -> list[Tensor]:
        gradients = torch.autograd.grad((y * direction).sum(), [x, *layer.parameters()])
        return [y.detach(), *gradients]

    for found, expected in zip(
        run(layer(x)), run(reference.convolve(layer, x.double(), grid, grid)), strict=True
    ):
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-5 * scale)


def test_the_reference_is_a_sum_over_points():
    """Check the reference: its matrices per wavenumber equal a sum in physical space."""
    grid = Grid.equiangular(6, 9)
    layer = IntegralConv(1, 1, grid, theta_cutoff=0.9).double()
    x = torch.randn(1, 1, *grid.shape, dtype=torch.float64)
    psi = reference.dense(integral_filters(grid, grid, 0.9, (3, 3), "piecewise linear"), grid)
    kernel = torch.einsum("k,kihw->ihw", layer.weight[0, 0], psi)
    expected = [(kernel.roll(column, dims=-1) * x).sum(dim=(-2, -1)) for column in range(grid.nlon)]
    torch.testing.assert_close(
        reference.convolve(layer, x, grid, grid)[0, 0],
        torch.stack([column[0] for column in expected], dim=-1),
        rtol=0,
        atol=1e-10,
    )
