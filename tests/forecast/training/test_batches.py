import resource
import shutil
import sys

import numpy as np
import psutil
import pytest
import torch
import zarr
from zarr.codecs import BloscCodec

from data_prep.store.reader import Store
from data_prep.store.spec import StoreSpec
from data_prep.store.writer import StoreWriter
from forecast.training.samples.batches import Batch, Windows, batch_indices, batches
from sphere_ops.memory import available_memory
from sphere_ops.parallel.mesh import Mesh, use
from sphere_ops.parallel.partition import Shard


def test_a_store_reads_what_was_written(stores):
    store = Store(stores["files"])
    fields = zarr.open_array(stores["files"] / "fields", mode="r")[...]
    np.testing.assert_array_equal(store.states(3, 1, 2).numpy(), fields[4:6])
    assert store.channel_names == ("sst", "t2m")
    assert store.channels[0].units == "degC"
    assert store.time_step.label == "1mo"
    assert not store.mask[0].all() and store.mask[1].all()
    trajectories = Store(stores["trajectory"])
    fields = zarr.open_array(stores["trajectory"] / "fields", mode="r")[...]
    np.testing.assert_array_equal(trajectories.state(2, 3).numpy(), fields[2, 3])
    assert trajectories.valid_time(2, 3) == trajectories.time[3]
    assert [v.conserved for v in trajectories.channels] == [True, True, True]


@pytest.mark.parametrize("mask", [False, True])
def test_a_process_of_a_mesh_has_its_own_rows_of_everything(make_store, tmp_path, mask):
    path = make_store(tmp_path / "s.zarr", "files" if mask else "trajectory", mask=mask)
    whole, parts = Store(path), []
    for rank in range(3):
        with use(Mesh(latitude=Shard(rank, 3))):
            parts.append(Store(path))
            assert parts[-1].state(2).shape[-2] in (2, 3)
    pairs = [(whole.state(2), [s.state(2) for s in parts])]
    pairs += [(field, [s.static[name] for s in parts]) for name, field in whole.static.items()]
    pairs += [(whole.mask, [s.mask for s in parts])] * mask
    assert len(pairs) == 2 + mask
    for expected, of in pairs:
        torch.testing.assert_close(torch.cat(of, -2), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("kind", ["trajectory", "files"])
def test_windows_never_leave_their_split(stores, kind):
    store = Store(stores[kind])
    for split in ("train", "validation", "test"):
        for index, step in store.windows(split, 3):
            if store.has_trajectories:
                assert store.split[index] == split and step + 3 < len(store.time)
            else:
                assert set(store.split[index : index + 4]) == {split} and step == 0
    n = len(store.split_indices("train"))
    assert len(store.windows("train", 3)) == (n * 3 if store.has_trajectories else n - 3)


def test_a_split_too_short_for_the_rollout_is_refused(stores):
    with pytest.raises(ValueError, match="no 14 consecutive states"):
        Store(stores["files"]).windows("test", 13)


def test_an_absent_split_is_refused_with_the_splits_there_are(stores):
    with pytest.raises(ValueError, match="nothing in split 'tset'; it has test, train, validation"):
        Store(stores["files"]).split_indices("tset")


def test_every_window_comes_once_in_an_epoch_and_the_order_changes():
    epochs = [np.concatenate(list(batch_indices(12, 4, 7, 3 * e, 3 * e + 3))) for e in range(2)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(12))
    assert list(epochs[0]) != list(epochs[1])


def test_the_order_after_a_restart_is_that_of_the_uninterrupted_run():
    whole = list(batch_indices(10, 3, 1, 0, 11))
    rest = list(batch_indices(10, 3, 1, 5, 11))
    np.testing.assert_array_equal(whole[5:], rest)


def test_shares_of_a_batch_make_up_the_batch():
    whole = list(batch_indices(20, 4, 1, 0, 7))
    shares = [list(batch_indices(20, 4, 1, 0, 7, part=i, parts=2)) for i in range(2)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert sorted([*first, *second]) == sorted(batch)


def test_worker_processes_give_the_batches_of_memory(stores, monkeypatch):
    def read() -> list[Batch]:
        return list(batches(Windows(Store(stores["files"]), "train", 2), 3, 0, 2, 6))

    in_memory = read()
    monkeypatch.setattr("data_prep.store.selection.field_reader._IN_MEMORY_BYTES", 0)
    streamed = read()
    assert len(in_memory) == len(streamed) == 4
    for a, b in zip(in_memory, streamed, strict=True):
        assert torch.equal(a.fields.nan_to_num(), b.fields.nan_to_num())
        np.testing.assert_array_equal(a.time, b.time)
        np.testing.assert_array_equal(a.starts, b.starts)


def test_a_batch_larger_than_the_data_is_refused(stores):
    windows = Windows(Store(stores["files"]), "train", 1)
    with pytest.raises(ValueError, match="batch_size is 99, but the store has only 23 windows"):
        next(batches(windows, 99, 0, 0, 1))


def test_what_is_not_a_store_is_refused(tmp_path, stores):
    with pytest.raises(FileNotFoundError, match="no store at"):
        Store(tmp_path / "absent.zarr")
    with pytest.raises(ValueError, match="not a training store"):
        Store(tmp_path)
    copy = tmp_path / "future.zarr"
    shutil.copytree(stores["trajectory"], copy)
    zarr.open_group(copy, mode="r+").attrs["format_version"] = 99
    with pytest.raises(ValueError, match="format version 99, this program reads 1"):
        Store(copy)


def test_a_store_is_read_from_disk_where_memory_is_short(stores, monkeypatch):
    size = Store(stores["files"]).reader.n_bytes
    for available, in_memory in ((4 * size, True), (4 * size - 4, False)):
        monkeypatch.setattr(
            "data_prep.store.selection.field_reader.available_memory", lambda n=available: n
        )
        assert Store(stores["files"]).in_memory is in_memory


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not account for it")
def test_the_limits_of_a_process_count_as_its_memory():
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    room = 300 * 2**20
    try:
        taken = psutil.Process().memory_info().data
        resource.setrlimit(resource.RLIMIT_DATA, (taken + room, hard))
        assert 0 < available_memory() <= room + 50 * 2**20  # what was freed since
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def test_a_rank_decompresses_the_chunks_of_its_own_rows_only(make_store, tmp_path, monkeypatch):
    source = Store(make_store(tmp_path / "s.zarr", "files", orography=False))
    fields = torch.stack([source.state(i) for i in range(48)]).numpy()
    spec = StoreSpec(
        grid=source.grid,
        channels=source.channels,
        time=source.time,
        time_step="1mo",
        split=source.split.tolist(),
        title="Rows",
        source="tests",
        configuration="",
        row_chunks=4,
    )
    with StoreWriter(tmp_path / "rows.zarr", spec) as writer:
        for times in writer.blocks():
            writer.write_times(times, fields[times])
        writer.finalise()
    monkeypatch.setattr("data_prep.store.selection.field_reader._IN_MEMORY_BYTES", 0)
    decode, sizes = BloscCodec._decode_single, []

    async def counted(self, *arguments):
        decoded = await decode(self, *arguments)
        sizes.append(decoded.nbytes if hasattr(decoded, "nbytes") else len(decoded))
        return decoded

    with use(Mesh(latitude=Shard(1, 4))):
        store = Store(tmp_path / "rows.zarr")
        monkeypatch.setattr(BloscCodec, "_decode_single", counted)
        states = store.states(5, 0, 2)
    np.testing.assert_array_equal(states.numpy(), fields[5:7, :, 2:4])
    assert sum(sizes) == states.numel() * 4
