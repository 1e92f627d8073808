"""Smooth fill: values inside the mask stay, those outside are smooth means of them."""

import pytest
import torch
import xarray as xr

from forecast.model.points.fill import NearestFill
from sphere_ops.grid import Grid
from sphere_ops.harmonics.fill import SmoothFill, smooth_fill
from sphere_ops.harmonics.transforms import RealSHT, power_spectrum
from tests.sphere_ops.exact import KINDS

GRIDS = [Grid.of(kind, *shape) for kind in KINDS for shape in ((24, 48), (25, 50), (13, 27))]


def continents(grid: Grid) -> torch.Tensor:
    """Return True on a sea with a polar continent, a large one, an island and a lake."""
    north = grid.latitude[:, None]
    east = grid.longitude[None, :]
    land = (north < -65) | ((north.abs() < 40) & (east > 100) & (east < 200))
    land = land | ((north - 50).abs() < 8) & ((east - 300).abs() < 8)
    lake = (north.abs() < 8) & ((east - 150).abs() < 8)
    return ~land | lake


def rough(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 3 + torch.randn(*shape, generator=generator)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_points_inside_the_mask_are_unchanged_and_constants_are_continued(grid):
    mask = continents(grid)
    x = rough(2, *grid.shape).where(mask, torch.nan)
    filled = SmoothFill(mask, grid)(x)
    assert torch.equal(filled[:, mask], x[:, mask])
    flat = torch.full(grid.shape, 287.65).where(mask, torch.nan)
    torch.testing.assert_close(
        smooth_fill(flat, mask, grid), torch.full(grid.shape, 287.65), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_filled_values_lie_between_those_inside_the_mask(grid):
    mask = continents(grid)
    x = rough(5, *grid.shape)
    filled = SmoothFill(mask, grid)(x)[:, ~mask]
    assert filled.min() > x[:, mask].min() and filled.max() < x[:, mask].max()


@pytest.mark.parametrize("grid", GRIDS[:3], ids=str)
def test_a_mask_of_each_sample_and_channel_gives_the_fields_of_each_alone(grid):
    masks = torch.stack([continents(grid).roll(k, -1) for k in range(6)]).unflatten(0, (2, 3))
    masks[0, 1] = True
    masks[1, 2] = False
    masks[1, 2, 3, 4] = True
    x = rough(2, 3, *grid.shape)
    together = smooth_fill(x, masks, grid)
    alone = [
        smooth_fill(x[b, c], masks[b, c], grid) for b in range(2) for c in range(3)
    ]  # each mask ends at a level of its own
    torch.testing.assert_close(together.flatten(0, 1), torch.stack(alone), rtol=0, atol=1e-5)
    torch.testing.assert_close(together[1, 2], x[1, 2, 3, 4].expand(grid.shape))


def test_a_field_without_values_becomes_zero_beside_one_with_values():
    grid = Grid.cell_centred(12, 24)
    masks = torch.stack((continents(grid), torch.zeros(grid.shape, dtype=torch.bool)))
    filled = smooth_fill(rough(2, *grid.shape), masks, grid)
    assert (filled[1] == 0).all() and (filled[0] != 0).all()


def test_a_field_of_degree_one_is_continued_closely():
    """It is no solution of Laplace's equation, but a smooth one close to it in small holes."""
    grid = Grid.equiangular(91, 180)
    x = torch.sin(torch.deg2rad(grid.latitude)).float()[:, None].expand(grid.shape)
    mask = torch.ones(grid.shape, dtype=torch.bool)
    mask[20:26, 50:60] = False
    assert (smooth_fill(x, mask, grid) - x).abs().max() < 0.02


def test_the_pole_of_a_polar_hole_has_one_value():
    grid = Grid.equiangular(46, 90)
    mask = (grid.latitude > -60)[:, None].expand(grid.shape)
    wave = torch.cos(2 * torch.deg2rad(grid.longitude)).float() + torch.zeros(46, 1)
    filled = smooth_fill(wave, mask, grid)
    assert filled[-1].max() - filled[-1].min() < 2e-4  # of an amplitude of 1 at the coast
    assert filled[-1].abs().max() < 0.05  # cells of 2×2 do not divide a row of 45
    assert (filled[mask.logical_not().any(-1)].amax(-1).diff() < 0).all()


def test_filling_takes_power_from_the_small_scales_of_zeros_at_land():
    grid = Grid.equiangular(46, 90)
    mask, transform = continents(grid), RealSHT(grid, 40)
    wave = torch.linspace(0, 6, 90).sin() + torch.zeros(46, 1) + 2
    zeros = power_spectrum(transform(wave.where(mask, 0)))
    filled = power_spectrum(transform(smooth_fill(wave, mask, grid)))
    assert filled[12:].sum() < 0.1 * zeros[12:].sum()


@pytest.mark.data
def test_the_sea_surface_has_less_power_at_small_scales_than_with_zeros_or_nearest_points(
    data_folder,
):
    with xr.open_dataset(data_folder / "sst/cobe2_sst_monthly_1950-2009_2deg.nc") as file:
        grid = Grid.from_coordinates(file.lat.values, file.lon.values)
        months = torch.from_numpy(file.sst.values.astype("f4")).unflatten(0, (60, 12))
    anomaly = (months - months[:40].mean(0))[::10].flatten(0, 1)
    mask = anomaly[0].isfinite()
    nearest = NearestFill(mask[None], torch.ones_like(mask)[None], grid)
    fields = {
        "zero": anomaly.where(mask, 0.0),
        "nearest": nearest(anomaly[:, None])[:, 0],
        "smooth": smooth_fill(anomaly, mask, grid),
    }
    transform = RealSHT(grid, 60)
    power = {k: power_spectrum(transform(x)).mean(0) for k, x in fields.items()}
    for low, high, share in ((20, 30, 0.9), (30, 40, 0.75), (40, 50, 0.6), (50, 60, 0.5)):
        smooth = power["smooth"][low:high].sum()
        assert smooth < share * power["zero"][low:high].sum()
        assert smooth < share * power["nearest"][low:high].sum()


def test_the_gradient_is_that_of_a_linear_map_from_the_points_inside():
    grid = Grid.cell_centred(12, 24)
    mask = continents(grid)
    fill = SmoothFill(mask, grid)
    x = rough(2, *grid.shape).double().where(mask, torch.nan).requires_grad_()
    y = rough(2, *grid.shape).double().flip(-1)
    (gradient,) = torch.autograd.grad((fill(x) * y).sum(), x)
    assert (gradient[:, ~mask] == 0).all()
    other = torch.randn(2, *grid.shape, dtype=torch.float64)
    torch.testing.assert_close((fill(other) * y).sum(), (gradient * other).sum())


def test_masks_of_another_grid_are_refused():
    grid = Grid.cell_centred(12, 24)
    with pytest.raises(ValueError, match="resample"):
        SmoothFill(torch.ones(24, 12, dtype=torch.bool), grid)
