"""Blocks of a store: written in any order, by threads and processes, and read by rows."""

import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from configs.variables import variable
from data_prep.store.block_writer import BlockWriter
from data_prep.store.blocks import Block, Blocks
from data_prep.store.describe import describe
from data_prep.store.spec import StoreSpec, Trajectories
from data_prep.store.statistics import write_statistics
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

GRID = Grid.cell_centred(6, 8)
N = 2 * 365 + 210


def spec(**changes: object) -> StoreSpec:
    """Return a daily series of three years, of which the first two and a bit are for training."""
    mask = np.ones((2, *GRID.shape), dtype=bool)
    mask[0, 2:4, 1:5] = False
    of = StoreSpec(
        grid=GRID, channels=(variable("sst"), variable("msl")), time_step="1d", title="t",
        time=np.datetime64("2001-01-01") + np.arange(N), source="s", configuration="",
        split=["train"] * (N - 200) + [""] * 100 + ["test"] * 100, mask=mask, block_times=97,
        moving_mask=("sst",),
    )  # fmt: skip
    return replace(of, **changes)


def fields() -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N, 2, *GRID.shape)) * [[[2.0]], [[700.0]]] + [[[15.0]], [[101325.0]]]
    values += np.sin(2 * np.pi * np.arange(N) / 365)[:, None, None, None]
    values[::3, 0, 0, :2] = np.nan  # ice
    values[5:300, 0, 5, 3] = np.nan
    return values.astype("f4")


def write(path: Path, n: int = N, **changes: object) -> Path:
    values, changes = fields(), {"time": spec().time[:n], "split": spec().split[:n], **changes}
    with StoreWriter(path, spec(**changes)) as writer:
        for times in writer.blocks():
            writer.write_times(times, values[times])
        return writer.finalise()


def files(path: Path) -> dict[str, bytes]:
    """Return the contents of all files of a store, without the time at which it was made."""
    found = {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    group = zarr.open_group(path, mode="r+")
    made = str(group.attrs["history"]).encode()
    found["zarr.json"] = found["zarr.json"].replace(made.replace(b"\n", b"\\n"), b"")
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store whose blocks were written one after the other."""
    return write(tmp_path_factory.mktemp("whole") / "s.zarr")


def write_block(writer: BlockWriter, block: Block) -> None:
    writer.write(block, fields()[block.times])


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_a_store_written_in_any_order_by_several_workers_is_the_same_to_the_bit(
    pool: str, whole: Path, tmp_path: Path
) -> None:
    with StoreWriter(tmp_path / "s.zarr", spec()) as writer:
        blocks = np.random.default_rng(1).permutation(len(writer.missing_blocks))
        order = [writer.missing_blocks[i] for i in blocks]
        executor = (
            ThreadPoolExecutor(4)
            if pool == "threads"
            else ProcessPoolExecutor(2, mp_context=get_context("spawn"))
        )
        with executor:
            for done in [executor.submit(write_block, writer.handle, block) for block in order]:
                done.result()
        writer.finalise()
    assert files(tmp_path / "s.zarr") == files(whole)


def test_a_handle_is_pickled_as_the_path_of_its_folder(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s.zarr", spec()) as writer:
        writer.write_times(slice(0, 97), fields()[:97])
        assert len(pickle.dumps(writer.handle)) < 500


def test_statistics_gathered_while_writing_are_those_of_the_fields(
    whole: Path, tmp_path: Path
) -> None:
    x = fields().astype(np.float64)[: N - 200]
    x[:, 0, 2:4, 1:5] = np.nan
    area = GRID.area_weights.numpy()
    store = xr.open_zarr(whole, consolidated=False, chunks=None)

    def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weights = area * np.isfinite(x)
        total = weights.sum((0, 2, 3))
        mean = (np.nan_to_num(x) * weights).sum((0, 2, 3)) / total
        square = (np.nan_to_num(x - mean[:, None, None]) ** 2 * weights).sum((0, 2, 3))
        return mean, np.sqrt(square / total)

    mean, std = moments(x)
    np.testing.assert_allclose(store["mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(store["std"], std, rtol=1e-10)
    np.testing.assert_allclose(store["std_step"], moments(np.diff(x, axis=0))[1], rtol=1e-10)
    np.testing.assert_array_equal(store["minimum"], np.nanmin(x, (0, 2, 3)))
    np.testing.assert_array_equal(store["maximum"], np.nanmax(x, (0, 2, 3)))
    with np.errstate(invalid="ignore"):
        of_points = np.nansum(x, 0) / np.isfinite(x).sum(0)
    np.testing.assert_allclose(store["time_mean"], of_points, rtol=1e-6)  # float32

    month = store.time.dt.month.values[: N - 200] - 1
    anomaly = x - store.climatology.values.astype(np.float64)[month]
    np.testing.assert_allclose(store["climatology_std"], moments(anomaly)[1], rtol=1e-9)
    steps = moments(np.diff(anomaly, axis=0))[1]
    np.testing.assert_allclose(store["climatology_std_step"], steps, rtol=1e-9)


def test_statistics_computed_again_from_the_fields_are_the_same_to_the_bit(tmp_path: Path) -> None:
    path = write(tmp_path / "s.zarr", 120)
    before = files(path)
    write_statistics(zarr.open_group(path, mode="r+"))
    assert files(path) == before


@pytest.mark.parametrize("block_times", [1, 7, 8, 60])
def test_statistics_do_not_depend_on_the_size_of_the_blocks(
    block_times: int, whole: Path, tmp_path: Path
) -> None:
    n = 60
    time, split = spec().time[:n], spec().split[:n]
    values, stores = fields()[:n], []
    for size in (20, block_times):
        path = tmp_path / f"{size}.zarr"
        with StoreWriter(path, spec(time=time, split=split, block_times=size)) as writer:
            for times in writer.blocks():
                writer.write_times(times, values[times])
            writer.finalise()
        stores.append(xr.open_zarr(path, consolidated=False, chunks=None).load())
    for name in ("mean", "std", "std_step", "minimum", "maximum", "time_mean", "largest_power"):
        np.testing.assert_allclose(stores[0][name], stores[1][name], rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(stores[0].fields, stores[1].fields)


def test_no_step_crosses_a_gap(tmp_path: Path) -> None:
    time = np.concatenate([spec().time[:50], spec().time[60:110]])
    values = fields()[:100]
    values[50:] += 1000
    for size in (50, 30):
        path = tmp_path / f"{size}.zarr"
        change = {"time": time, "split": ["train"] * 100, "block_times": size}
        with StoreWriter(path, spec(**change)) as writer:
            for times in writer.blocks():
                writer.write_times(times, values[times])
            writer.finalise()
        store = xr.open_zarr(path, consolidated=False, chunks=None)
        assert (store["std_step"] < 1100).all() and store["std_step"][0] < 5


@pytest.mark.parametrize("row_chunks", [2, 4])
def test_a_rank_decompresses_only_the_chunks_of_its_rows(row_chunks: int, tmp_path: Path) -> None:
    path = write(tmp_path / "s.zarr", 50, row_chunks=row_chunks, block_times=50)
    fields_of = zarr.open_array(path / "fields", mode="r")
    rows = -(-6 // row_chunks)
    assert fields_of.chunks == (1, 2, rows, 8)
    expected = np.where(spec().mask, fields()[:50], np.nan)
    np.testing.assert_array_equal(fields_of[...], expected)
    (file,) = [p for p in (path / "fields").iterdir() if p.name != "zarr.json"]
    damaged = bytearray(file.read_bytes())
    # The index at the end of a shard has offset and length of each chunk, (time, 1, row, 1).
    count = 50 * -(-6 // rows)
    index = np.frombuffer(damaged[-16 * count - 4 : -4], "<u8").reshape(50, -1, 2)
    for offset, length in index[:, 1:].reshape(-1, 2):
        damaged[int(offset) : int(offset + length)] = bytes(int(length))
    file.write_bytes(damaged)
    fields_of = zarr.open_array(path / "fields", mode="r")
    np.testing.assert_array_equal(fields_of[:, :, :rows], expected[:, :, :rows])
    with pytest.raises(ValueError):
        fields_of[0]


def test_a_description_names_extremes_blocks_masks_and_climatologies(tmp_path: Path) -> None:
    path = write(tmp_path / "s.zarr", 40, row_chunks=3, climatology_window=5)
    text = describe(path)
    assert "by day of the year and 1 hour of the day in a window of 5 days" in text
    assert "blocks       1 of 40 times, chunks of 2 rows" in text
    assert "minimum" in text and "maximum" in text
    (sst,) = [line for line in text.splitlines() if line.startswith("sst")]
    assert sst.endswith("(moving mask)")


def test_blocks_of_trajectories_are_written_apart(tmp_path: Path) -> None:
    of = spec(
        time=spec().time[:10], block_times=4, split=["train", "test", "train"], mask=None,
        moving_mask=(), trajectories=Trajectories(np.arange(3), ("member",) * 3),
    )  # fmt: skip
    values = np.stack([np.nan_to_num(fields()[10 * i : 10 * i + 10], nan=9.0) for i in range(3)])
    with StoreWriter(tmp_path / "s.zarr", of) as writer:
        for block in reversed(writer.missing_blocks):
            writer.write_times(block.times, values[block.trajectory, block.times], block.trajectory)
        writer.finalise()
    with StoreWriter(tmp_path / "other.zarr", of) as writer:
        for index in writer.missing:
            writer.write_trajectory(index, values[index])
        writer.finalise()
    assert files(tmp_path / "s.zarr") == files(tmp_path / "other.zarr")
    group = zarr.open_group(tmp_path / "s.zarr", mode="r")
    np.testing.assert_array_equal(group["fields"][...], values)
    assert len(list(Blocks(group))) == 9
