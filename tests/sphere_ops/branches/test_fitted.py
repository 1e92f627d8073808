"""Branches fitted to degrees: accurate for all of them, and the same operator on other grids."""

import math

import pytest
import torch
from torch import Tensor

from sphere_ops.branches.differential import DifferentialConv
from sphere_ops.branches.integral import IntegralConv
from sphere_ops.grid import Grid
from sphere_ops.kernels.disco import IntegralFilter
from sphere_ops.kernels.fitted_integrals import FittedIntegral
from sphere_ops.kernels.fitted_stencils import fitted_filters
from sphere_ops.kernels.stencils import differential_filters
from tests.sphere_ops.branches.test_differential import apply_stencils
from tests.sphere_ops.exact import KINDS, derivatives, harmonic, on_grid, random_coeffs

LMAX = 14  # of a grid of 21 rows, as 43 of 64 and 22 of 32: products of two fields do not alias


def relative_error(found: Tensor, expected: Tensor, grid: Grid) -> Tensor:
    """Return relative L2 errors over the sphere of (..., k, h, w), (k,)."""
    area = grid.area_weights
    dims = tuple(d for d in range(found.dim()) if d != found.dim() - 3)
    squares = [((x**2) * area).sum(dim=dims) for x in (found - expected, expected)]
    return (squares[0] / squares[1]).sqrt()


def errors_by_degree(kind: str, nlat: int, fitted: bool) -> Tensor:
    """Return the errors of all derivatives for every degree from 1 to LMAX − 1, (l, k)."""
    grid = Grid.of(kind, nlat, 2 * nlat)
    filters = fitted_filters(grid, 2, LMAX) if fitted else differential_filters(grid, 2)
    rows = []
    for l in range(2, LMAX):
        x = torch.stack([harmonic(grid, l, m) for m in range(l + 1)])
        exact = torch.stack([derivatives(grid, l, m) for m in range(l + 1)])
        rows.append(relative_error(apply_stencils(filters, x), exact, grid))
    return torch.stack(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_accurate_for_all_degrees_of_the_fit(kind):
    """Polynomials at a point have errors of 0.13 to 0.31 at the last degree."""
    found = errors_by_degree(kind, 21, fitted=True)
    assert (found[:-1] < 0.02).all() and (found[-1] < 0.04).all(), found
    assert (found[-1] < errors_by_degree(kind, 21, fitted=False)[-1] / 8).all()


@pytest.mark.parametrize("kind", KINDS)
def test_finer_grids_keep_the_accuracy(kind):
    found = errors_by_degree(kind, 42, fitted=True)
    assert (found < 0.02).all(), found


def test_finer_grids_have_the_same_operator_for_degrees_beyond_the_fit_too():
    """Use equiangular grids, where every second point of the finer grid is one of the coarser.

    Measured against 81 rows: 0.06 to 0.14 on 21 and 0.01 to 0.02 on 41. Polynomials, which act on
    the degrees that a grid holds, differ by 0.22 to 0.40 on 21 rows.
    """
    coeffs = random_coeffs(LMAX + 3, LMAX + 3)
    outputs = []
    for nlat, step in ((21, 1), (41, 2), (81, 4)):
        grid = Grid.equiangular(nlat, 2 * nlat - 2)
        y = apply_stencils(fitted_filters(grid, 2, LMAX), on_grid(coeffs, grid))
        outputs.append(y[:, ::step, ::step])
    coarse = Grid.equiangular(21, 40)
    first, second = (relative_error(y, outputs[2], coarse) for y in outputs[:2])
    assert (first < 0.2).all(), first
    assert (second < 0.03).all(), second


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "nlon"), [(6, 12), (16, 32), (17, 31), (24, 30), (20, 96)])
def test_constants_have_no_derivatives_by_fitted_stencils(kind, nlat, nlon):
    grid = Grid.of(kind, nlat, nlon)
    constant = torch.full(grid.shape, 3.7, dtype=torch.float64)
    assert apply_stencils(fitted_filters(grid, 2, LMAX), constant).abs().max() < 1e-10


def test_fitted_derivatives_at_a_pole_are_one_vector_seen_from_every_meridian():
    grid = Grid.equiangular(32, 64)
    x = torch.randn(grid.shape, dtype=torch.float64)
    x[[0, -1]] = x[[0, -1], :1]
    east, north = apply_stencils(fitted_filters(grid, 1, 22), x)
    longitude = torch.deg2rad(grid.longitude)
    for row, side in ((0, 1), (-1, -1)):
        along = -side * (
            east[row] * torch.sin(longitude) + side * north[row] * torch.cos(longitude)
        )
        torch.testing.assert_close(along, along[:1].expand(64), rtol=0, atol=1e-9)


def test_the_band_has_a_fixed_angle_and_no_less_than_four_rows_to_each_side():
    for nlat, rows in ((8, 8), (21, 9), (41, 17), (81, 33), (14, 9)):
        grid = Grid.legendre_gauss(nlat, 2 * nlat)
        assert fitted_filters(grid, 1, LMAX).values.shape[2] == rows


@pytest.mark.parametrize("order", [1, 2])
def test_the_fitted_layer_combines_derivatives_per_length_scale(order):
    grid = Grid.equiangular(13, 24)
    layer = DifferentialConv(3, 2, grid, order=order, length_scale=0.2, fit_lmax=8).double()
    x = torch.randn(2, 3, *grid.shape, dtype=torch.float64)
    exact = apply_stencils(fitted_filters(grid, order, 8), x)
    torch.testing.assert_close(layer.derivatives(x), exact, rtol=0, atol=1e-10)
    scale = torch.tensor([0.2, 0.2, 0.04, 0.04, 0.04][: layer.k], dtype=torch.float64)
    expected = torch.einsum("ock,k,bckhw->bohw", layer.weight, scale, exact)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-10)


KERNEL = (0.45, (3, 3), "piecewise linear", "nodal")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "tolerance"), [(11, 0.12), (21, 0.01), (42, 0.01)])
def test_integrals_are_accurate_for_all_degrees_on_every_grid(kind, nlat, tolerance):
    """Compare at the same output points with kernels on 160 rows; 11 rows have few degrees too few.

    Kernels sampled on the grid have errors of 0.3 on 11 rows and of 0.03 on 21.
    """
    grid_out, fine = Grid.equiangular(9, 16), Grid.legendre_gauss(160, 320)
    grid = Grid.of(kind, nlat, 2 * nlat)
    coeffs = random_coeffs(min(LMAX, nlat), min(LMAX, nlat))
    exact = apply_kernels(IntegralFilter(*KERNEL), coeffs, fine, grid_out)
    found = apply_kernels(FittedIntegral(*KERNEL, LMAX), coeffs, grid, grid_out)
    sampled = apply_kernels(IntegralFilter(*KERNEL), coeffs, grid, grid_out)
    error, before = (relative_error(y, exact, grid_out) for y in (found, sampled))
    assert (error < tolerance).all(), error
    assert nlat == 42 or (error < before / 3).all(), (error, before)


def apply_kernels(
    kernels: IntegralFilter | FittedIntegral, coeffs: Tensor, grid: Grid, grid_out: Grid
) -> Tensor:
    """Return the outputs of all filters for the field of coefficients, (k, h, w) of grid_out."""
    filters = kernels.sample(grid, grid_out)
    rows = filters.first_row[:, None] + torch.arange(filters.values.shape[2])
    orders = len(coeffs)
    spectrum = torch.fft.rfft(on_grid(coeffs, grid), norm="forward")[rows, :orders]
    symbol = torch.fft.rfft(filters.values)[..., :orders].conj()
    out = torch.einsum("hrm,khrm->khm", spectrum, symbol)
    # A longitude of grid_out may hold fewer orders: evaluate the series there.
    longitude = torch.deg2rad(grid_out.longitude)[:, None] * torch.arange(orders)
    turn = torch.polar(torch.ones_like(longitude), longitude)  # (w, m)
    twice = torch.where(torch.arange(orders) == 0, 1.0, 2.0)
    return torch.einsum("khm,wm->khw", out * twice, turn).real


def test_the_fitted_integral_layer_combines_its_kernels():
    grid, grid_out = Grid.equiangular(13, 24), Grid.legendre_gauss(10, 24)
    settings = {"theta_cutoff": 0.6, "fit_lmax": 8, "grid_out": grid_out}
    layer = IntegralConv(2, 3, grid, **settings).double()
    assert "fit_lmax=8" in repr(layer)
    x = torch.randn(1, 2, *grid.shape, dtype=torch.float64)
    expected = torch.einsum(
        "ock,ckhw->ohw", layer.weight, torch.stack([kernels_of(layer, field) for field in x[0]])
    )
    torch.testing.assert_close(layer(x)[0], expected, rtol=0, atol=1e-10)


def kernels_of(layer: IntegralConv, field: Tensor) -> Tensor:
    """Return the outputs of all filters of a layer for a field (h, w)."""
    filters = layer.filter.sample(layer.grid, layer.grid_out)
    rows = filters.first_row[:, None] + torch.arange(filters.values.shape[2])
    symbol = torch.fft.rfft(filters.values).conj()
    out = torch.einsum("hrm,khrm->khm", torch.fft.rfft(field)[rows], symbol)
    return torch.fft.irfft(out, n=field.shape[-1])


@pytest.mark.parametrize(
    ("fit_lmax", "message"),
    [(1, "fit_lmax 1; expected 2 or more"), (math.pi, "fit_lmax 3.14.*expected a whole number")],
)
def test_wrong_degrees_of_a_fit_are_refused(fit_lmax, message):
    with pytest.raises(ValueError, match=message):
        DifferentialConv(1, 1, Grid.equiangular(16, 32), fit_lmax=fit_lmax)
    with pytest.raises(ValueError, match=message):
        IntegralConv(1, 1, Grid.equiangular(16, 32), theta_cutoff=0.5, fit_lmax=fit_lmax)
