"""Laws of regridding between any two grids, by hypothesis."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.ingest.regridding.regrid import FileGrid, Regridder
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import area_mean

KINDS = ("equiangular", "cell-centred", "legendre-gauss")
RULES = settings(max_examples=50, deadline=None, derandomize=True, database=None)
METHODS = st.sampled_from(["auto", "conservative", "bilinear", "spectral"])
WITHOUT_EXTREMES = st.sampled_from(["conservative", "bilinear"])
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    nlat, nlon = draw(st.integers(3, 40)), draw(st.integers(3, 80))
    # Coordinates near 0 and 0.5 count as rounded ones.
    part = draw(st.sampled_from([0.0, 0.5]) | st.floats(0.1, 0.4) | st.floats(0.6, 0.9))
    return Grid(draw(st.sampled_from(KINDS)), nlat, nlon, part * 360 / nlon)


def of(grid: Grid) -> FileGrid:
    return FileGrid.from_coordinates(grid.latitude.numpy(), grid.longitude.numpy(), exact=True)


def rough(grid: Grid, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(5.0, 2.0, size=(2, *grid.shape))


def means(fields: np.ndarray, grid: Grid) -> np.ndarray:
    return area_mean(torch.from_numpy(fields), grid).numpy()


@RULES
@given(grids(), grids(), METHODS, st.floats(-1e5, 1e5))
def test_constants_stay(source: Grid, target: Grid, method: str, value: float) -> None:
    out = Regridder(of(source), target, method)(np.full((1, *source.shape), value))
    np.testing.assert_allclose(out, value, rtol=1e-11, atol=1e-11)


@RULES
@given(grids(), grids(), SEEDS)
def test_conservative_regridding_keeps_the_area_mean(source: Grid, target: Grid, seed: int) -> None:
    fields = rough(source, seed)
    out = Regridder(of(source), target, "conservative")(fields)
    np.testing.assert_allclose(means(out, target), means(fields, source), rtol=1e-8)
    single = Regridder(of(source), target, "conservative")(fields.astype("f4"))
    np.testing.assert_allclose(means(single, target), means(fields, source), rtol=1e-6)


@RULES
@given(grids(), grids(), WITHOUT_EXTREMES, st.booleans(), SEEDS)
def test_there_are_no_new_extremes_also_beside_missing_values(
    source: Grid, target: Grid, method: str, missing: bool, seed: int
) -> None:
    fields = rough(source, seed)
    if missing:
        fields[:, np.random.default_rng(seed).random(source.shape) < 0.4] = np.nan
        fields[:, 0, 0] = 5.0
    low, high = np.nanmin(fields), np.nanmax(fields)
    out = Regridder(of(source), target, method)(fields)
    valid = np.isfinite(out)
    assert valid.all() or missing
    assert (out[valid] >= low - 1e-9).all() and (out[valid] <= high + 1e-9).all()


@RULES
@given(grids(), grids(), METHODS, st.integers(0, 100), st.booleans(), SEEDS)
def test_the_order_of_rows_and_columns_of_a_file_changes_nothing(
    source: Grid, target: Grid, method: str, shift: int, vector: bool, seed: int
) -> None:
    fields = rough(source, seed)
    longitude = source.longitude.numpy() + shift * 360 / source.nlon - 360
    other = FileGrid.from_coordinates(source.latitude.numpy()[::-1], longitude, exact=True)
    as_filed = np.roll(fields, -shift, axis=-1)[:, ::-1]
    found = Regridder(other, target, method)(other.ordered(as_filed), vector=vector)
    expected = Regridder(of(source), target, method)(fields, vector=vector)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


@RULES
@given(grids(), WITHOUT_EXTREMES, st.booleans(), SEEDS)
def test_regridding_to_the_same_grid_changes_nothing(
    grid: Grid, method: str, vector: bool, seed: int
) -> None:
    fields = rough(grid, seed)
    found = Regridder(of(grid), grid, method)(fields, vector=vector)
    np.testing.assert_allclose(found, fields, rtol=0, atol=1e-8)
