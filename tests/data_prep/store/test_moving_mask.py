"""Stores with channels that are missing at points which change with time."""

import numpy as np
import pytest
import torch
import zarr

from configs.variables import variable
from data_prep.store.climatology import without_gaps
from data_prep.store.describe import describe
from data_prep.store.reader import Store
from data_prep.store.spec import StoreSpec
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(6, 12)
N = 36


def fields() -> np.ndarray:
    """Return three years of sst and t2m, of which sst is missing at random points that change."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N, 2, *GRID.shape)).astype("f4") + 3
    values[:, 0][rng.random((N, *GRID.shape)) < 0.3] = np.nan
    values[:, 0, 2, 3] = np.nan  # land
    values[[0, 12, 24], 0, 4, 5] = np.nan  # never in January
    return values


def write(path, values, moving_mask=("sst",)) -> Store:
    spec = StoreSpec(
        grid=GRID,
        channels=(variable("sst"), variable("t2m")),
        time=np.arange("2000-01", "2003-01", dtype="M8[M]").astype("M8[ns]"),
        time_step="1mo",
        split=["train"] * N,
        title="",
        source="",
        configuration="",
        mask=np.isfinite(values).any(0),
        moving_mask=moving_mask,
    )
    with StoreWriter(path, spec) as writer:
        for times in writer.blocks():
            writer.write_times(times, values[times])
        return Store(writer.finalise())


def test_a_store_keeps_the_missing_points_of_each_time(tmp_path):
    values = fields()
    store = write(tmp_path / "s.zarr", values)
    assert store.moving_mask == ("sst",)
    np.testing.assert_array_equal(store.states(0, 0, N), values)
    np.testing.assert_array_equal(store.mask, np.isfinite(values).any(0))
    (line,) = (line for line in describe(store.path).splitlines() if line.startswith("sst"))
    assert line.endswith("(moving mask)")


def test_gaps_of_a_climatology_are_filled_from_the_months_around_them():
    climatology = torch.arange(12.0)[:, None].repeat(1, 3)
    climatology[:, 2] = torch.nan
    climatology[[11, 0, 1], 1] = torch.nan
    found = without_gaps(climatology)
    np.testing.assert_array_equal(found[:, 0], np.arange(12))
    np.testing.assert_allclose(found[[10, 11, 0, 1, 2], 1], [10, 8, 6, 4, 2], rtol=1e-6)
    assert found[:, 2].isnan().all()


def test_other_channels_and_infinite_values_are_refused(tmp_path):
    values = fields()
    with pytest.raises(ValueError, match="sst at 2000-01.* has .* missing or infinite"):
        write(tmp_path / "s.zarr", values, ("t2m",))
    values[3, 0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="sst at 2000-04-01T00:00:00 has 1 values"):
        write(tmp_path / "s.zarr", values)


def test_statistics_are_those_of_the_points_that_have_values(tmp_path):
    values = fields()
    group = zarr.open_group(write(tmp_path / "s.zarr", values).path)
    area = np.broadcast_to(GRID.area_weights.numpy(), values.shape)

    def mean(x):
        there = np.isfinite(x)
        with np.errstate(invalid="ignore"):
            return np.where(there, x, 0.0).astype("f8").sum(0) / there.sum(0)

    def moments(x):
        weights = np.where(np.isfinite(x), area[: len(x)], 0.0)
        x, total = np.nan_to_num(x.astype("f8")), weights.sum((0, 2, 3))
        mean = (x * weights).sum((0, 2, 3)) / total
        return mean, np.sqrt(((x - mean[:, None, None]) ** 2 * weights).sum((0, 2, 3)) / total)

    climatology = np.stack([mean(values[m::12]) for m in range(12)])
    anomaly = values - np.concatenate([climatology.astype("f4")] * 3)
    expected = {
        "mean": moments(values)[0],
        "std": moments(values)[1],
        "std_step": moments(np.diff(values.astype("f8"), axis=0))[1],
        "time_mean": mean(values),
        "climatology": climatology,
        "climatology_std": moments(anomaly)[1],
        "climatology_std_step": moments(np.diff(anomaly.astype("f8"), axis=0))[1],
    }
    for name, value in expected.items():
        np.testing.assert_allclose(group[name][...], value, rtol=2e-6, atol=1e-6, err_msg=name)
    assert np.isnan(group["climatology"][0, 0, 4, 5])
    assert np.isfinite(group["largest_power"][...]).all()
    assert np.isfinite(group["climatology_largest_power"][...]).all()
