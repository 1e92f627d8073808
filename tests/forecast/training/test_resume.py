import functools
import logging
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
from collections.abc import Callable

import pytest
import torch

from data_prep.store.reader import Store
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package
from forecast.training import run as run_module
from forecast.training.checkpoint import load_checkpoint
from forecast.training.optimizer import RATE_FACTOR
from forecast.training.tracking.recorder import read_metrics
from forecast.training.train import train
from forecast.training.trainer import Trainer
from tests.forecast.small_run import assert_same_weights, config, stop_after


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("train") / "store.zarr")


NOISE = {"length_scales": ["1000km", "3000km"], "channels": 1, "correlation_time": "4h"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "rollout_steps": 3, "rollout_from": 0.4, "push_forward": 1, "accumulate": 2,
            "ema_decay": 0.9, "checkpoint_steps": True, "checkpoint_blocks": True,
        },
        {"replay_steps": 3, "replay_from": 0.2, "rollout_steps": 2, "rollout_from": 0.75},
        {"replay_steps": 3, "replay_from": 0.2, "loss": "crps", "members": 2},
    ],
    ids=["plain", "everything", "replay", "replay of ensembles"],
)  # fmt: skip
def test_resumed_run_equals_the_uninterrupted_run(store, tmp_path, monkeypatch, settings):
    of = config({"noise": NOISE} if "members" in settings else {}, **settings)
    whole = train(of, store, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(7, patch)  # in the middle of an epoch, and between two saved states
        stopped = train(of, store, tmp_path / "parts")
    assert (stopped.step, stopped.stopped_by) == (7, signal.SIGTERM)
    resumed = train(of, store, tmp_path / "parts", resume=True)
    assert resumed.step == whole.step == 12
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    assert resumed.validation == whole.validation
    losses = [
        [(r["step"], r["train/loss"]) for r in read_metrics(tmp_path / run / "metrics.jsonl")]
        for run in ("whole", "parts")
    ]
    # The line of the interrupted pair of steps holds only the part that came after.
    assert [pair for pair in losses[0] if pair[0] != 8] == [p for p in losses[1] if p[0] != 8]


def test_a_run_whose_integral_branch_had_no_rate_of_its_own_is_refused(store):
    of = config({"branches": {"integral": {"theta_cutoff": 1.0}}}, optimizer="adamw")
    trainer = Trainer(Forecaster.from_store(of.model, Store(store)), of.training)
    checkpoint = trainer.checkpoint()
    assert checkpoint.values["optimizer"]["groups"].pop()[RATE_FACTOR] < 1
    with pytest.raises(ValueError, match="earlier version.*training.start_from"):
        trainer.restore(checkpoint)


def test_a_run_of_adamw_does_not_go_on_with_muon(store, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        train(config(optimizer="adamw"), store, tmp_path / "run")
    with pytest.raises(ValueError, match=r"another optimiser.*training\.optimizer.*adamw"):
        train(config(), store, tmp_path / "run", resume=True)
    assert train(config(optimizer="adamw"), store, tmp_path / "run", resume=True).step == 12


def test_a_run_that_lost_everything_after_its_last_save_repeats_it(store, tmp_path, monkeypatch):
    train(config(), store, tmp_path / "whole")

    def killed(self, *arguments):
        if self.step_count == 6:
            raise KeyboardInterrupt  # nothing is saved on this way out
        return original(self, *arguments)

    original = Trainer.step
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config(), store, tmp_path / "parts")
    with (tmp_path / "parts/metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "half a li')
    train(config(), store, tmp_path / "parts", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    steps = [r["step"] for r in read_metrics(tmp_path / "parts/metrics.jsonl")]
    assert steps == [2, 4, 6, 8, 10, 12]


def test_resuming_nothing_begins(store, tmp_path):
    assert train(config(steps=2), store, tmp_path / "run", resume=True).step == 2


def test_the_log_file_says_what_happened(store, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module.log, "disabled", False)

    logging.getLogger("forecast").setLevel(logging.INFO)
    stop_after(3, monkeypatch)
    train(config(), store, tmp_path / "run")
    assert "stopped at step 3 of 12 by SIGTERM" in (tmp_path / "run/train.log").read_text()


_KILLS = 20


def count_events(work: Callable[[], object], kill_after: int | None = None) -> list[int]:
    """Count calls and returns of Python and C functions, and send a SIGKILL at one of them.

    Returns:
        Count at the beginning of every optimiser step.
    """
    seen, steps = 0, []

    def count(frame, event, argument):
        nonlocal seen
        seen += 1
        if seen == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if event == "call" and frame.f_code is Trainer.step.__code__:
            steps.append(seen)

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return steps


def in_a_child(work: Callable[[], object]) -> int:
    """Run a function in a forked process, where imports are done; return the exit code."""

    def child() -> None:
        torch.set_num_threads(1)
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


@pytest.mark.parallel
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork, since Python 3.12
@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_ends_with_the_same_weights(store, tmp_path):
    settings = config(steps=100, validate_every=2, ema_decay=0.9)

    def go_on() -> None:
        train(settings, store, tmp_path / "killed", resume=True)

    # A moment is a number of calls, so that it means the same on a slow machine and a fast one.
    train(config(steps=2), store, tmp_path / "first")  # the first run in a process does more
    first, *_, last = count_events(lambda: train(settings, store, tmp_path / "whole"))
    moments, reached = random.Random(0), set()
    for kill in range(_KILLS):
        # A few while the run is taken up; the others so that the run lasts for all of them.
        low, high = (
            (0, first) if kill % 5 == 4 else (first, first + 3 * (last - first) // (2 * _KILLS))
        )
        killed_at = moments.randint(low, high)
        code = in_a_child(functools.partial(count_events, go_on, killed_at))
        assert code == -signal.SIGKILL
        state = load_checkpoint(tmp_path / "killed")
        reached.add(0 if state is None else state.step)
        if (tmp_path / "killed/package/package.json").exists():
            assert load_package(tmp_path / "killed").grid.nlat == 8
    assert len(reached) > 5  # they are spread over the run
    assert in_a_child(go_on) == 0
    assert_same_weights(tmp_path / "whole", tmp_path / "killed")
    assert_same_weights(tmp_path / "whole/best", tmp_path / "killed/best")
    steps = [r["step"] for r in read_metrics(tmp_path / "killed/metrics.jsonl")]
    assert steps == sorted(set(steps)) and steps[-1] == 100
    assert [p.name for p in (tmp_path / "killed").glob(".*partial*")] == []


@pytest.mark.parallel
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork
def test_a_full_disk_leaves_the_last_state_from_which_the_run_goes_on(store, tmp_path, monkeypatch):
    settings = config({"channels": 16}, steps=12)
    train(settings, store, tmp_path / "whole")
    weights = (tmp_path / "whole/package/model.safetensors").stat().st_size
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        train(settings, store, tmp_path / "parts")
    before = load_checkpoint(tmp_path / "parts").tensors
    receive, send = multiprocessing.Pipe()

    def with_no_room() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * weights, hard))  # the state has three
        with pytest.raises(OSError) as caught:
            train(settings, store, tmp_path / "parts", resume=True)
        send.send(str(caught.value))

    assert in_a_child(with_no_room) == 0
    assert re.search(
        r"cannot write .*training_state.*make room or choose another folder", receive.recv()
    )
    state = load_checkpoint(tmp_path / "parts")
    assert state.step == 5 and all(torch.equal(state.tensors[k], before[k]) for k in before)
    load_package(tmp_path / "parts")
    train(settings, store, tmp_path / "parts", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
