"""Laws of Gaussian random fields on the sphere."""

import math

import pytest
import torch

from sphere_ops import Grid, RealSHT, power_spectrum
from sphere_ops.harmonics.random_fields import GaussianField

GRID = Grid.equiangular(25, 48)


def test_a_field_has_mean_0_and_variance_1_at_every_latitude() -> None:
    fields = GaussianField(GRID, 0.2)([(7, k) for k in range(4000)])
    rows = fields.square().mean((0, 2))
    assert rows[[0, -1]].sub(1).abs().max() < 0.1  # one point of 4,000 fields: 2.2 % each
    assert rows[1:-1].sub(1).abs().max() < 0.06
    assert fields.mean().abs() < 0.01


def test_the_correlation_decays_as_a_gaussian_of_the_distance() -> None:
    length = 0.25
    fields = GaussianField(GRID, length)([(3, k) for k in range(3000)])
    equator = fields[:, 12].double()
    for shift in (1, 2, 3, 4):
        distance = shift * 2 * math.pi / 48
        found = (equator * equator.roll(shift, -1)).mean()
        assert found == pytest.approx(math.exp(-(distance**2) / (2 * length**2)), abs=0.02)


def test_a_field_depends_on_its_seed_alone() -> None:
    draw = GaussianField(GRID, 0.3)
    alone, among = draw([(5, 2)]), draw([(5, 0), (5, 1), (5, 2)])
    torch.testing.assert_close(alone[0], among[2], rtol=0, atol=1e-6)
    assert (among[0] - among[1]).abs().max() > 0.5
    assert draw([]).shape == (0, *GRID.shape)


def test_grids_and_truncations_share_the_large_scales() -> None:
    fine = Grid.legendre_gauss(32, 64)
    few, many = GaussianField(fine, 0.6, lmax=12), GaussianField(fine, 0.6, lmax=30)
    torch.testing.assert_close(few([(1, 1)]), many([(1, 1)]), rtol=0, atol=1e-5)
    coarse = GaussianField(Grid.legendre_gauss(16, 32), 0.6, lmax=12)
    a, b = (RealSHT(g, 12, 12)(f([(1, 1)])) for g, f in ((fine, few), (coarse.grid, coarse)))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_fields_without_the_first_degree_have_no_area_mean() -> None:
    grid = Grid.legendre_gauss(16, 32)
    fields = GaussianField(grid, 0.4, first_degree=1)([(9, k) for k in range(500)])
    power = power_spectrum(RealSHT(grid)(fields.double()))
    assert power[:, 0].max() < 1e-12
    assert power.sum(1).mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length_scale": 0.0}, "length_scale is 0.0; expected a positive length"),
        ({"length_scale": 0.1, "first_degree": 8, "lmax": 8}, "first_degree is 8; expected 0 to 7"),
    ],
)
def test_settings_that_make_no_field_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianField(GRID, **options)
