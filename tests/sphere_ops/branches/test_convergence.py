"""Convergence of the branches to one operator on refined grids and rotated spheres."""

import math

import pytest
import torch
from torch import Tensor

from sphere_ops import DifferentialConv, IntegralConv, LocalSphericalConv, SpectralConv
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT
from tests.sphere_ops.exact import KINDS, derivatives, field, harmonic, random_coeffs

LMAX = 9  # of the fields; all grids hold them from nlat 18 on
SIZES = (32, 64, 128, 256)


def fields(grid: Grid, channels: int = 2) -> Tensor:
    """Return the same smooth fields on any grid, (1, channels, nlat, nlon)."""
    coeffs = random_coeffs(1, channels, LMAX, LMAX)
    return InverseRealSHT(grid, lmax=LMAX, mmax=LMAX)(coeffs)


def relative_error(found: Tensor, expected: Tensor, grid: Grid) -> Tensor:
    area = grid.area_weights
    return (((found - expected) ** 2 * area).sum() / (expected**2 * area).sum()).sqrt()


def orders(errors: list[Tensor]) -> Tensor:
    """Return the orders of convergence on grids that have twice the rows of the one before."""
    values = torch.stack(errors)
    return torch.log2(values[:-1] / values[1:])


def with_weights_of(layer: torch.nn.Module, other: torch.nn.Module) -> torch.nn.Module:
    layer.load_state_dict(other.state_dict())
    return layer.double().requires_grad_(False)


# --- refinement -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_spectral_branch_is_the_same_on_every_grid(kind):
    """Compare to rounding: the branch has no order of convergence."""
    grid_out = Grid.equiangular(7, 9)
    first = SpectralConv(2, 2, Grid.legendre_gauss(20, 40), lmax=7, grid_out=grid_out)
    expected = None
    for nlat in SIZES[:3]:
        grid = Grid.of(kind, nlat, 2 * nlat)
        layer = with_weights_of(SpectralConv(2, 2, grid, lmax=7, grid_out=grid_out), first)
        y = layer(fields(grid))
        expected = y if expected is None else expected
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_the_differential_branch_converges_to_the_derivatives(kind):
    """Measured orders from nlat 16 to 128: 3.7 3.9 4.0 (Gauss), 3.9 4.0 4.0, 3.8 3.9 4.0."""
    errors = []
    for nlat in (16, 32, 64, 128):
        grid = Grid.of(kind, nlat, 2 * nlat)
        layer = DifferentialConv(1, 1, grid, order=2, length_scale=0.1).double()
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([0.3, -0.7, 0.5, 1.1, -0.4]))
            weight = layer.weight[0, 0] * torch.tensor([0.1, 0.1, 0.01, 0.01, 0.01])
            expected = torch.einsum("k,khw->hw", weight, derivatives(grid, 6, 2))
            y = layer(harmonic(grid, 6, 2)[None, None])[0, 0]
        errors.append(relative_error(y, expected, grid))
    assert (orders(errors) >= 3.5).all(), orders(errors)
    assert errors[-1] < 5e-5


# Smooth kernels converge as the quadrature does on a kinked integrand, with second order; Zernike's
# polynomials jump at the cutoff, which the points of a grid find to one spacing only.
BASES = {"piecewise linear": ((3, 3), 1.8), "harmonic": ((3, 3), 1.8), "zernike": ((3,), 0.9)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("basis", BASES)
def test_the_integral_branch_converges_to_one_kernel(basis, kind):
    """Compare nlat 32 and 64, 64 and 128, 128 and 256, at the same output points.

    Measured orders: piecewise linear 2.8 1.7 (Legendre-Gauss), 1.8 2.8 (equiangular), 2.8 2.1
    (cell-centred); harmonic 3.3 2.1, 2.8 2.3, 3.5 2.2; zernike 1.5 1.0, 2.7 1.0, 1.4 1.3. The test
    uses the mean of both, because the number of points at the edge of a kernel fluctuates.
    """
    kernel_shape, expected_order = BASES[basis]
    settings = {"theta_cutoff": 0.3, "kernel_shape": kernel_shape, "basis_type": basis}
    grid_out = Grid.equiangular(9, 16)  # the poles too
    outputs: list[Tensor] = []
    first = None
    for nlat in SIZES:
        grid = Grid.of(kind, nlat, 2 * nlat)
        layer = IntegralConv(2, 2, grid, grid_out=grid_out, **settings)
        first = first or layer
        outputs.append(with_weights_of(layer, first)(fields(grid)))
    errors = [relative_error(a, b, grid_out) for a, b in zip(outputs, outputs[1:], strict=False)]
    assert orders(errors).mean() >= expected_order, orders(errors)
    assert errors[0] < 0.5 and errors[-1] < 0.03


def test_a_block_with_all_branches_converges_on_its_own_grid():
    """Use equiangular grids, where every second point of the finer grid is one of the coarser.

    The measured order between 33-65 and 65-129 is 2.4, that of the integral branch.
    """
    branches = {
        "spectral": {"lmax": 12},
        "integral": {"theta_cutoff": 0.3},
        "differential": {"length_scale": 0.1},
    }
    outputs: list[Tensor] = []
    first = None
    for step in (2, 4, 8):
        grid = Grid.equiangular(16 * step + 1, 32 * step)
        layer = LocalSphericalConv(2, 2, grid, branches=branches)
        first = first or layer
        y = with_weights_of(layer, first)(fields(grid))
        outputs.append(y[..., ::step, ::step])
    coarse = Grid.equiangular(17, 32)
    errors = [relative_error(a, b, coarse) for a, b in zip(outputs, outputs[1:], strict=False)]
    assert orders(errors) >= 1.8, orders(errors)
    assert errors[-1] < 3e-3


# --- rotation through the poles -------------------------------------------------------------------


def turned(grid: Grid, angle: float = 1.1) -> tuple[Tensor, Tensor]:
    """Return the positions of grid points before a rotation about an axis in the equator."""
    theta, longitude = grid.colatitude[:, None], torch.deg2rad(grid.longitude)
    sin = torch.sin(theta)
    x, y = sin * torch.cos(longitude), sin * torch.sin(longitude)
    z = torch.cos(theta).expand(grid.shape)
    y, z = math.cos(angle) * y + math.sin(angle) * z, math.cos(angle) * z - math.sin(angle) * y
    return torch.arccos(z.clamp(-1, 1)), torch.atan2(y, x)


def rotation_error(layer: torch.nn.Module, grid: Grid) -> Tensor:
    """Return the difference of the layer's output on a rotated field and its rotated output."""
    coeffs = random_coeffs(LMAX, LMAX)
    points = turned(grid)
    x = InverseRealSHT(grid, lmax=LMAX, mmax=LMAX)(coeffs)
    turned_x = field(coeffs, *points)
    y = RealSHT(grid, lmax=LMAX, mmax=LMAX)(layer(x[None, None])[0, 0])
    return relative_error(layer(turned_x[None, None])[0, 0], field(y, *points), grid)


@pytest.mark.parametrize("kind", KINDS)
def test_the_spectral_branch_with_real_weights_commutes_with_every_rotation(kind):
    grid = Grid.of(kind, 20, 40)
    layer = SpectralConv(1, 1, grid, lmax=8).double().requires_grad_(False)
    assert rotation_error(layer, grid) < 1e-10
    # And with complex ones it does not.
    layer = SpectralConv(1, 1, grid, lmax=8, complex=True).double().requires_grad_(False)
    layer.weight.normal_()
    assert rotation_error(layer, grid) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_an_isotropic_integral_branch_commutes_with_rotations_as_the_grid_is_refined(kind):
    """Measured orders 32-64, 64-128: 2.1 2.8 (Legendre-Gauss), 2.3 2.4, 2.2 2.7 (cell-centred)."""
    errors = []
    for nlat in (32, 64, 128):
        grid = Grid.of(kind, nlat, 2 * nlat)
        torch.manual_seed(0)
        layer = IntegralConv(1, 1, grid, theta_cutoff=0.4, kernel_shape=(3, 1)).double()
        errors.append(rotation_error(layer.requires_grad_(False), grid))
    assert (orders(errors) >= 1.9).all(), orders(errors)
    assert errors[0] < 1.5e-2 and errors[-1] < 5e-4
