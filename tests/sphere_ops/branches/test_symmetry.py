"""Symmetries of the branches: shifts in longitude, and reflection at the equator."""

import pytest
import torch

from sphere_ops import DifferentialConv, LocalSphericalConv
from sphere_ops.grid import Grid
from tests.sphere_ops.branches.test_against_reference import BRANCHES, CASES
from tests.sphere_ops.exact import KINDS


@pytest.mark.parametrize("name", ["spectral", "integral"])
def test_columns_are_matched_from_the_first_on_wherever_on_the_earth_that_is(name):
    layers = [
        LocalSphericalConv(
            1,
            1,
            Grid("cell-centred", 16, 32, first),
            branches={name: BRANCHES[name]},
            grid_out=Grid.cell_centred(8, 16),
        )
        for first in (0.0, 5.625)
    ]
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.randn(1, 1, 16, 32)
    torch.testing.assert_close(layers[0](x), layers[1](x), rtol=0, atol=1e-7)


# --- symmetries -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*BRANCHES, "all, complex"])
def test_every_branch_commutes_with_a_shift_in_longitude(name, kind):
    grid = Grid.of(kind, 10, 21)
    layer = LocalSphericalConv(2, 2, grid, branches=CASES[name]).double()
    x = torch.randn(2, 2, *grid.shape, dtype=torch.float64)
    for shift in (1, 7, 20):
        expected = layer(x).roll(shift, dims=-1)
        torch.testing.assert_close(layer(x.roll(shift, dims=-1)), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["spectral", "integral", "spectral and integral"])
def test_a_layer_of_two_grids_commutes_with_a_shift_by_columns_of_both(name):
    branches = CASES[name]
    grid, grid_out = Grid.equiangular(12, 24), Grid.legendre_gauss(9, 16)
    layer = LocalSphericalConv(2, 2, grid, branches=branches, grid_out=grid_out).double()
    x = torch.randn(1, 2, *grid.shape, dtype=torch.float64)
    expected = layer(x).roll(2, dims=-1)  # 45 degrees
    torch.testing.assert_close(layer(x.roll(3, dims=-1)), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_isotropic_branches_mirror_with_the_hemispheres(kind):
    grid = Grid.of(kind, 11, 20)
    layer = LocalSphericalConv(
        2,
        2,
        grid,
        branches={
            "spectral": {"lmax": 8},
            "integral": {"theta_cutoff": 0.6, "kernel_shape": (3, 1)},
        },
    ).double()
    x = torch.randn(1, 2, *grid.shape, dtype=torch.float64)
    torch.testing.assert_close(layer(x.flip(-2)), layer(x).flip(-2), rtol=0, atol=1e-8)
    torch.testing.assert_close(layer(x.flip(-1)), layer(x).flip(-1), rtol=0, atol=1e-8)


def test_north_changes_sign_in_the_mirror_and_east_does_not():
    grid = Grid.equiangular(11, 20)
    layer = DifferentialConv(1, 1, grid, order=2)
    x = torch.randn(1, 1, *grid.shape, dtype=torch.float64)
    sign = torch.tensor([1, -1, 1, -1, 1], dtype=torch.float64)[:, None, None]
    expected = sign * layer.derivatives(x).flip(-2)
    torch.testing.assert_close(layer.derivatives(x.flip(-2)), expected, rtol=0, atol=1e-9)
