"""Grids: exactness of quadrature, and recognition or refusal of coordinates."""

import numpy as np
import pytest
import torch
import xarray as xr

from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import area_mean
from tests.sphere_ops.exact import KINDS, harmonic

SHAPES = [(16, 32), (17, 31), (24, 20), (2, 4), (3, 5)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "nlon"), SHAPES)
def test_weights_are_positive_symmetric_and_sum_to_one(kind, nlat, nlon):
    grid = Grid.of(kind, nlat, nlon)
    assert (grid.area_weights > 0).all()
    torch.testing.assert_close(grid.area_weights.sum() * nlon, torch.tensor(1.0).double())
    assert torch.equal(grid.area_weights, grid.area_weights.flip(0))
    torch.testing.assert_close(grid.latitude, -grid.latitude.flip(0), rtol=0, atol=1e-12)
    assert (grid.latitude.diff() < 0).all() and grid.latitude.dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "nlon"), SHAPES)
def test_quadrature_is_exact_to_its_degree_and_no_further(kind, nlat, nlon):
    grid = Grid.of(kind, nlat, nlon)
    degree = 2 * nlat - 1 if kind == "legendre-gauss" else nlat - 1
    for l in range(1, degree + 1):
        for m in {0, l // 2, l} - set(range(nlon, 2 * nlat)):
            # A harmonic of degree l is orthogonal to the constant.
            assert abs(area_mean(harmonic(grid, l, m), grid)) < 1e-12, (l, m)
    # Odd degrees vanish by symmetry, so the first that can fail is even.
    first = degree + 1 + (degree + 1) % 2
    assert abs(area_mean(harmonic(grid, first, 0), grid)) > 1e-4


def test_area_mean_of_known_integrals():
    for kind in KINDS:
        grid = Grid.of(kind, 12, 24)
        sine = torch.sin(torch.deg2rad(grid.latitude))[:, None].expand(grid.shape)
        fields = torch.stack((torch.ones_like(sine), sine**2, sine**4 * 5, sine**3))
        expected = torch.tensor([1, 1 / 3, 1, 0], dtype=torch.float64)
        torch.testing.assert_close(area_mean(fields, grid), expected, rtol=0, atol=1e-13)
        torch.testing.assert_close(
            area_mean(fields.float(), grid), expected.float(), rtol=0, atol=1e-6
        )


def test_area_mean_names_the_shape_that_is_wrong():
    with pytest.raises(ValueError, match=r"\(2, 12, 23\).*legendre-gauss 12×24"):
        area_mean(torch.zeros(2, 12, 23), Grid.legendre_gauss(12, 24))
    with pytest.raises(ValueError, match="not those of the grid"):
        area_mean(torch.zeros(24), Grid.legendre_gauss(12, 24))


def test_points_of_the_three_kinds():
    assert Grid.equiangular(5, 4).latitude.tolist() == pytest.approx([90, 45, 0, -45, -90])
    assert Grid.cell_centred(4, 4).latitude.tolist() == pytest.approx([67.5, 22.5, -22.5, -67.5])
    gauss = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(7)[0][::-1]))
    assert Grid.legendre_gauss(7, 4).latitude.tolist() == pytest.approx(gauss.tolist())
    assert Grid.equiangular(5, 4).longitude.tolist() == [0, 90, 180, 270]
    assert Grid("equiangular", 5, 4, 45.0).longitude.tolist() == [45, 135, 225, 315]


def test_grids_are_values():
    grid = Grid.legendre_gauss(8, 16)
    assert grid == Grid.of("legendre-gauss", 8, 16) and grid.shape == (8, 16)
    assert len({grid, Grid.of("legendre-gauss", 8, 16), Grid.equiangular(8, 16)}) == 2
    assert str(grid) == "legendre-gauss 8×16"
    from_numpy = Grid("legendre-gauss", np.int64(8), np.int32(16), np.float32(0.0))
    assert from_numpy == grid and type(from_numpy.nlat) is int
    assert type(from_numpy.first_longitude) is float


def test_grids_that_differ_in_the_first_longitude_are_told_apart():
    grid, rotated = Grid.cell_centred(90, 180), Grid("cell-centred", 90, 180, 1.0)
    assert (str(grid), str(rotated)) == ("cell-centred 90×180", "cell-centred 90×180 from 1 E")
    assert rotated.is_rotation_of(grid) and grid.is_rotation_of(rotated)
    assert not rotated.is_rotation_of(Grid.cell_centred(90, 179))
    assert not rotated.is_rotation_of(Grid.equiangular(90, 180))


def test_a_point_is_named_by_its_latitude_and_longitude():
    grid = Grid("cell-centred", 90, 180, 1.0)
    assert (grid.place(0, 179), grid.place(89, 0)) == ("89 N 359 E", "89 S 1 E")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gaussian", 8, 16), "'gaussian'; expected one of equiangular, cell-centred, legendre"),
        (("equiangular", 1, 16), "2 rows and 2 columns, got 1×16"),
        (("equiangular", 8, 0), "2 rows and 2 columns, got 8×0"),
        (("equiangular", 8.5, 16), "nlat 8.5; expected a whole number"),
        (("equiangular", 8, "16"), "nlon '16'; expected a whole number"),
        (("equiangular", 8, 16, 400.0), r"first longitude 400.*\[0, 22.5\)"),
        (("equiangular", 8, 16, -1.0), r"first longitude -1.*\[0, 22.5\)"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Grid(*arguments)


# --- the coordinates of files ---------------------------------------------------------------------


def columns(nlon: int, first: float = 0.0) -> np.ndarray:
    return first + 360 / nlon * np.arange(nlon)


def gauss(nlat: int) -> np.ndarray:
    return np.degrees(np.arcsin(np.polynomial.legendre.leggauss(nlat)[0]))[::-1]


def single(degrees: np.ndarray) -> np.ndarray:
    return degrees.astype(np.float32)


REAL_FILES = {
    # ERA5 at 0.25 degrees; WeatherBench at 5.625 degrees; a Gaussian model grid.
    "era5": (np.linspace(90, -90, 721), columns(1440), Grid.equiangular(721, 1440)),
    "weatherbench": (
        np.arange(-87.1875, 90, 5.625), columns(64), Grid.cell_centred(32, 64),
    ),
    "gaussian t62": (gauss(94), columns(192), Grid.legendre_gauss(94, 192)),
    "south first": (np.linspace(-90, 90, 73), columns(144), Grid.equiangular(73, 144)),
    "from the date line": (
        np.linspace(90, -90, 73), columns(144, -180.0), Grid.equiangular(73, 144),
    ),
    "both": (gauss(32)[::-1], columns(64, -180.0), Grid.legendre_gauss(32, 64)),
    "cells between meridians": (
        np.arange(89, -90, -2.0), columns(180, 1.0), Grid("cell-centred", 90, 180, 1.0),
    ),
    "cells from the date line": (
        np.arange(-89.5, 90), columns(360, -179.5), Grid("cell-centred", 180, 360, 0.5),
    ),
    "odd columns from the date line": (
        np.linspace(90, -90, 19), columns(45, -180.0), Grid("equiangular", 19, 45, 4.0),
    ),
    "coads": (np.arange(-89, 90, 2.0), columns(180, 21.0), Grid("cell-centred", 90, 180, 1.0)),
    "single precision": (
        single(np.linspace(90, -90, 721)), single(columns(1440, -180.0)),
        Grid.equiangular(721, 1440),
    ),
    "single precision, thirds": (
        single(np.linspace(90, -90, 181)), single(columns(1080)), Grid.equiangular(181, 1080),
    ),
    "single precision, sevenths": (
        single(gauss(48)), single(columns(7 * 16)), Grid.legendre_gauss(48, 112),
    ),
    "single precision, half a cell": (
        single(np.arange(-89.875, 90, 0.25)), single(columns(1440, -179.875)),
        Grid("cell-centred", 720, 1440, 0.125),
    ),
    "rounded to 2 decimals": (
        gauss(160).round(2), columns(320).round(2), Grid.legendre_gauss(160, 320),
    ),
    "rounded to 3 decimals": (
        gauss(640).round(3), columns(1280).round(3), Grid.legendre_gauss(640, 1280),
    ),
    "rounded to 4 decimals": (
        gauss(64).round(4), columns(128).round(4), Grid.legendre_gauss(64, 128),
    ),
    "fine, rounded to 2 decimals": (
        gauss(1280).round(2), columns(2560).round(2), Grid.legendre_gauss(1280, 2560),
    ),
    "kept below 90 degrees": (
        np.clip(np.linspace(90, -90, 91), -89.999, 89.999), columns(180),
        Grid.equiangular(91, 180),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL_FILES)
def test_grids_of_real_files_are_recognised(name):
    latitude, longitude, expected = REAL_FILES[name]
    found = Grid.from_coordinates(latitude, longitude)
    assert found == expected
    # The caller has to flip the data, and roll it to the first longitude.
    flipped = -np.sort(-np.asarray(latitude, dtype=np.float64))
    assert np.abs(found.latitude.numpy() - flipped).max() < 0.01
    rolled = np.sort(np.mod(np.asarray(longitude, dtype=np.float64) + 1e-3, 360))
    assert np.abs(found.longitude.numpy() - rolled).max() < 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nlat", "nlon"), [(4, 8), (5, 7), (32, 64), (181, 360)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_grid_is_recognised_by_its_own_coordinates(kind, nlat, nlon, dtype):
    for first in (0.0, 180 / nlon):
        grid = Grid(kind, nlat, nlon, first)
        assert Grid.from_coordinates(grid.latitude.to(dtype), grid.longitude.to(dtype)) == grid


def test_coordinates_come_in_every_container():
    grid = Grid.cell_centred(6, 12)
    latitude, longitude = grid.latitude, grid.longitude
    for convert in (torch.clone, torch.Tensor.numpy, torch.Tensor.tolist, tuple, to_xarray):
        assert Grid.from_coordinates(convert(latitude), convert(longitude)) == grid


def to_xarray(degrees: torch.Tensor) -> xr.DataArray:
    return xr.DataArray(degrees.numpy(), dims="x", coords={"x": degrees.numpy()})


LATITUDE, LONGITUDE = np.linspace(90, -90, 73), columns(144)
UNSORTED = LATITUDE[np.random.default_rng(0).permutation(73)]
MERCATOR = np.degrees(np.arctan(np.sinh(np.linspace(3, -3, 73))))

REFUSED = {
    "regional rows": (np.linspace(70, 30, 41), columns(360), "41 latitudes from 70 to 30"),
    "one hemisphere": (np.linspace(90, 0, 37), LONGITUDE, "37 latitudes from 90 to 0"),
    "missing pole": (LATITUDE[:-1], LONGITUDE, "72 latitudes from 90 to -87.5"),
    "both poles missing": (LATITUDE[1:-1], LONGITUDE, "71 latitudes from 87.5 to -87.5"),
    "unequal rows": (MERCATOR, LONGITUDE, "not those of a global grid"),
    "unsorted rows": (UNSORTED, LONGITUDE, "latitudes are not in order.*sort"),
    "a row twice": (np.repeat(LATITUDE, 2), LONGITUDE, "latitudes are not in order"),
    "rows beyond the pole": (np.linspace(100, -90, 73), LONGITUDE, "latitudes reach 100"),
    "radians": (np.radians(LATITUDE), LONGITUDE, "from 1.5708 to -1.5708.*degrees"),
    "regional columns": (LATITUDE, np.arange(0, 60, 2.5), "24 longitudes from 0 to 57.5"),
    "half the columns": (LATITUDE, np.arange(0, 180, 2.5), "72 longitudes from 0 to 177.5"),
    "wrap column": (LATITUDE, np.linspace(0, 360, 145), "from 0 to 360.*repeats.*cut"),
    "wrap column, coarse": (LATITUDE, np.linspace(0, 360, 9), "from 0 to 360.*repeats.*cut"),
    "wrap column, fine": (LATITUDE, np.linspace(-180, 180, 1441), "from -180 to 180.*repeats"),
    "last column missing": (LATITUDE, columns(1440)[:-1], "1439 longitudes from 0 to 359.5"),
    "columns westward": (LATITUDE, LONGITUDE[::-1], "144 longitudes from 357.5 to 0"),
    "longitudes in radians": (LATITUDE, np.radians(LONGITUDE), "144 longitudes from 0 to 6.23"),
    "curvilinear": (np.zeros((73, 144)), np.zeros((73, 144)), r"\(73, 144\).*curvilinear"),
    "scalar": (45.0, LONGITUDE, "latitude of type float; expected a 1-D"),
    "scalar array": (np.array(45.0), LONGITUDE, r"latitude of shape \(\)"),
    "one row": ([45.0], LONGITUDE, r"latitude of shape \(1,\)"),
    "no longitude": (LATITUDE, None, "longitude of type NoneType"),
    "missing value": (np.where(LATITUDE == 0, np.nan, LATITUDE), LONGITUDE, "latitude holds miss"),
    "text": (LATITUDE, ["west", "east"], "longitude .*numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_a_global_regular_grid_is_refused_in_one_sentence(name):
    latitude, longitude, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as caught:
        Grid.from_coordinates(latitude, longitude)
    assert "\n" not in str(caught.value)


def test_grids_of_other_sizes_are_no_rotations_whatever_their_first_longitude() -> None:
    coarse, fine = Grid("equiangular", 5, 6, first_longitude=45.0), Grid.equiangular(5, 12)
    assert not coarse.is_rotation_of(fine) and not fine.is_rotation_of(coarse)
    assert Grid.equiangular(5, 6).is_rotation_of(coarse)
