from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from configs.variables import variable
from data_prep.store.spec import StoreSpec, Trajectories
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

GRID = Grid.cell_centred(6, 8)
CHANNELS = (variable("sst"), variable("msl"))
AREA = np.broadcast_to(GRID.area_weights.numpy(), GRID.shape)


def states(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 2, *GRID.shape)) * [[[2.0]], [[700.0]]] + [[[15.0]], [[101325.0]]]
    return values.astype("f4")


def series(path: Path, time: np.ndarray, split: list[str], mask: np.ndarray | None) -> xr.Dataset:
    spec = StoreSpec(
        grid=GRID, channels=CHANNELS, time=time, time_step="1mo", split=split, title="t",
        source="s", configuration="", mask=mask,
    )  # fmt: skip
    with StoreWriter(path, spec) as writer:
        writer.write_times(slice(0, len(time)), states(len(time)))
        writer.finalise()
    return xr.open_zarr(path, consolidated=False, chunks=None).load()


def moments(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of (n, c, h, w), directly from their definition."""
    w = np.broadcast_to(weights, x.shape)
    mean = np.array([np.average(x[:, c], weights=w[:, c]) for c in range(2)])
    square = (x - mean[:, None, None]) ** 2
    return mean, np.sqrt([np.average(square[:, c], weights=w[:, c]) for c in range(2)])


def land() -> np.ndarray:
    mask = np.ones((2, *GRID.shape), dtype=bool)
    mask[0, 2:4, 1:5] = False
    return mask


@pytest.mark.parametrize("mask", [None, land()], ids=["everywhere", "masked"])
def test_statistics_are_those_of_the_training_split_by_definition(
    tmp_path: Path, mask: np.ndarray | None
) -> None:
    time = np.datetime64("2000-01", "M") + np.arange(10)
    split = ["test"] + ["train"] * 4 + [""] + ["train"] * 3 + ["validation"]
    store = series(tmp_path / "store", time, split, mask)
    x = states(10).astype(np.float64)
    weights = AREA * (np.ones((2, 1, 1)) if mask is None else mask)
    train = x[[1, 2, 3, 4, 6, 7, 8]]
    steps = np.concatenate([np.diff(x[1:5], axis=0), np.diff(x[6:9], axis=0)])
    mean, std = moments(train, weights)
    np.testing.assert_allclose(store["mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(store["std"], std, rtol=1e-10)
    np.testing.assert_allclose(store["std_step"], moments(steps, weights)[1], rtol=1e-10)
    expected = train.mean(0) if mask is None else np.where(mask, train.mean(0), np.nan)
    np.testing.assert_allclose(store["time_mean"], expected, rtol=1e-6)  # float32
    assert store["time_mean"].dims == ("channel", "latitude", "longitude")


def test_differences_do_not_cross_from_one_trajectory_to_the_next(tmp_path: Path) -> None:
    spec = StoreSpec(
        grid=GRID, channels=CHANNELS, time=np.datetime64("2000-01-01T00", "h") + np.arange(4),
        time_step="1h", split=["train", "test", "train"], title="t", source="s", configuration="",
        trajectories=Trajectories(np.arange(3), ("random",) * 3),
    )  # fmt: skip
    x = np.stack([states(4, seed) for seed in range(3)])
    with StoreWriter(tmp_path / "store", spec) as writer:
        for index in range(3):
            writer.write_trajectory(index, x[index])
        writer.finalise()
    store = xr.open_zarr(tmp_path / "store", consolidated=False, chunks=None)
    train = x[[0, 2]].astype(np.float64)
    steps = np.diff(train, axis=1).reshape(-1, 2, *GRID.shape)
    mean, std = moments(train.reshape(-1, 2, *GRID.shape), AREA)
    np.testing.assert_allclose(store["mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(store["std"], std, rtol=1e-10)
    np.testing.assert_allclose(store["std_step"], moments(steps, AREA)[1], rtol=1e-10)
    np.testing.assert_allclose(store["time_mean"], train.mean((0, 1)), rtol=1e-6)  # float32
    assert "climatology" not in store


def test_climatology_is_the_mean_by_calendar_month_of_the_training_split(tmp_path: Path) -> None:
    time = np.datetime64("2000-05", "M") + np.arange(40)
    split = ["train"] * 30 + ["test"] * 10
    store = series(tmp_path / "store", time, split, land())
    x, month = states(40).astype(np.float64)[:30], time[:30].astype(int) % 12
    x[:, ~land()] = np.nan
    expected = np.stack([x[month == m].mean(axis=0) for m in range(12)])
    np.testing.assert_allclose(store.climatology, expected, rtol=1e-6)  # kept in float32
    assert store.month.values.tolist() == list(range(1, 13))
    anomaly = np.nan_to_num(x - store.climatology.values.astype(np.float64)[month])
    weights = AREA * land()
    np.testing.assert_allclose(store.climatology_std, moments(anomaly, weights)[1], rtol=1e-9)
    step = moments(np.diff(anomaly, axis=0), weights)[1]
    np.testing.assert_allclose(store.climatology_std_step, step, rtol=1e-9)


def test_a_single_year_has_no_climatology(tmp_path: Path) -> None:
    time = np.datetime64("2000-01", "M") + np.arange(23)
    store = series(tmp_path / "store", time, ["train"] * 23, None)
    assert "climatology" not in store


def test_a_store_without_a_training_split_has_no_statistics(tmp_path: Path) -> None:
    time = np.datetime64("2000-01", "M") + np.arange(3)
    store = series(tmp_path / "store", time, ["", "test", "test"], None)
    assert not {"mean", "std", "std_step", "time_mean", "climatology"} & set(store)
