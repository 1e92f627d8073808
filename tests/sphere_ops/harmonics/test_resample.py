"""Resampling: exact for fields that both grids resolve, and without aliasing."""

import pytest
import torch

from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample
from sphere_ops.harmonics.transforms import RealSHT
from sphere_ops.parallel.fields import area_mean
from tests.sphere_ops.exact import KINDS, field, on_grid, random_coeffs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kind_out", KINDS)
@pytest.mark.parametrize(("shape", "shape_out"), [((16, 32), (25, 50)), ((25, 50), (17, 31))])
def test_a_field_that_both_grids_hold_is_sampled_exactly(kind, kind_out, shape, shape_out):
    grid, grid_out = Grid.of(kind, *shape), Grid.of(kind_out, *shape_out)
    coeffs = random_coeffs(2, 3, 8, 8)
    found = resample(on_grid(coeffs, grid), grid, grid_out)
    torch.testing.assert_close(found, on_grid(coeffs, grid_out), rtol=0, atol=1e-10)


@pytest.mark.parametrize("first", [0.0, 3.0])
@pytest.mark.parametrize("first_out", [0.0, 5.625])
def test_points_keep_their_place_on_the_earth(first, first_out):
    grid = Grid("cell-centred", 18, 36, first)
    grid_out = Grid("legendre-gauss", 16, 32, first_out)
    coeffs = random_coeffs(8, 8)

    def sample(grid: Grid) -> torch.Tensor:
        return field(coeffs, grid.colatitude[:, None], torch.deg2rad(grid.longitude))

    found = resample(sample(grid), grid, grid_out)
    torch.testing.assert_close(found, sample(grid_out), rtol=0, atol=1e-10)


def test_finer_structure_is_dropped_and_the_mean_kept():
    grid, grid_out = Grid.legendre_gauss(32, 64), Grid.equiangular(13, 24)
    coeffs = random_coeffs(32, 32)
    found = resample(on_grid(coeffs, grid), grid, grid_out)
    kept = coeffs[: grid_out.exact_lmax, : grid_out.exact_lmax]
    torch.testing.assert_close(found, on_grid(kept, grid_out), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        area_mean(found, grid_out), area_mean(on_grid(coeffs, grid), grid), rtol=0, atol=1e-12
    )


def test_lmax_limits_the_degrees():
    grid, grid_out = Grid.legendre_gauss(16, 32), Grid.cell_centred(20, 40)
    coeffs = random_coeffs(10, 10)
    found = resample(on_grid(coeffs, grid), grid, grid_out, lmax=4)
    torch.testing.assert_close(found, on_grid(coeffs[:4, :4], grid_out), rtol=0, atol=1e-10)


def test_there_and_back_is_the_identity_in_single_precision_too():
    grid, grid_out = Grid.equiangular(25, 48), Grid.legendre_gauss(40, 80)
    x = on_grid(random_coeffs(3, 12, 12), grid).float()
    back = resample(resample(x, grid, grid_out), grid_out, grid)
    assert back.dtype == torch.float32
    torch.testing.assert_close(back, x, rtol=0, atol=2e-5)


def test_it_is_differentiable():
    grid, grid_out = Grid("equiangular", 5, 6, 10.0), Grid.legendre_gauss(6, 9)
    x = torch.randn(2, *grid.shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: resample(x, grid, grid_out), (x,))


@pytest.mark.parametrize("shape", [(9, 18), (8, 15)])
def test_a_rotation_about_the_axis_drops_nothing(shape):
    """Use noise in every row, with all wavenumbers that a row resolves."""
    grid, rotated = (Grid("cell-centred", *shape, first) for first in (0.0, 7.5))
    generator = torch.Generator().manual_seed(0)
    m = torch.arange((shape[1] + 1) // 2)
    size = (2, shape[0], 1, len(m))
    cosines, sines = (torch.randn(size, generator=generator).double() for _ in range(2))

    def sample(grid: Grid) -> torch.Tensor:
        angle = torch.deg2rad(grid.longitude)[:, None] * m
        return (cosines * torch.cos(angle) + sines * torch.sin(angle)).sum(-1)

    found = resample(sample(grid), grid, rotated)
    torch.testing.assert_close(found, sample(rotated), rtol=0, atol=1e-10)
    back = resample(found, rotated, grid)
    torch.testing.assert_close(back, sample(grid), rtol=0, atol=1e-10)


def test_on_the_same_grid_a_field_is_itself():
    x = torch.randn(2, 9, 18)
    assert torch.equal(resample(x, Grid.cell_centred(9, 18), Grid.cell_centred(9, 18)), x)


def test_the_wrong_grid_or_truncation_is_refused():
    grid, grid_out = Grid.equiangular(8, 16), Grid.legendre_gauss(16, 32)
    with pytest.raises(ValueError, match=r"\(16, 32\).*equiangular 8×16"):
        resample(torch.zeros(16, 32), grid, grid_out)
    with pytest.raises(ValueError, match=r"\(16, 32\).*equiangular 8×16"):
        resample(torch.zeros(16, 32), grid, Grid("equiangular", 8, 16, 11.25))
    for lmax in (0, 9, 17):
        with pytest.raises(ValueError, match=f"lmax {lmax} "):
            resample(torch.zeros(8, 16), grid, grid_out, lmax=lmax)


def test_a_smooth_field_is_sampled_with_spectral_accuracy():
    """Use a Gaussian bump, which no truncation resolves: the error falls faster than any power."""
    errors = []
    for nlat in (8, 16, 32):
        grid, grid_out = Grid.legendre_gauss(nlat, 2 * nlat), Grid.equiangular(65, 128)
        error = resample(bump(grid), grid, grid_out) - bump(grid_out)
        errors.append(float(error.abs().max()))
    assert errors[1] < errors[0] / 30 and errors[2] < 1e-8


def bump(grid: Grid) -> torch.Tensor:
    theta, longitude = grid.colatitude[:, None], torch.deg2rad(grid.longitude)
    height = torch.cos(theta) * 0.6 + torch.sin(theta) * torch.cos(longitude - 1.0) * 0.8
    return torch.exp(4 * (height - 1))


def test_resampling_commutes_with_the_transform():
    grid, grid_out = Grid.cell_centred(20, 40), Grid.equiangular(33, 64)
    x = on_grid(random_coeffs(9, 9), grid)
    here, there = (RealSHT(g, lmax=9, mmax=9) for g in (grid, grid_out))
    torch.testing.assert_close(there(resample(x, grid, grid_out)), here(x), rtol=0, atol=1e-11)
