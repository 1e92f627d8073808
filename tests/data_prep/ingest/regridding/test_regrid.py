from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from data_prep.ingest.regridding.regrid import FileGrid, Regridder
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import rotated
from sphere_ops.harmonics.transforms import InverseRealVectorSHT
from sphere_ops.parallel.fields import area_mean
from tests.sphere_ops.exact import random_coeffs

KINDS = ("equiangular", "cell-centred", "legendre-gauss")
METHODS = ("conservative", "bilinear", "spectral")


def of(grid: Grid) -> FileGrid:
    return FileGrid.from_coordinates(grid.latitude.numpy(), grid.longitude.numpy(), exact=True)


def mesh(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return colatitude and longitude of each point, radians."""
    return np.meshgrid(
        grid.colatitude.numpy(), np.radians(grid.longitude.numpy()), indexing="ij"
    )  # (h, w)


def smooth(grid: Grid) -> np.ndarray:
    theta, phi = mesh(grid)
    x, y, z = np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)
    return 3 + z + 2 * x * y - y * z**2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", KINDS)
@pytest.mark.parametrize("shape", [(12, 24), (13, 20)], ids=str)
def test_remapping_to_a_coarser_grid_keeps_the_area_mean(
    kind: str, wanted: str, shape: tuple[int, int]
) -> None:
    source, target = Grid.of(kind, 25, 48), Grid.of(wanted, *shape)
    rough = np.random.default_rng(0).normal(2.0, 1.0, size=(2, *source.shape))
    out = Regridder(of(source), target)(rough)
    mean = area_mean(torch.from_numpy(rough), source)
    np.testing.assert_allclose(area_mean(torch.from_numpy(out), target), mean, rtol=0, atol=1e-10)
    assert out.min() >= rough.min() and out.max() <= rough.max()


@pytest.mark.parametrize("shape", [(9, 18), (60, 100)], ids=["coarser", "finer"])
def test_constants_stay(shape: tuple[int, int]) -> None:
    source = Grid("legendre-gauss", 24, 48, first_longitude=3.75)
    out = Regridder(of(source), Grid.equiangular(*shape))(np.full((1, *source.shape), 7.5))
    np.testing.assert_allclose(out, 7.5, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_bilinear_refinement_converges_with_second_order_up_to_the_poles(kind: str) -> None:
    errors = []
    for n in (16, 32, 64):
        source, target = Grid.of(kind, n, 2 * n), Grid.equiangular(2 * n + 1, 4 * n)
        out = Regridder(of(source), target)(smooth(source)[None])[0]
        errors.append(np.abs(out - smooth(target)).max())
    assert min(np.log2(np.divide(errors[:-1], errors[1:]))) > 1.8, errors


def test_wind_components_change_their_sign_across_a_pole() -> None:
    # Of a uniform flow over the pole, both components turn once round with the longitude.
    source, target = Grid.cell_centred(32, 64), Grid.equiangular(65, 128)
    theta, phi = mesh(source)
    wanted = -np.sin(mesh(target)[1])
    flow = -np.sin(phi) + 0 * theta
    out = Regridder(of(source), target)(flow[None], vector=True)[0]
    np.testing.assert_allclose(out, wanted, atol=2e-3)  # error of linear interpolation, h²/8
    as_scalar = Regridder(of(source), target)(flow[None])[0]
    assert np.abs(as_scalar[0] - wanted[0]).max() > 0.9


def test_missing_values_take_no_part_and_do_not_spread() -> None:
    source, target = Grid.cell_centred(24, 48), Grid.cell_centred(12, 24)
    fields = np.full((1, *source.shape), 4.0)
    fields[0, 6:12, 10:20] = np.nan  # a quarter of the cells of column 10, three of column 5
    out = Regridder(of(source), target)(fields)[0]
    missing = np.zeros(target.shape, dtype=bool)
    missing[3:6, 5:10] = True
    np.testing.assert_array_equal(np.isnan(out), missing)
    np.testing.assert_allclose(out[~missing], 4.0, atol=1e-12)


@pytest.mark.parametrize("first", [-180.0, 0.0, 20.0])
@pytest.mark.parametrize("south_first", [False, True])
def test_any_order_of_rows_and_columns_becomes_the_house_order(
    first: float, south_first: bool
) -> None:
    grid = Grid.equiangular(19, 36)
    longitude = (first + np.arange(36) * 10.0).astype("f4")
    latitude = grid.latitude.numpy()[:: -1 if south_first else 1].astype("f4")
    value = latitude[:, None] * 1000.0 + longitude[None, :] % 360
    found = FileGrid.from_coordinates(latitude, longitude, exact=True)
    assert found.grid == grid
    expected = grid.latitude.numpy()[:, None] * 1000 + grid.longitude.numpy()[None, :]
    np.testing.assert_allclose(found.ordered(value), expected, atol=1e-2)  # float32 degrees


@pytest.mark.parametrize("first", [0, 14, 35])
def test_columns_may_jump_from_180_to_minus_180_or_from_360_to_0(first: int) -> None:
    grid = Grid.equiangular(19, 36)
    for west in (-180.0, 0.0):
        longitude = (np.roll(grid.longitude.numpy(), -first) - west) % 360 + west
        found = FileGrid.from_coordinates(grid.latitude.numpy(), longitude, exact=True)
        assert found.grid == grid
        value = np.broadcast_to(longitude % 360, grid.shape)
        np.testing.assert_array_equal(found.ordered(value)[0], grid.longitude.numpy())


def test_rows_that_stop_a_step_short_of_a_pole_can_be_regridded_but_are_no_grid() -> None:
    latitude, longitude = np.linspace(90, -89, 180), np.arange(360.0)
    with pytest.raises(ValueError, match="180 latitudes"):
        FileGrid.from_coordinates(latitude, longitude, exact=True)
    source = FileGrid.from_coordinates(latitude, longitude, exact=False)
    target = Grid.legendre_gauss(32, 64)
    field = np.sin(np.radians(latitude))[:, None] * np.ones(360)
    out = Regridder(source, target)(field[None])[0]
    np.testing.assert_allclose(out[:, 0], np.cos(target.colatitude.numpy()), atol=5e-3)


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        (np.linspace(60, 30, 31), np.arange(0, 360, 10.0)),
        (np.linspace(88, -88, 23), np.arange(-10, 30, 1.0)),
    ],
    ids=["rows", "columns"],
)
def test_regional_files_are_refused_also_for_regridding(
    latitude: np.ndarray, longitude: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="pole to pole|once round"):
        FileGrid.from_coordinates(latitude, longitude, exact=False)


def wind(grid: Grid, lmax: int) -> np.ndarray:
    """Return a random wind of degrees below lmax, (2, nlat, nlon), the same one on every grid."""
    coeffs = random_coeffs(2, lmax, lmax)
    coeffs = rotated(coeffs, torch.arange(lmax), grid.first_longitude)
    south, east = InverseRealVectorSHT(grid, lmax, lmax)(coeffs).numpy()
    return np.stack([east, -south])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", KINDS)
def test_spectral_regridding_of_wind_components_is_exact_up_to_the_poles(
    kind: str, wanted: str
) -> None:
    source, target = Grid(kind, 25, 48, 2.5), Grid(wanted, 17, 40)
    lmax = min(source.exact_lmax, target.exact_lmax) - 1  # times sin θ it has one degree more
    out = Regridder(of(source), target, "spectral")(wind(source, lmax), vector=True)
    np.testing.assert_allclose(out, wind(target, lmax), rtol=0, atol=1e-10)


def test_spectral_regridding_of_a_rough_wind_stays_finite_and_bounded_at_the_poles() -> None:
    source, target = Grid.equiangular(65, 128), Grid.equiangular(33, 64)
    flow = np.random.default_rng(0).normal(size=(4, *source.shape))
    out = Regridder(of(source), target, "spectral")(flow, vector=True)
    assert np.abs(out).max() < 2 * np.abs(flow).max()


def test_a_shift_in_longitude_keeps_all_degrees_of_spectral_regridding() -> None:
    source, target = Grid.cell_centred(12, 24), Grid("cell-centred", 12, 24, 7.5)
    rough = np.random.default_rng(0).normal(size=(1, *source.shape))
    to, back = (Regridder(of(a), b, "spectral") for a, b in ((source, target), (target, source)))
    spectrum = np.fft.rfft(rough)[..., :12]  # without the wavenumber nlon / 2
    for vector in (False, True):
        found = np.fft.rfft(back(to(rough, vector=vector), vector=vector))[..., :12]
        np.testing.assert_allclose(found, spectrum, atol=1e-10)


def test_spectral_regridding_of_missing_values_is_refused_with_the_alternatives() -> None:
    source = Grid.cell_centred(12, 24)
    fields = np.zeros((1, *source.shape))
    fields[0, 3, 4:6] = np.nan
    with pytest.raises(ValueError, match="2 missing values.*conservative or bilinear"):
        Regridder(of(source), Grid.equiangular(9, 18), "spectral")(fields)


def test_spectral_regridding_from_rows_of_no_known_kind_is_refused_with_the_alternatives() -> None:
    source = FileGrid.from_coordinates(np.linspace(90, -89, 180), np.arange(360.0), exact=False)
    with pytest.raises(ValueError, match="180 rows, from 90 to -89,.*conservative or bilinear"):
        Regridder(source, Grid.equiangular(9, 18), "spectral")


def test_an_unknown_method_is_refused() -> None:
    grid = Grid.equiangular(9, 18)
    with pytest.raises(ValueError, match="nearest.*auto, conservative, bilinear, spectral"):
        Regridder(of(grid), grid, "nearest")


def test_auto_is_conservative_to_a_coarser_grid_and_bilinear_to_a_finer_one() -> None:
    source = of(Grid.cell_centred(12, 24))
    assert Regridder(source, Grid.equiangular(11, 24)).method == "conservative"
    assert Regridder(source, Grid.equiangular(11, 25)).method == "bilinear"


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_in_gives_single_precision_out(method: str) -> None:
    source, target = Grid.cell_centred(24, 48), Grid.equiangular(13, 24)
    fields = (smooth(source)[None] + 287).astype("f4")
    regrid = Regridder(of(source), target, method)
    out = regrid(fields)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, regrid(fields.astype("f8")).astype("f4"))


def test_threads_may_share_a_regridder() -> None:
    source, target = Grid.equiangular(91, 180), Grid.legendre_gauss(32, 64)
    fields = np.random.default_rng(0).normal(size=(16, *source.shape))
    fields[8:, 20:30] = np.nan
    for method, whole in (("conservative", fields), ("spectral", fields[:8])):
        alone = Regridder(of(source), target, method)(whole)
        shared = Regridder(of(source), target, method)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda x, to=shared: to(x[None])[0], whole))
        np.testing.assert_allclose(found, alone, rtol=0, atol=1e-12)
