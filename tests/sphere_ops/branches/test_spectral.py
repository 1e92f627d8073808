"""Spectral branch: a factor per degree, torch-harmonics' layer, and complex weights."""

import warnings

import pytest
import torch
import torch_harmonics as th

from sphere_ops.branches.spectral import SpectralConv
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT
from tests.sphere_ops.exact import DEGREES_AND_ORDERS, KINDS, harmonic, on_grid, random_coeffs


@pytest.mark.parametrize("kind", KINDS)
def test_a_harmonic_is_multiplied_by_the_weight_of_its_degree(kind):
    grid = Grid.of(kind, 18, 36)
    layer = SpectralConv(1, 1, grid, lmax=9).double()
    for l, m in DEGREES_AND_ORDERS:
        x = harmonic(grid, l, m)[None, None]
        torch.testing.assert_close(layer(x), layer.weight[0, 0, l] * x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_complex_weight_turns_every_order_about_the_axis(kind):
    grid = Grid.of(kind, 18, 36)
    layer = SpectralConv(1, 1, grid, lmax=9, complex=True).double()
    with torch.no_grad():
        layer.weight.normal_()
    coeffs = random_coeffs(9, 9)
    kappa = torch.view_as_complex(layer.weight)[0, 0]
    expected = kappa[:, None] * coeffs
    expected[:, 0].imag.zero_()  # a real field has a real order 0
    found = layer(on_grid(coeffs, grid)[None, None])[0, 0]
    torch.testing.assert_close(found, on_grid(expected.detach(), grid), rtol=0, atol=1e-10)


def test_complex_weights_start_as_real_ones_do():
    grid = Grid.legendre_gauss(12, 24)
    torch.manual_seed(0)
    real = SpectralConv(2, 3, grid, lmax=8)
    torch.manual_seed(0)
    complex_ = SpectralConv(2, 3, grid, lmax=8, complex=True)
    x = torch.randn(1, 2, *grid.shape)
    torch.testing.assert_close(real(x), complex_(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_degrees_beyond_the_truncation_are_dropped(kind):
    grid = Grid.of(kind, 24, 48)
    layer = SpectralConv(2, 2, grid, lmax=5).double()
    low, high = random_coeffs(2, 11, 11), random_coeffs(2, 11, 11, seed=1)
    low[:, 5:] = 0
    high[:, :5] = 0
    y = layer(on_grid(low + high, grid)[None])
    torch.testing.assert_close(y, layer(on_grid(low, grid)[None]), rtol=0, atol=1e-10)
    coeffs = RealSHT(grid, lmax=11, mmax=11)(y)
    assert coeffs[..., 5:, :].abs().max() < 1e-12


@pytest.mark.parametrize("kind", ["legendre-gauss", "equiangular"])
@pytest.mark.parametrize(("shape", "shape_out"), [((16, 32), (16, 32)), ((16, 32), (10, 20))])
def test_it_is_the_layer_of_torch_harmonics(kind, shape, shape_out):
    """Compare in single precision, the only one of torch-harmonics' layer."""
    grid, grid_out = Grid.of(kind, *shape), Grid.of(kind, *shape_out)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Default SHT truncation")
        theirs = th.SpectralConvS2(shape, shape_out, 3, 2, grid_in=kind, grid_out=kind)
    ours = SpectralConv(3, 2, grid, lmax=theirs.lmax, complex=True, grid_out=grid_out)
    with torch.no_grad():
        ours.weight.copy_(torch.view_as_real(theirs.weight[0].permute(1, 0, 2)))
    x = torch.randn(2, 3, *shape)
    with torch.compiler.set_stance("force_eager"):
        expected = theirs(x)
    torch.testing.assert_close(
        ours(x), expected, rtol=0, atol=1e-5 * float(expected.detach().abs().max())
    )


def test_it_keeps_the_variance_of_a_field_with_all_degrees():
    torch.manual_seed(0)
    grid = Grid.legendre_gauss(32, 64)
    layer = SpectralConv(64, 64, grid, lmax=32)
    x = on_grid_of_all_degrees(grid, 64)
    assert float(layer(x).detach().var() / x.var()) == pytest.approx(1, rel=0.15)


def on_grid_of_all_degrees(grid: Grid, channels: int) -> torch.Tensor:
    """Return fields with unit variance per coefficient."""
    coeffs = random_coeffs(1, channels, 32, 32).to(torch.complex64)
    return InverseRealSHT(grid, lmax=32, mmax=32)(coeffs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lmax": 0}, "lmax 0 .*expected 1 to 16"),
        ({"lmax": 17}, "lmax 17 from the grid equiangular 16×32.*expected 1 to 16"),
        ({"lmax": 12, "grid_out": Grid.equiangular(8, 16)}, "lmax 12 .*expected 1 to 8"),
        ({"lmax": 2.5}, "lmax 2.5; expected a whole number"),
    ],
)
def test_a_truncation_that_a_grid_cannot_hold_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SpectralConv(1, 1, Grid.equiangular(16, 32), **settings)
