"""Invalid arguments of the transforms, and their error messages."""

import pytest
import torch

from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT

GRID = Grid.cell_centred(9, 16)
SHT, INVERSE = RealSHT(GRID, lmax=5, mmax=5), InverseRealSHT(GRID, lmax=5, mmax=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lmax": 0, "mmax": 1}, "lmax 0 .*expected 1 to 9"),
        ({"lmax": 10, "mmax": 1}, "lmax 10 .*expected 1 to 9"),
        ({"lmax": 9, "mmax": 10}, "mmax 10 .*lmax 9; expected 1 to 9"),
        ({"lmax": 5, "mmax": 0}, "mmax 0 .*expected 1 to 5"),
        ({"lmax": 4.5, "mmax": 2}, "lmax 4.5; expected a whole number"),
    ],
)
def test_a_truncation_that_the_grid_cannot_hold_is_refused(arguments, message):
    for module in (RealSHT, InverseRealSHT):
        with pytest.raises(ValueError, match=message):
            module(GRID, **arguments)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(16, 9), r"\(16, 9\).*cell-centred 9×16"),
        (torch.zeros(16), r"\(16,\)"),
        (torch.zeros(9, 16, dtype=torch.int64), "int64.*floating-point"),
        (torch.zeros(9, 16, dtype=torch.complex64), "complex64.*real"),
    ],
)
def test_what_is_no_field_on_the_grid_is_refused(x, message):
    with pytest.raises(ValueError, match=message):
        SHT(x)


@pytest.mark.parametrize(
    ("coeffs", "message"),
    [
        (torch.zeros(5, 4, dtype=torch.complex64), r"\(5, 4\).*complex \(..., 5, 5\)"),
        (torch.zeros(5, 5), r"float32; expected complex"),
        (torch.zeros(5, dtype=torch.complex64), r"\(5,\)"),
    ],
)
def test_what_are_no_coefficients_is_refused(coeffs, message):
    with pytest.raises(ValueError, match=message):
        INVERSE(coeffs)
