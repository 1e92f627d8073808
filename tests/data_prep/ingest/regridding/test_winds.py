"""Winds: vorticity and divergence in closed form, there and back, pole rows included."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from data_prep.ingest.regridding import winds as winds_module
from data_prep.ingest.regridding.winds import vorticity_divergence, winds
from sphere_ops.grid import EARTH_RADIUS, Grid
from sphere_ops.harmonics.transforms import InverseRealVectorSHT, inverse_laplacian
from sphere_ops.harmonics.winds import wind_lmax
from tests.sphere_ops.exact import KINDS, random_coeffs

GRIDS = [Grid.of(kind, *shape) for kind in KINDS for shape in ((32, 64), (33, 60))]


def wind(grid: Grid, n: int = 3) -> np.ndarray:
    """Return winds with all degrees that the grid resolves, (2, n, nlat, nlon), m s-1."""
    lmax = wind_lmax(grid)
    potentials = inverse_laplacian(random_coeffs(n, 2, lmax, lmax))
    south, east = InverseRealVectorSHT(grid, lmax, lmax)(potentials).unbind(-3)
    both = torch.stack((east, -south))
    return (both * (12 / both.square().mean().sqrt())).numpy()


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x).mean()))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("f8", 1e-11), ("f4", 1e-6)])
def test_winds_come_back_from_their_vorticity_and_divergence(
    grid: Grid, dtype: str, tolerance: float
) -> None:
    u, v = wind(grid).astype(dtype)
    vorticity, divergence = vorticity_divergence(u, v, grid, EARTH_RADIUS)
    found = winds(vorticity, divergence, grid, EARTH_RADIUS)
    assert {x.dtype for x in (vorticity, divergence, *found)} == {np.dtype(dtype)}
    for component, expected in zip(found, (u, v), strict=True):
        assert np.abs(component - expected).max() < tolerance * rms(expected)
        poles = component[:, [0, -1]] - expected[:, [0, -1]]
        assert rms(poles) < tolerance * rms(expected)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_solid_rotation_has_the_vorticity_of_twice_its_rate(grid: Grid) -> None:
    theta = grid.colatitude.numpy()[:, None] + np.zeros((1, *grid.shape))
    rate = 2e-6  # s-1
    u = rate * EARTH_RADIUS * np.sin(theta)
    vorticity, divergence = vorticity_divergence(u, 0 * u, grid)
    np.testing.assert_allclose(vorticity, 2 * rate * np.cos(theta), rtol=0, atol=1e-18)
    np.testing.assert_allclose(divergence, 0, rtol=0, atol=1e-18)


def test_all_degrees_of_the_rows_are_kept() -> None:
    kept = {grid: wind_lmax(grid) for grid in GRIDS}
    assert set(kept.values()) == {32 - 2, 32 - 1, 32, 30}, kept


@pytest.mark.parametrize("nlon", [36, 37])
def test_the_wind_at_a_pole_is_one_vector_seen_from_every_meridian(nlon: int) -> None:
    grid = Grid.equiangular(19, nlon)
    u, v = (x[0] for x in winds(*vorticity_divergence(*wind(grid, 1), grid), grid))
    longitude = np.radians(grid.longitude.numpy())
    for row, side in ((0, 1), (-1, -1)):
        # Components along the meridians 0 and 90 E of the tangent plane.
        x = -np.sin(longitude) * u[row] - side * np.cos(longitude) * v[row]
        y = np.cos(longitude) * u[row] - side * np.sin(longitude) * v[row]
        np.testing.assert_allclose(x, x[0], rtol=0, atol=1e-11)
        np.testing.assert_allclose(y, y[0], rtol=0, atol=1e-11)
        assert np.hypot(x[0], y[0]) > 1


def test_flow_over_the_pole_keeps_its_pole_rows() -> None:
    grid = Grid.equiangular(19, 36)
    theta, longitude = np.meshgrid(
        grid.colatitude.numpy(), np.radians(grid.longitude.numpy()), indexing="ij"
    )
    # Solid rotation about the axis through 0 N 90 E.
    u, v = -np.cos(theta) * np.sin(longitude), np.cos(longitude) + 0 * theta
    found = winds(*vorticity_divergence(10 * u[None], -10 * v[None], grid), grid)
    np.testing.assert_allclose(found, 10 * np.stack([u, -v])[:, None], rtol=0, atol=1e-11)


def test_samples_in_parts_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid.legendre_gauss(16, 32)
    u, v = wind(grid, 5)
    expected = vorticity_divergence(u, v, grid)
    monkeypatch.setattr(winds_module, "_BYTES", 2 * 8 * 16 * 32)
    found = vorticity_divergence(u, v, grid)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-16)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_winds_that_are_not_finite_are_refused_by_name(bad: float) -> None:
    grid = Grid.cell_centred(12, 24)
    good = np.zeros((2, *grid.shape), dtype="f4")
    holed = good.copy()
    holed[1, 3, 4:7] = bad
    with pytest.raises(ValueError, match="^v has 3 values that are missing or not finite"):
        vorticity_divergence(good, holed, grid)
    with pytest.raises(ValueError, match="^vorticity has 3 values"):
        winds(holed, good, grid)


@pytest.mark.data
def test_observed_winds_come_back_but_for_the_degrees_that_the_grid_does_not_resolve(
    data_folder: Path,
) -> None:
    level = 20
    read = []
    for name in ("u", "v"):
        path = data_folder / f"reanalysis/eraint_{name}_37lev_1p5deg_2005-01-23T00.nc"
        with xr.open_dataset(path) as file:
            (array,) = (a for a in file.data_vars.values() if a.ndim >= 3)
            latitude, longitude = file.latitude.values, file.longitude.values
            read.append(np.asarray(array.squeeze().values[level], dtype="f8")[None])
    grid = Grid.from_coordinates(latitude, longitude)
    once = winds(*vorticity_divergence(*read, grid), grid)
    twice = winds(*vorticity_divergence(*once, grid), grid)
    for first, second, original in zip(once, twice, read, strict=True):
        assert rms(second - first) < 1e-10 * rms(first)
        assert rms(first - original) < 1e-3 * rms(original)
