"""Interpolation to Gaussian rows: exact for all degrees that equally spaced rows resolve."""

import pytest
import torch

from sphere_ops.grid import Grid
from sphere_ops.harmonics.rows import resolved_lmax, to_gaussian_rows
from sphere_ops.harmonics.transforms import InverseRealSHT, InverseRealVectorSHT
from tests.sphere_ops.exact import random_coeffs

GRIDS = [
    Grid.of(kind, *shape)
    for kind in ("equiangular", "cell-centred")
    for shape in ((12, 24), (13, 27), (21, 16))
]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_fields_of_all_resolved_degrees_are_interpolated_exactly(grid):
    gauss = Grid.legendre_gauss(*grid.shape)
    lmax = resolved_lmax(grid)
    mmax = min(lmax, (grid.nlon + 1) // 2)
    scalar, vector = random_coeffs(3, lmax, mmax), random_coeffs(3, 2, lmax, mmax)
    found = to_gaussian_rows(InverseRealSHT(grid, lmax, mmax)(scalar), grid)
    expected = InverseRealSHT(gauss, lmax, mmax)(scalar)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    found = to_gaussian_rows(InverseRealVectorSHT(grid, lmax, mmax)(vector), grid, vector=True)
    expected = InverseRealVectorSHT(gauss, lmax, mmax)(vector)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)  # degrees times as large
