import numpy as np
import pytest
import torch

from data_prep.ingest.regrid import FileGrid, Regridder
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import area_mean

KINDS = ("equiangular", "cell-centred", "legendre-gauss")


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
