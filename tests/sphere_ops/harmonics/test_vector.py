"""Transforms of vectors: closed forms, also at the poles, Helmholtz's theorem, torch-harmonics."""

import pytest
import torch
import torch_harmonics as th

from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import (
    InverseRealVectorSHT,
    RealSHT,
    RealVectorSHT,
    gradient,
    inverse_laplacian,
    laplacian,
    vorticity_divergence_from_wind,
    wind_from_vorticity_divergence,
)
from sphere_ops.parallel.fields import area_mean
from tests.sphere_ops import reference
from tests.sphere_ops.exact import DEGREES_AND_ORDERS, KINDS, derivatives, harmonic, random_coeffs

EARTH = 6.371e6
PEER_KINDS = ("legendre-gauss", "equiangular")  # torch-harmonics has no cell-centred grid


def pair(grid: Grid, lmax: int) -> tuple[RealVectorSHT, InverseRealVectorSHT]:
    return RealVectorSHT(grid, lmax=lmax, mmax=lmax), InverseRealVectorSHT(
        grid, lmax=lmax, mmax=lmax
    )


def without_mean(coeffs: torch.Tensor) -> torch.Tensor:
    """Set degree 0 to zero: potentials have a free constant, vorticity and divergence mean 0."""
    coeffs = coeffs.clone()
    coeffs[..., 0, :] = 0
    return coeffs


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_a_harmonic_is_its_derivatives_at_the_poles_too(kind):
    grid = Grid.of(kind, 19, 36)
    sht = RealSHT(grid, lmax=9, mmax=9)
    inverse = pair(grid, 9)[1]
    for l, m in DEGREES_AND_ORDERS:
        found = gradient(inverse, sht(harmonic(grid, l, m)), radius=2.0)
        torch.testing.assert_close(found, derivatives(grid, l, m)[:2] / 2, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "nlon"), [(16, 32), (17, 33), (20, 24)])
def test_curl_of_a_gradient_and_divergence_of_a_rotated_gradient_vanish(kind, nlat, nlon):
    grid = Grid.of(kind, nlat, nlon)
    lmax = grid.exact_lmax
    analysis, inverse = pair(grid, lmax)
    coeffs = random_coeffs(3, lmax, lmax)
    east, north = gradient(inverse, coeffs).unbind(-3)
    vorticity, divergence = vorticity_divergence_from_wind(
        analysis, torch.stack((east, north), dim=-3), radius=1.0
    )
    assert vorticity.abs().max() < 1e-10
    torch.testing.assert_close(divergence, laplacian(coeffs), rtol=0, atol=1e-10)
    vorticity, divergence = vorticity_divergence_from_wind(
        analysis, torch.stack((-north, east), dim=-3), radius=1.0
    )
    assert divergence.abs().max() < 1e-10
    torch.testing.assert_close(vorticity, laplacian(coeffs), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_vorticity_and_divergence_determine_the_wind_and_back(kind, dtype, tolerance):
    grid = Grid.of(kind, 16, 32)
    lmax = grid.exact_lmax
    analysis, inverse = pair(grid, lmax)
    vorticity, divergence = (
        without_mean(random_coeffs(2, lmax, lmax, seed=seed)).to(dtype.to_complex())
        for seed in (1, 2)
    )
    wind = wind_from_vorticity_divergence(inverse, vorticity, divergence, radius=3.0)
    assert wind.dtype == dtype
    back = vorticity_divergence_from_wind(analysis, wind, radius=3.0)
    torch.testing.assert_close(back[0], vorticity, rtol=0, atol=tolerance * 10)
    torch.testing.assert_close(back[1], divergence, rtol=0, atol=tolerance * 10)


def test_solid_body_rotation_has_the_vorticity_of_its_textbook():
    """Compare u = U cos φ with ζ = 2 (U/a) sin φ and no divergence, for the Earth's radius."""
    for kind in KINDS:
        grid = Grid.of(kind, 15, 30)
        latitude = torch.deg2rad(grid.latitude)[:, None].expand(grid.shape)
        wind = torch.stack((30 * torch.cos(latitude), torch.zeros(grid.shape).double()))
        vorticity, divergence = vorticity_divergence_from_wind(pair(grid, 8)[0], wind, EARTH)
        expected = RealSHT(grid, lmax=8, mmax=8)(60 / EARTH * torch.sin(latitude))
        torch.testing.assert_close(vorticity, expected, rtol=0, atol=1e-18)
        assert divergence.abs().max() < 1e-18


def test_kinetic_energy_is_that_of_the_potentials():
    """Check mean |v|² = Σ l(l+1) (|s|² + |t|²)/4π: the vector harmonics are orthogonal."""
    grid = Grid.cell_centred(24, 48)
    analysis, inverse = pair(grid, 10)
    coeffs = random_coeffs(2, 10, 10)
    v = inverse(coeffs)
    energy = area_mean(v.square(), grid).sum()
    power = 2 * coeffs.abs().square().sum(-1) - coeffs[..., 0].abs().square()
    degree = torch.arange(10)
    expected = (degree * (degree + 1) * power).sum() / (4 * torch.pi)
    torch.testing.assert_close(energy, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(analysis(v), without_mean(coeffs), rtol=0, atol=1e-12)


SHAPES = [(12, 24, 12), (13, 25, 13), (12, 23, 9), (16, 12, 7)]


@pytest.mark.parametrize("kind", PEER_KINDS)
@pytest.mark.parametrize(("nlat", "nlon", "lmax"), SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_synthesis_is_that_of_torch_harmonics(kind, nlat, nlon, lmax, dtype, tolerance):
    peer = th.InverseRealVectorSHT(nlat, nlon, lmax=lmax, mmax=lmax, grid=kind)
    coeffs = torch.randn(2, 2, lmax, lmax, dtype=dtype.to_complex()).tril().requires_grad_()
    found, expected = pair(Grid.of(kind, nlat, nlon), lmax)[1](coeffs), peer(coeffs)
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)
    direction = torch.randn_like(expected)
    gradients = [torch.autograd.grad((y * direction).sum(), coeffs)[0] for y in (found, expected)]
    scale = float(gradients[1].abs().max())
    torch.testing.assert_close(
        gradients[0].tril(), gradients[1].tril(), rtol=0, atol=tolerance * scale
    )


@pytest.mark.parametrize("kind", PEER_KINDS)
@pytest.mark.parametrize(("nlat", "nlon", "lmax"), SHAPES)
def test_analysis_is_that_of_torch_harmonics(kind, nlat, nlon, lmax):
    """Compare to 1e-8: torch-harmonics computes 1/l(l+1) in float32, with errors up to 6e-8.

    With that factor in double precision, in the formula below, the two agree to rounding.
    """
    peer = th.RealVectorSHT(nlat, nlon, lmax=lmax, mmax=lmax, grid=kind)
    v = torch.randn(2, 2, nlat, nlon, dtype=torch.float64)
    found, expected = pair(Grid.of(kind, nlat, nlon), lmax)[0](v), peer(v)
    expected = without_mean(expected)  # theirs divides by 1 there, ours has no mean
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)
    degree = torch.arange(lmax)
    rounded = 1.0 / degree / (degree + 1)
    exact = 1.0 / (degree.double() * (degree + 1))
    correction = torch.where(degree > 0, exact / rounded, 0)[:, None]
    torch.testing.assert_close(found, expected * correction, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "nlon", "lmax"), SHAPES)
def test_analysis_is_the_adjoint_of_synthesis_with_quadrature(kind, nlat, nlon, lmax):
    """Compare with ⟨v, Ψ_lm⟩ / l(l+1) for both families of vector harmonics Ψ, by autograd."""
    grid = Grid.of(kind, nlat, nlon)
    analysis, inverse = pair(grid, lmax)
    v = torch.randn(2, *grid.shape, dtype=torch.float64)
    zeros = torch.zeros(2, lmax, lmax, dtype=torch.complex128, requires_grad=True)
    weighted = v * reference.quadrature(grid)[:, None] / grid.nlon
    (projection,) = torch.autograd.grad((inverse(zeros) * weighted).sum(), zeros)
    projection = projection.clone()
    projection[..., 1 : (nlon + 1) // 2] /= 2  # a real field holds −m too
    expected = -inverse_laplacian(projection)
    torch.testing.assert_close(analysis(v), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_vector_transforms(kind):
    grid = Grid.of(kind, 5, 6)
    analysis, inverse = pair(grid, 3)
    v = torch.randn(1, 2, *grid.shape, dtype=torch.float64, requires_grad=True)
    coeffs = torch.randn(1, 2, 3, 3, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(analysis, (v,)) and torch.autograd.gradcheck(inverse, (coeffs,))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((9, 16), r"\(9, 16\); expected two components"), ((3, 9, 16), r"\(3, 9, 16\); expected two")],
)
def test_a_field_without_two_components_is_refused(shape, message):
    analysis, inverse = pair(Grid.cell_centred(9, 16), 5)
    with pytest.raises(ValueError, match=message):
        analysis(torch.zeros(shape))
    with pytest.raises(ValueError, match="two components"):
        inverse(torch.zeros(*shape[:-2], 5, 5, dtype=torch.complex64))
