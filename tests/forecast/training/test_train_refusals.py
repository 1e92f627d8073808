import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import pytest
import torch

from configs.schema import Config
from data_prep.store.outputs import check_output
from forecast.training.run_folder import run_folder
from forecast.training.train import train
from forecast.training.trainer import Trainer
from tests.forecast.small_run import BASE, config, weights


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("train") / "store.zarr")


@pytest.fixture
def closed_folder(store):
    """Folder with a store that this process cannot write to, even as root."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(store, Path(folder) / "store.zarr")
        Path(folder).chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        yield Path(folder)
        os.seteuid(user)
        Path(folder).chmod(0o755)


def test_non_finite_steps_are_skipped_up_to_a_limit_and_named(store, tmp_path, monkeypatch):
    original = Trainer.rollout_loss

    def poisoned(self, batch, n_steps):
        loss = original(self, batch, n_steps)
        return loss * float("nan") if self.step_count in (3, 5) else loss

    monkeypatch.setattr(Trainer, "rollout_loss", poisoned)
    train(config(), store, tmp_path / "lenient")
    lines = (tmp_path / "lenient/non_finite.jsonl").read_text().splitlines()
    reports = [json.loads(line) for line in lines]
    assert [r["step"] for r in reports] == [4, 6] and reports[0]["loss"] == "nan"
    assert len(reports[0]["batch"]) == 2 and reports[0]["batch"][0].startswith("trajectory ")
    with pytest.raises(
        ValueError, match="stopped at step 6: 2 steps .*lower training.learning_rate"
    ):
        train(config(max_skipped=1), store, tmp_path / "strict")
    assert all(p.isfinite().all() for p in weights(tmp_path / "strict").values())


def test_a_diverging_learning_rate_ends_with_a_way_out(store, tmp_path):
    settings = config(
        learning_rate=1e4, warmup=0.0, max_skipped=2, steps=200, gradient_clip=1e9, rollout_steps=4
    )
    with pytest.raises(ValueError, match="lower training.learning_rate, now 10000"):
        train(settings, store, tmp_path / "run")


def test_a_batch_that_does_not_fit_in_memory_is_told_what_would(store, tmp_path, monkeypatch):
    def full(self, batch, n_steps):
        raise torch.OutOfMemoryError("tried to allocate\n40 GiB")

    monkeypatch.setattr(Trainer, "rollout_loss", full)
    with pytest.raises(ValueError, match="batch of 8 .*batch_size=4 training.accumulate=2"):
        train(config(batch_size=8), store, tmp_path / "run")
    with pytest.raises(ValueError, match="batch of 1 .*training.checkpoint_blocks=true"):
        train(config(batch_size=1), store, tmp_path / "other")


@pytest.mark.parallel
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork, since Python 3.12
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold this limit")
def test_a_process_that_runs_out_of_memory_is_told_what_would_fit(make_store, tmp_path):
    store = make_store(tmp_path / "store.zarr", n_trajectories=60)
    settings = config({"channels": 64, "blocks": 4}, batch_size=256)
    receive, send = multiprocessing.Pipe()

    def with_little_memory() -> None:
        torch.set_num_threads(1)
        taken = psutil.Process().memory_info().data
        resource.setrlimit(resource.RLIMIT_DATA, (taken + 100 * 2**20, resource.RLIM_INFINITY))
        with pytest.raises(ValueError) as caught:
            train(settings, store, tmp_path / "run")
        send.send(str(caught.value))

    process = multiprocessing.get_context("fork").Process(target=with_little_memory)
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert "batch of 256 windows does not fit" in receive.recv()


def test_a_folder_that_cannot_be_written_is_refused_in_one_sentence(closed_folder):
    with pytest.raises(OSError, match="cannot write .*run .Permission denied.*another folder"):
        train(config(), closed_folder / "store.zarr", closed_folder / "run")
    with pytest.raises(PermissionError, match="output .*f.nc is not writable"):
        check_output(closed_folder / "f.nc", (".nc",))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"time_step": "30min"}, "data.time_step is 30min, but .* has a step of 1h"),
        ({"variables": ["tp"]}, "data.variables names 'tp', which .* does not have"),
        ({"grid": {"nlat": 16, "nlon": 32}}, "data.grid is legendre-gauss 16×32, but .* is on"),
    ],
)
def test_a_store_that_does_not_fit_is_refused(store, tmp_path, data, message):
    settings = Config.model_validate({**BASE, "data": {**BASE["data"], **data}})
    with pytest.raises(ValueError, match=message):
        train(settings, store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_mesh_that_training_would_not_use_is_refused(store, tmp_path):
    settings = Config.model_validate({**BASE, "mesh": {"data": 2}})
    with pytest.raises(ValueError, match="takes 2 processes, but there is 1"):
        train(settings, store, tmp_path / "run")


def test_folders_that_cannot_be_used_are_refused(store, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(FileExistsError, match="exists already; .* --resume"):
        train(config(), store, tmp_path / "run")
    train(config(steps=2), store, tmp_path / "begun")
    with pytest.raises(ValueError, match="another model .changed: model.channels from 4 to 6"):
        train(config({"channels": 6}), store, tmp_path / "begun", resume=True)


def test_two_processes_cannot_train_in_one_folder(store, tmp_path, monkeypatch):
    entered, refused = threading.Event(), []
    with run_folder(config(), tmp_path / "run", resume=False):
        entered.set()
        try:
            train(config(), store, tmp_path / "run", resume=True)
        except FileExistsError as error:
            refused.append(str(error))
    assert "another process is writing to" in refused[0]
