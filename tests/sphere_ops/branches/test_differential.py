"""Differential branch: stencils against covariant derivatives, the layer against the stencils."""

import math
from functools import partial

import pytest
import torch

from sphere_ops.branches.differential import DifferentialConv
from sphere_ops.grid import Grid
from sphere_ops.kernels.filters import BandedFilters
from sphere_ops.kernels.stencils import differential_filters
from tests.sphere_ops.exact import DEGREES_AND_ORDERS, KINDS, derivatives, harmonic

SIZES = (16, 32, 64, 128)


def apply_stencils(filters: BandedFilters, x: torch.Tensor) -> torch.Tensor:
    """Apply stencils (k, h', band, w), shifted to every column, to x (..., h, w)."""
    rows = filters.first_row[:, None] + torch.arange(filters.values.shape[2])
    spectrum = torch.fft.rfft(x)[..., rows, :]  # (..., h', band, m)
    symbol = torch.fft.rfft(filters.values).conj()  # (k, h', band, m)
    return torch.fft.irfft(torch.einsum("...hrm,khrm->...khm", spectrum, symbol), n=x.shape[-1])


def errors(kind: str, nlat: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return relative errors of gradient, Laplacian and mixed derivative: L2, and maximum at poles.

    L2 is over the sphere, with quadrature, and over all harmonics of degree 1 to 8 together; the
    maximum is over the two rows next to each pole, relative to that over the grid.
    """
    grid = Grid.of(kind, nlat, 2 * nlat)
    pairs = [(l, m) for l in range(1, 9) for m in range(l + 1)]
    exact = torch.stack([derivatives(grid, l, m) for l, m in pairs])
    found = apply_stencils(
        differential_filters(grid, 2), torch.stack([harmonic(grid, l, m) for l, m in pairs])
    )

    def quantities(d: torch.Tensor) -> list[torch.Tensor]:
        return [d[:, :2], d[:, 2:3] + d[:, 4:5], d[:, 3:4]]

    square, polar = [], []
    for wrong, right in zip(quantities(found - exact), quantities(exact), strict=True):
        area = grid.area_weights
        square.append(((wrong**2 * area).sum() / (right**2 * area).sum()).sqrt())
        polar.append(wrong[..., [0, 1, -2, -1], :].abs().max() / right.abs().max())
    return torch.stack(square), torch.stack(polar)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_of_harmonics_up_to_degree_8_converge_with_fourth_order(kind):
    """Compare nlat 16, 32, 64 and 128, including the poles.

    Measured orders 16-32, 32-64, 64-128 (L2): gradient 3.66 3.90 3.97 (Legendre-Gauss),
    3.81 4.00 4.02 (equiangular), 3.68 3.92 3.98 (cell-centred); Laplacian 3.69 3.92 3.98,
    3.86 4.01 4.02, 3.71 3.92 3.98; east-north 3.60 3.84 3.92, 3.74 3.93 3.96, 3.63 3.87 3.93.
    """
    square, polar = map(torch.stack, zip(*(errors(kind, nlat) for nlat in SIZES), strict=True))
    assert (torch.log2(square[:-1] / square[1:]) >= 3.5).all()
    # The rows next to the poles have no mirror image on the other side, and the error of the second
    # derivatives falls by one order less there: measured 3.7 or more, and 2.8 or more.
    assert (torch.log2(polar[:-1, 0] / polar[1:, 0]) >= 3.5).all()
    assert (torch.log2(polar[:-1, 1:] / polar[1:, 1:]) >= 2.7).all()
    assert (square[0] < 0.15).all() and (square[-1] < 5e-5).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "nlon"), [(16, 32), (17, 31), (24, 30), (20, 96), (64, 128)])
def test_constants_have_no_derivatives(kind, nlat, nlon):
    grid = Grid.of(kind, nlat, nlon)
    constant = torch.full(grid.shape, 3.7, dtype=torch.float64)
    found = apply_stencils(differential_filters(grid, 2), constant)
    # Second derivatives are of the size of the inverse spacing squared.
    assert found.abs().max() < 1e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "nlon"), [(33, 64), (32, 61), (32, 96), (48, 64)])
def test_derivatives_are_right_on_grids_of_any_shape(kind, nlat, nlon):
    grid = Grid.of(kind, nlat, nlon)
    filters = differential_filters(grid, 2)
    for l, m in DEGREES_AND_ORDERS[:6]:
        exact = derivatives(grid, l, m)
        found = apply_stencils(filters, harmonic(grid, l, m))
        # Degree 4 over 32 rows: the error of the stencils, not of rounding.
        torch.testing.assert_close(found, exact, rtol=0, atol=0.02 * float(exact.abs().max()))


def test_a_band_is_two_rows_to_each_side_whatever_the_kind_and_size():
    for kind in KINDS:
        for nlat in (16, 33, 128):
            filters = differential_filters(Grid.of(kind, nlat, 2 * nlat), 2)
            assert filters.values.shape[2] == 5


def test_a_pole_row_is_one_point_seen_from_every_meridian():
    """Check that the gradient at the pole, in the frame of one meridian, is one vector."""
    grid = Grid.equiangular(32, 64)
    x = torch.randn(grid.shape, dtype=torch.float64)
    x[[0, -1]] = x[[0, -1], :1]
    east, north = apply_stencils(differential_filters(grid, 1), x)
    longitude = torch.deg2rad(grid.longitude)
    for row, side in ((0, 1), (-1, -1)):
        along = -side * (
            east[row] * torch.sin(longitude) + side * north[row] * torch.cos(longitude)
        )
        torch.testing.assert_close(along, along[:1].expand(64), rtol=0, atol=1e-10)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.isa
def test_derivatives_of_the_layer_are_those_of_the_stencils(order):
    grid = Grid.cell_centred(12, 21)
    x = torch.randn(2, 3, *grid.shape, dtype=torch.float64)
    layer = DifferentialConv(3, 2, grid, order=order)
    found = layer.derivatives(x)
    torch.testing.assert_close(
        found, apply_stencils(differential_filters(grid, order), x), rtol=0, atol=1e-10
    )
    cotangent = torch.randn_like(found)
    gradients = []
    for derivative in (
        layer.derivatives,
        partial(apply_stencils, differential_filters(grid, order)),
    ):
        y = x.clone().requires_grad_()
        derivative(y).backward(cotangent)
        gradients.append(y.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)
    scale = float(found.abs().max())
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)):
        lower = layer.derivatives(x.to(dtype))
        assert lower.dtype == dtype
        torch.testing.assert_close(lower.double(), found, rtol=0, atol=tolerance * scale)
    with pytest.raises(ValueError, match="int64; expected a real floating-point type"):
        layer.derivatives(x.long())


@pytest.mark.parametrize("order", [1, 2])
def test_the_layer_combines_derivatives_per_length_scale(order):
    grid = Grid.equiangular(13, 24)
    layer = DifferentialConv(3, 2, grid, order=order, length_scale=0.2).double()
    x = torch.randn(2, 3, *grid.shape, dtype=torch.float64)
    scale = torch.tensor([0.2, 0.2, 0.04, 0.04, 0.04][: layer.k], dtype=torch.float64)
    expected = torch.einsum("ock,k,bckhw->bohw", layer.weight, scale, layer.derivatives(x))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-10)


def test_derivatives_are_differentiable_by_the_input():
    grid = Grid.legendre_gauss(6, 9)
    layer = DifferentialConv(1, 1, grid, order=2)
    x = torch.randn(1, 1, *grid.shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer.derivatives, (x,))


def test_a_plane_wave_drifts_by_its_gradient():
    """Compare with ∂_east cos(mλ) sinᵐθ = −m sin(mλ) sinᵐ⁻¹θ, which has the metric term."""
    grid = Grid.legendre_gauss(64, 128)
    theta, longitude = grid.colatitude[:, None], torch.deg2rad(grid.longitude)
    x = torch.cos(3 * longitude) * torch.sin(theta) ** 3
    east = apply_stencils(differential_filters(grid, 1), x)[0]
    expected = -3 * torch.sin(3 * longitude) * torch.sin(theta) ** 2
    torch.testing.assert_close(east, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order": 3}, "order 3; expected 1 or 2"),
        ({"order": 0}, "order 0; expected 1 or 2"),
        ({"length_scale": 0.0}, "length_scale 0.0; expected a positive"),
        ({"length_scale": math.nan}, "length_scale nan; expected a positive"),
        ({"grid_out": Grid.equiangular(8, 16)}, "use the spectral or the integral branch"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DifferentialConv(1, 1, Grid.equiangular(16, 32), **settings)
