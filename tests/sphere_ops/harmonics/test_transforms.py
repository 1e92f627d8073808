"""Transforms of scalars, against closed forms and torch-harmonics, and their laws."""

import copy
import math
import pickle
import subprocess
import sys

import pytest
import torch
import torch_harmonics as th

from sphere_ops.grid import Grid
from sphere_ops.harmonics import operations as transform
from sphere_ops.harmonics.transforms import (
    InverseRealSHT,
    RealSHT,
    inverse_laplacian,
    laplacian,
    power_spectrum,
)
from sphere_ops.kernels.legendre import legendre
from sphere_ops.parallel.fields import area_mean
from tests.sphere_ops import reference
from tests.sphere_ops.exact import (
    DEGREES_AND_ORDERS,
    KINDS,
    harmonic,
    on_grid,
    random_coeffs,
)

PEER_KINDS = ("legendre-gauss", "equiangular")  # torch-harmonics has no cell-centred grid
# nlat, nlon, lmax, mmax: even, odd and prime; up to the Nyquist order; fewer orders than degrees.
SMALL = [(12, 24, 12, 12), (13, 25, 13, 13), (12, 23, 9, 9), (16, 12, 16, 7), (17, 60, 11, 5)]
SHAPES = [*SMALL, (50, 120, 50, 50)]  # the last has several blocks of orders


@pytest.mark.parametrize("kind", KINDS)
def test_a_harmonic_is_one_coefficient(kind):
    grid = Grid.of(kind, 18, 36)
    sht = RealSHT(grid, lmax=9, mmax=9)
    for l, m in DEGREES_AND_ORDERS:
        expected = torch.zeros(9, 9, dtype=torch.complex128)
        expected[l, m] = 1 if m == 0 else 0.5  # Re Y_lm is half of both signs of m
        torch.testing.assert_close(sht(harmonic(grid, l, m)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "nlon"), [(10, 20), (11, 17), (9, 40)])
def test_synthesis_is_the_sum_of_harmonics(kind, nlat, nlon):
    grid = Grid.of(kind, nlat, nlon)
    coeffs = random_coeffs(2, 8, 6)
    found = InverseRealSHT(grid, lmax=8, mmax=6)(coeffs)
    torch.testing.assert_close(found, on_grid(coeffs, grid), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "nlon", "lmax", "mmax"), SHAPES)
def test_analysis_is_the_quadrature_of_its_definition(kind, nlat, nlon, lmax, mmax):
    grid = Grid.of(kind, nlat, nlon)
    x = torch.randn(3, *grid.shape, dtype=torch.float64)
    expected = reference.analyse(x, grid, lmax, mmax)
    torch.testing.assert_close(RealSHT(grid, lmax=lmax, mmax=mmax)(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", PEER_KINDS)
@pytest.mark.parametrize(("nlat", "nlon", "lmax", "mmax"), SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_the_transforms_are_those_of_torch_harmonics(
    kind, nlat, nlon, lmax, mmax, dtype, tolerance
):
    lmax = mmax = min(lmax, mmax)  # torch-harmonics truncates to a triangle
    settings = {"lmax": lmax, "mmax": mmax}
    grid = Grid.of(kind, nlat, nlon)
    peer, peer_inverse = (
        transform(nlat, nlon, grid=kind, **settings)
        for transform in (th.RealSHT, th.InverseRealSHT)
    )
    sht, inverse = RealSHT(grid, **settings), InverseRealSHT(grid, **settings)
    x = torch.randn(2, 3, *grid.shape, dtype=dtype, requires_grad=True)
    coeffs = torch.randn(2, 3, lmax, mmax, dtype=dtype.to_complex()).tril().requires_grad_()
    for ours, theirs, start in ((sht, peer, x), (inverse, peer_inverse, coeffs)):
        found, expected = ours(start), theirs(start)
        assert found.dtype == expected.dtype
        torch.testing.assert_close(
            found, expected, rtol=0, atol=tolerance * float(expected.detach().abs().max())
        )
        direction = torch.randn_like(expected)
        gradients = [
            torch.autograd.grad((y * direction.conj()).real.sum(), start)[0]
            for y in (found, expected)
        ]
        if start is coeffs:  # theirs has gradients below the triangle, where its tables are zero
            gradients = [g.tril() for g in gradients]
        scale = float(gradients[1].abs().max())
        torch.testing.assert_close(*gradients, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "nlon"), [(16, 32), (17, 33), (24, 20), (32, 64)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_round_trip_is_the_identity_on_band_limited_fields(kind, nlat, nlon, dtype, tolerance):
    grid = Grid.of(kind, nlat, nlon)
    lmax = grid.exact_lmax
    coeffs = random_coeffs(2, lmax, lmax).to(dtype.to_complex())
    sht, inverse = RealSHT(grid, lmax=lmax, mmax=lmax), InverseRealSHT(grid, lmax=lmax, mmax=lmax)
    x = inverse(coeffs)
    torch.testing.assert_close(sht(x), coeffs, rtol=0, atol=tolerance)
    torch.testing.assert_close(inverse(sht(x)), x, rtol=0, atol=tolerance * 10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nlat", [16, 17])
def test_one_degree_more_than_exact_lmax_is_not_exact(kind, nlat):
    grid = Grid.of(kind, nlat, 4 * nlat)
    lmax = grid.exact_lmax + 1
    if lmax > nlat:
        with pytest.raises(ValueError, match=f"lmax {lmax}"):
            RealSHT(grid, lmax=lmax, mmax=lmax)
        return
    coeffs = random_coeffs(lmax, lmax)
    back = RealSHT(grid, lmax=lmax, mmax=lmax)(InverseRealSHT(grid, lmax=lmax, mmax=lmax)(coeffs))
    assert (back - coeffs).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_laplacian_of_a_harmonic_is_its_eigenvalue(kind):
    grid = Grid.of(kind, 20, 40)
    sht, inverse = RealSHT(grid, lmax=9, mmax=9), InverseRealSHT(grid, lmax=9, mmax=9)
    for l, m in DEGREES_AND_ORDERS:
        x = harmonic(grid, l, m)
        found = inverse(laplacian(sht(x), radius=2.5))
        torch.testing.assert_close(found, -l * (l + 1) / 2.5**2 * x, rtol=0, atol=1e-10)


def test_inverse_laplacian_undoes_the_laplacian_but_for_the_mean():
    coeffs = random_coeffs(3, 8, 8)
    back = inverse_laplacian(laplacian(coeffs, radius=6.371e6), radius=6.371e6)
    expected = coeffs.clone()
    expected[:, 0] = 0
    torch.testing.assert_close(back, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_power_spectrum_sums_to_the_mean_square(kind):
    grid = Grid.of(kind, 24, 48)
    coeffs = random_coeffs(4, 10, 10)
    x = on_grid(coeffs, grid)
    power = power_spectrum(RealSHT(grid, lmax=10, mmax=10)(x))
    torch.testing.assert_close(power.sum(-1), area_mean(x.square(), grid), rtol=0, atol=1e-12)
    single = power_spectrum(RealSHT(grid, lmax=10, mmax=10)(3 * harmonic(grid, 7, 4)))
    expected = torch.zeros(10, dtype=torch.float64)
    expected[7] = area_mean((3 * harmonic(grid, 7, 4)).square(), grid)
    torch.testing.assert_close(single, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_first_and_second_gradients_of_the_transforms(kind):
    grid = Grid.of(kind, 4, 5)
    settings = {"lmax": 3, "mmax": 3}
    sht, inverse = RealSHT(grid, **settings), InverseRealSHT(grid, **settings)
    x = torch.randn(2, *grid.shape, dtype=torch.float64, requires_grad=True)
    coeffs = torch.randn(2, 3, 3, dtype=torch.complex128, requires_grad=True)

    def nonlinear(x: torch.Tensor) -> torch.Tensor:
        return inverse(sht(x) * sht(x).real)

    assert torch.autograd.gradcheck(sht, (x,)) and torch.autograd.gradcheck(inverse, (coeffs,))
    assert torch.autograd.gradgradcheck(nonlinear, (x,))


def test_gradients_reach_the_nyquist_order():
    grid = Grid.legendre_gauss(8, 6)
    sht, inverse = (t(grid, lmax=5, mmax=4) for t in (RealSHT, InverseRealSHT))
    x = torch.randn(*grid.shape, dtype=torch.float64, requires_grad=True)
    coeffs = torch.randn(5, 4, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(sht, (x,)) and torch.autograd.gradcheck(inverse, (coeffs,))


# --- shapes, memory and types ---------------------------------------------------------------------

GRID = Grid.cell_centred(9, 16)
SHT, INVERSE = RealSHT(GRID, lmax=5, mmax=5), InverseRealSHT(GRID, lmax=5, mmax=5)


@pytest.mark.parametrize(
    "leading",
    [(), (1,), (3, 1, 2), (0,), (2, 0)],
)
def test_any_leading_dimensions_are_kept(leading):
    x = torch.randn(*leading, *GRID.shape, dtype=torch.float64, requires_grad=True)
    coeffs = SHT(x)
    assert coeffs.shape == (*leading, 5, 5)
    back = INVERSE(coeffs)
    assert back.shape == x.shape
    (gradient,) = torch.autograd.grad(back.square().sum(), x)
    assert gradient.shape == x.shape
    for i, row in enumerate(x.reshape(-1, *GRID.shape)):
        torch.testing.assert_close(coeffs.reshape(-1, 5, 5)[i], SHT(row), rtol=0, atol=1e-14)


def test_memory_layout_does_not_matter():
    x = torch.randn(2, 3, *GRID.shape, dtype=torch.float64)
    expected = SHT(x)
    for view in (
        x.permute(1, 0, 3, 2).contiguous().permute(1, 0, 3, 2),
        torch.stack((x, -x), dim=-1)[..., 0],
        x.flip(-1).flip(-1),
    ):
        torch.testing.assert_close(SHT(view), expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(
        SHT(x[:1, :1].expand_as(x))[1, 2], expected[0, 0], rtol=0, atol=1e-14
    )
    back = INVERSE(expected)
    for view in (
        expected.mT.contiguous().mT,
        torch.stack((expected, -expected), dim=-1)[..., 0],
        expected.conj().resolve_conj().conj(),
    ):
        torch.testing.assert_close(INVERSE(view), back, rtol=0, atol=1e-14)
    assert torch.equal(x, x.clone()) and torch.equal(expected, SHT(x))  # nothing works in place


def test_tables_follow_the_type_of_the_input():
    x = torch.randn(2, *GRID.shape, dtype=torch.float64)
    exact = SHT(x)
    for module in (SHT, copy.deepcopy(SHT).float(), copy.deepcopy(SHT).double()):
        torch.testing.assert_close(module(x), exact, rtol=0, atol=1e-14)
        assert module(x.float()).dtype == torch.complex64
        torch.testing.assert_close(module(x.float()), exact.to(torch.complex64), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.isa
def test_half_precision_is_transformed_in_single(dtype):
    x = torch.randn(2, *GRID.shape).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = SHT(x)
    for coeffs in (SHT(x), inside):
        torch.testing.assert_close(coeffs, SHT(x.float()), rtol=0, atol=0)
    assert INVERSE(SHT(x)).dtype == torch.float32


def test_gradients_taken_under_autocast_are_those_without():
    x = torch.randn(2, *GRID.shape, requires_grad=True)

    def gradient() -> torch.Tensor:
        return torch.autograd.grad(INVERSE(SHT(x)).square().sum(), x)[0]

    expected = gradient()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradient()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_transform_is_the_same_after_a_copy_and_in_another_process():
    x = torch.randn(*GRID.shape)
    expected = SHT(x)
    torch.testing.assert_close(copy.deepcopy(SHT)(x), expected, rtol=0, atol=0)
    pickled = pickle.dumps(SHT)
    transform.spec_from_json.cache_clear()  # another process knows nothing of this one's transforms
    torch.testing.assert_close(pickle.loads(pickled)(x), expected, rtol=0, atol=0)


def test_transforms_hold_no_state():
    assert not SHT.state_dict() and not list(SHT.parameters())
    assert "cell-centred 9×16, lmax=5, mmax=5" in repr(SHT)


def test_conventions_are_orthonormal_with_the_condon_shortley_phase():
    grid = Grid.legendre_gauss(8, 16)
    theta, longitude = grid.colatitude[:, None], torch.deg2rad(grid.longitude)
    coeffs = torch.zeros(3, 2, dtype=torch.complex128)
    coeffs[1, 1] = 0.5 - 0.25j
    expected = (
        -math.sqrt(3 / (8 * math.pi))
        * torch.sin(theta)
        * (torch.cos(longitude) + 0.5 * torch.sin(longitude))
    )
    torch.testing.assert_close(
        InverseRealSHT(grid, lmax=3, mmax=2)(coeffs), expected, rtol=0, atol=1e-14
    )


@pytest.mark.parametrize(("nlat", "lmax", "mmax"), [(3, 1, 1), (8, 5, 9), (7, 7, 4), (65, 65, 65)])
def test_legendre_functions_are_those_of_torch_harmonics_to_the_bit(nlat, lmax, mmax):
    grid = Grid.equiangular(nlat, 2 * nlat)
    expected = th.legendre.legpoly(mmax, lmax, torch.cos(grid.colatitude))
    assert torch.equal(legendre(grid, lmax, mmax), expected)


def test_a_transform_does_not_load_the_compiler_of_torch():
    script = """
import sys, torch
from sphere_ops import Grid, InverseRealSHT, RealSHT
grid = Grid.legendre_gauss(6, 12)
x = torch.ones(6, 12, requires_grad=True)
InverseRealSHT(grid)(RealSHT(grid)(x)).sum().backward()
print([name for name in ("torch._dynamo", "torch_harmonics") if name in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"
