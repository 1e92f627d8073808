"""Largest power of each degree in a store, compared with its definition."""

import numpy as np
import pytest
import torch
import xarray as xr

from configs.variables import variable
from data_prep.store.gather.power import StatePower
from data_prep.store.spec import StoreSpec
from data_prep.store.spectra import degree_power, largest_power, transforms
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT

GRID = Grid.legendre_gauss(8, 16)


def harmonics(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random fields (n, 2, nlat, nlon), and the power of their degrees (n, 2, lmax)."""
    generator = torch.Generator().manual_seed(0)
    coeffs = torch.randn(n, 2, 8, 8, dtype=torch.complex128, generator=generator).tril()
    coeffs[..., 0] = coeffs[..., 0].real.to(coeffs)
    squares = coeffs.abs().square()
    # Orders below zero have the coefficients of those above; 4π is the area of the sphere.
    power = (squares[..., 0] + 2 * squares[..., 1:].sum(-1)) / (4 * np.pi)
    return InverseRealSHT(GRID, lmax=8, mmax=8)(coeffs).numpy(), power.numpy()


def test_a_store_holds_the_largest_power_of_its_training_split(tmp_path):
    fields, power = harmonics(6)
    spec = StoreSpec(
        grid=GRID, channels=(variable("sst"), variable("msl")), time_step="6h", title="t",
        time=np.datetime64("2000-01-01T00", "h") + 6 * np.arange(6), source="s", configuration="",
        split=["train"] * 4 + ["validation", "test"],
    )  # fmt: skip
    with StoreWriter(tmp_path / "store", spec) as writer:
        writer.write_times(slice(0, 6), fields)
        writer.finalise()
    store = xr.open_zarr(tmp_path / "store", consolidated=False, chunks=None)
    assert store.largest_power.dims == ("channel", "degree")
    assert "climatology_largest_power" not in store
    expected = power[:4].max(0) / store["std"].values[:, None] ** 2
    found = store.largest_power.values
    # Degree 0 is what is left of the mean, and nothing is beyond the degrees of the grid.
    np.testing.assert_allclose(found[:, 1:8], expected[:, 1:], rtol=1e-4)
    np.testing.assert_allclose(found[:, 8], 0, atol=1e-10)


def test_many_states_are_sampled_evenly():
    seen = []

    def read(i: int) -> torch.Tensor:
        seen.append(i)
        return torch.full((1, *GRID.shape), float(i))

    largest_power(read, 5000, GRID)
    chosen = sorted(set(seen))
    assert (chosen[0], chosen[-1], len(chosen)) == (0, 4999, 1024)
    assert max(np.diff(chosen)) <= 6


@pytest.mark.parametrize("grid", [Grid.equiangular(9, 14), Grid.legendre_gauss(6, 12)], ids=str)
def test_power_of_a_state_about_another_mean_is_that_of_the_transform(grid: Grid) -> None:
    states = np.random.default_rng(0).normal(280, 2, (3, 2, *grid.shape)).astype("f4")
    states[:, 1, 2:4, 3:7] = np.nan
    states[1, 1, 5] = np.nan
    mean, std = np.array([279.0, 281.5]), np.array([2.0, 3.0])
    found = StatePower.of(states, grid).about(mean, std)
    field = (torch.from_numpy(states).double() - torch.from_numpy(mean)[:, None, None]).nan_to_num()
    to_degrees, to_field = transforms(grid, grid.exact_lmax)
    coeffs = to_degrees(field)
    expected = degree_power(coeffs, field - to_field(coeffs), grid).numpy()
    np.testing.assert_allclose(found, expected / std[:, None] ** 2, rtol=1e-9, atol=1e-12)
