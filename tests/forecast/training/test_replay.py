from dataclasses import replace

import numpy as np
import pytest
import torch

from data_prep.store.reader import Store
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.state import State
from forecast.training.samples.batches import Windows, batches
from forecast.training.samples.replay import ReplayBuffer, Replayed, ReplayPlan
from forecast.training.trainer import Trainer
from tests.forecast.small_run import config

TIME = np.array(["2001-01-01", "2001-01-02"], dtype="M8[ns]")


def plan(followed, samples=2, longest=3, seed=0) -> ReplayPlan:
    return ReplayPlan(np.asarray(followed), range(samples), longest, [seed])


def rollouts_of(chosen: ReplayPlan, n: int, count: int) -> dict[int, list[list[int]]]:
    """Windows of each rollout in its order, apart where it begins anew."""
    random, found = np.random.default_rng(1), {}
    for _ in range(count):
        new = random.integers(0, n, chosen.samples)
        windows, replayed = chosen.choose(new)
        assert len(set(replayed.rollouts.tolist())) == chosen.samples
        for window, rollout_, goes_on, fresh in zip(
            windows.tolist(), replayed.rollouts.tolist(), replayed.goes_on, new, strict=True
        ):
            if goes_on:
                found[rollout_][-1].append(window)
            else:
                assert window == fresh
                found.setdefault(rollout_, []).append([window])
    return found


def test_a_rollout_of_the_buffer_steps_from_window_to_window_and_ends():
    followed = np.ones(40, dtype=bool)
    followed[[19, 39]] = False  # two trajectories
    found = rollouts_of(plan(followed), 40, 400)
    assert len(found) == 16
    parts = [part for of_one in found.values() for part in of_one]
    for part in parts:
        assert np.array_equal(np.diff(part), np.ones(len(part) - 1))
        assert part[0] // 20 == part[-1] // 20
    ended_by_the_data = [p for p in parts if len(p) < 3 and p[-1] in (19, 39)]
    assert ended_by_the_data
    complete = [p for of_one in found.values() for p in of_one[:-1]]
    assert all(len(p) == 3 or p[-1] in (19, 39) for p in complete)


def test_the_choice_of_a_sample_does_not_depend_on_the_others():
    followed = np.arange(30) < 29
    both, second = (ReplayPlan(followed, places, 5, [7]) for places in ([2, 3], [3]))
    for new in np.random.default_rng(0).integers(0, 30, (50, 2)):
        windows, replayed = both.choose(new)
        window, of_second = second.choose(new[1:])
        assert window[0] == windows[1] and of_second.goes_on[0] == replayed.goes_on[1]
        assert of_second.rollouts[0] + 8 == replayed.rollouts[1]


def test_windows_are_followed_inside_a_series_without_a_gap(stores):
    files = Windows(Store(stores["files"]), "train", 2)
    starts = files.starts[:, 0]
    np.testing.assert_array_equal(files.followed()[:-1], np.diff(starts) == 1)
    trajectories = Windows(Store(stores["trajectory"]), "train", 2)
    assert len(trajectories) > 2
    for i in np.flatnonzero(trajectories.followed()):
        first, second = trajectories.starts[i : i + 2].tolist()
        assert second == [first[0], first[1] + 1]
    of_each = len(trajectories) // len(np.unique(trajectories.starts[:, 0]))
    assert trajectories.followed().sum() == len(trajectories) * (of_each - 1) // of_each


def test_a_buffer_gives_back_what_it_kept_and_the_truth_where_it_cannot():
    truth = State(torch.zeros(2, 1, 2, 4), TIME, (torch.ones(2, 1, 2, 4),))
    buffer = ReplayBuffer(2)
    both = Replayed(np.array([3, 5]), np.array([True, True]))
    for replayed in (both, None):  # nothing is there yet
        state, age = buffer.start(truth, replayed)
        assert state is truth and age.tolist() == [0, 0]
    fields = torch.arange(16.0).reshape(2, 1, 2, 4).requires_grad_()
    buffer.keep(State(fields, TIME, (fields + 100,)), both, np.array([1, 4]))
    swapped = Replayed(np.array([5, 3]), np.array([True, False]))
    state, age = buffer.start(truth, swapped)
    assert age.tolist() == [4, 0]
    assert torch.equal(state.fields[0], fields[1]) and torch.equal(state.fields[1], truth.fields[1])
    assert torch.equal(state.history[0][0], fields[1] + 100)
    assert not state.fields.requires_grad and (truth.fields == 0).all()
    wrong = fields.detach().clone()
    wrong[0, 0, 0, 0] = torch.nan
    buffer.keep(State(wrong, TIME, (wrong,)), both, np.array([2, 5]))
    assert buffer.start(truth, both)[0].fields[0, 0, 0, 0] == 0  # the truth's
    buffer.drop([None, Replayed(np.array([3, -1]), np.array([True, False]))])
    state, age = buffer.start(truth, both)
    assert age.tolist() == [0, 5]
    assert torch.equal(state.fields[0], truth.fields[0])
    assert torch.equal(state.fields[1], fields[1])
    buffer.keep(State(fields, TIME, (fields,)), both, np.array([1, 0]))  # the second ends
    state, age = buffer.start(truth, both)
    assert age.tolist() == [1, 0]
    assert torch.equal(state.fields[0], fields[0])
    assert torch.equal(state.fields[1], truth.fields[1])


@pytest.mark.parametrize(("samples", "members"), [(4, 1), (1, 1), (2, 3)])
def test_a_buffer_of_another_size_begins_anew(samples, members):
    held, both = ReplayBuffer(2), Replayed(np.array([3, 5]), np.array([True, True]))
    held.keep(State(torch.ones(2, 1, 2, 4), TIME), both, np.array([1, 4]))
    same, other = ReplayBuffer(2), ReplayBuffer(samples, members)
    for buffer in (same, other):
        buffer.restore(held.tensors(), torch.device("cpu"))
    assert same.start(State(torch.zeros(2, 1, 2, 4), TIME), both)[1].tolist() == [1, 4]
    truth = State(torch.zeros(2 * members, 1, 2, 4), np.repeat(TIME, members))
    assert other.start(truth, both)[0] is truth and not other.tensors()


def test_a_process_may_have_no_sample_of_the_buffer():
    windows, replayed = ReplayPlan(np.arange(9) < 8, [], 3, [0]).choose(np.empty(0, dtype=int))
    assert len(windows) == len(replayed.rollouts) == 0
    truth, buffer = State(torch.ones(2, 1, 2, 4), TIME), ReplayBuffer(0)
    outside = Replayed(np.array([-1, -1]), np.array([False, False]))
    buffer.keep(truth, outside, np.array([1, 1]))
    assert buffer.start(truth, outside)[0] is truth
    buffer.drop([outside])
    assert not buffer.tensors()["age"].numel()


@pytest.mark.parametrize(("history", "bundle"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_kept_states_are_those_of_rollouts_of_the_model(make_store, tmp_path, history, bundle):
    """With weights that stay, the buffer has what a rollout from the truth has."""
    settings = config(
        {"history": history, "bundle": bundle},
        learning_rate=1e-30, replay_steps=4, replay_from=0, batch_size=4,
    )  # fmt: skip
    store = Store(make_store(tmp_path / "s.zarr"))
    torch.manual_seed(0)
    forecaster = Forecaster.from_store(settings.model, store)
    torch.nn.init.normal_(forecaster.network.decoder.weight, std=0.1)
    trainer = Trainer(forecaster, settings.training)
    windows = Windows(store, "train", bundle, history - 1)
    replay = trainer.replay_plan(windows, bundle)
    assert replay is not None and replay.samples == 2
    depths, begun = [], {}
    for batch in batches(windows, 4, 0, 0, 60, replay=replay):
        of = batch.replayed
        assert (of.rollouts[:2] == -1).all()
        trainer.step([batch], bundle)
        for k in (2, 3):
            number = int(of.rollouts[k])
            if not of.goes_on[k]:
                series = torch.stack([x[k : k + 1] for x in batch.initial.series], 1)
                begun[number] = State.from_series(series, batch.time[[k]]), 0
            start, done = begun[number]
            done += bundle
            begun[number] = start, done
            *_, last = rollout(forecaster.eval(), start, done)  # with limits
            held = trainer.replay.tensors()["states"][number]
            torch.testing.assert_close(held, torch.stack([x[0] for x in last.series]))
            depths.append(done)
            if of.goes_on[k]:
                gone = batch.time[k] - start.time[0]
                assert gone == (done - bundle) * np.timedelta64(1, "h")
    assert set(depths) == set(range(bundle, 5, bundle))


@pytest.mark.parametrize("history", [1, 2])
@pytest.mark.parametrize("correlation_time", [None, "6h"])
def test_members_in_the_buffer_are_those_of_rollouts_with_their_noise(
    make_store, tmp_path, history, correlation_time
):
    noise = {"length_scales": ["2000km"], "channels": 2, "correlation_time": correlation_time}
    settings = config(
        {"history": history, "noise": noise}, learning_rate=1e-30, replay_steps=3, replay_from=0,
        batch_size=2, loss="crps", members=3,
    )  # fmt: skip
    store = Store(make_store(tmp_path / "s.zarr"))
    torch.manual_seed(0)
    forecaster = Forecaster.from_store(settings.model, store)
    for parameter in forecaster.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # those of the noise start at zero
    trainer = Trainer(forecaster, settings.training)
    windows = Windows(store, "train", 1, history - 1)
    ages, begun = [], {}
    for batch in batches(windows, 2, 0, 0, 40, replay=trainer.replay_plan(windows, 1)):
        number = int(batch.replayed.rollouts[1])
        if not batch.replayed.goes_on[1]:
            seeds = batch.member_seeds(3, 0, trainer.step_count)
            state = forecaster.with_noise(batch.initial.repeat(3), seeds)
            begun[number] = state, 0
        start, done = begun[number]
        begun[number] = start, done + 1
        trainer.step([batch], 1)
        *_, last = rollout(forecaster.eval(), start, done + 1)  # of both samples
        held, rows = trainer.replay.tensors(), slice(3 * number, 3 * number + 3)
        members = torch.stack(last.series, 1)[3:]
        assert (members[0] - members[1]).abs().max() > 0
        torch.testing.assert_close(held["states"][rows], members)
        for name, of in last.noise.tensors().items():
            torch.testing.assert_close(held[f"noise.{name}"][rows], of[3:])
        assert held["age"][number] == done + 1
        ages.append(done + 1)
    assert set(ages) == {1, 2, 3}


@pytest.mark.parametrize("wild", [False, True])
def test_the_members_of_an_ensemble_begin_anew_together(make_store, tmp_path, wild, monkeypatch):
    noise = {"length_scales": ["2000km"], "channels": 1}
    settings = config(
        {"noise": noise, "range_limit": 0.1}, replay_steps=3, replay_from=0, replay_share=1,
        batch_size=2, loss="crps", members=2,
    )  # fmt: skip
    store = Store(make_store(tmp_path / "s.zarr"))
    forecaster = Forecaster.from_store(settings.model, store)
    trainer = Trainer(forecaster, settings.training)
    windows = Windows(store, "train", 1)
    (batch,) = batches(windows, 2, 0, 0, 1, replay=trainer.replay_plan(windows, 1))
    inside = forecaster.within_limits
    share = torch.tensor([0.0, 0.5 if wild else 0.0, 0.0, 0.0])
    monkeypatch.setattr(forecaster, "within_limits", lambda *x: (inside(*x)[0], share))
    trainer.step([batch], 1)
    ages = trainer.replay.tensors()["age"][batch.replayed.rollouts]
    assert ages.tolist() == ([0, 1] if wild else [1, 1])


@pytest.mark.parametrize(("size", "strays"), [(1e-3, False), (10.0, True)])
def test_rollouts_stay_within_limits_or_end(make_store, tmp_path, size, strays):
    settings = config({"range_limit": 0.1}, replay_steps=4, replay_from=0, batch_size=4)
    store = Store(make_store(tmp_path / "s.zarr"))
    torch.manual_seed(0)
    forecaster = Forecaster.from_store(settings.model, store)
    torch.nn.init.normal_(forecaster.network.decoder.weight, std=size)
    trainer = Trainer(forecaster, settings.training)
    windows = Windows(store, "train", 1)
    (batch,) = batches(windows, 4, 0, 0, 1, replay=trainer.replay_plan(windows, 1))
    before = batch.initial
    predicted = forecaster.train().step(before)
    limited, share = forecaster.within_limits(predicted, before)
    rolled = forecaster.eval().step(before)
    torch.testing.assert_close(limited.fields, rolled.fields)
    assert ((share > 0.01) == strays).all()
    trainer.step([batch], 1)
    held = trainer.replay.tensors()
    numbers = batch.replayed.rollouts[2:]
    torch.testing.assert_close(held["states"][numbers, -1], rolled.fields[2:])
    assert (held["age"][numbers] == (0 if strays else 1)).all()


@pytest.mark.parametrize("n_steps", [1, 2])
@pytest.mark.parametrize("loss", ["relative-l2", "crps"])
def test_old_rollouts_are_compared_with_themselves_within_the_limits(
    make_store, tmp_path, n_steps, loss
):
    """Their loss is zero inside the limits, and the distance to them outside."""
    noise = {"length_scales": ["3000km"], "channels": 1}
    members = 2 if loss == "crps" else 1
    settings = config(
        {"range_limit": 0.1, "spectral_limit": None, "noise": noise if loss == "crps" else None},
        replay_steps=1, replay_free_steps=2, replay_from=0, replay_share=1, batch_size=2,
        loss=loss, members=2 if loss == "crps" else None,
    )  # fmt: skip
    store = Store(make_store(tmp_path / "s.zarr"))
    torch.manual_seed(0)
    forecaster = Forecaster.from_store(settings.model, store)
    torch.nn.init.normal_(forecaster.network.decoder.weight, std=1e-3)
    trainer = Trainer(forecaster.train(), settings.training)
    windows = Windows(store, "train", n_steps)
    (batch,) = batches(windows, 2, 0, 0, 1)
    batch = replace(batch, replayed=Replayed(np.array([3, 9]), np.array([True, True])))
    fields, losses = batch.initial.fields, {}
    _, high = forecaster.normalizer.denormalise(forecaster.range_limiter.bounds, batch.time[:1])
    for name, start in {"inside": fields, "outside": torch.stack([fields[0], 3 * high])}.items():
        for ages in ([0, 0], [1, 1], [0, 1]):
            held = State(start, batch.initial.time).repeat(members)
            if loss == "crps":
                held = forecaster.with_noise(held, batch.member_seeds(2, 0, 0))
            trainer.replay.keep(held, batch.replayed, np.array(ages))
            losses[name, *ages] = trainer.rollout_loss(batch, n_steps).item()
            kept = trainer.replay.tensors()["age"][[3, 9]].tolist()
            # a state that is not there begins anew from the truth
            gone = name == "outside" and ages[1] == 1
            assert kept == [ages[0] + 1, 0 if gone else ages[1] + 1]
    assert losses["inside", 0, 0] > 1e-3 and losses["inside", 1, 1] < 1e-4
    assert losses["outside", 0, 0] == losses["inside", 0, 0]
    assert losses["outside", 1, 1] > 1e-2
    # Each sample of a batch has a part of its own.
    if n_steps == 1:
        strays = losses["outside", 1, 1]
        assert losses["outside", 0, 1] == pytest.approx(losses["inside", 0, 1] + strays, rel=1e-3)
        assert losses["inside", 0, 1] < losses["inside", 0, 0]


def test_free_steps_need_a_buffer_and_limits():
    for model, settings in (
        ({}, {}),
        ({"range_limit": None, "spectral_limit": None}, {"replay_steps": 2}),
    ):
        with pytest.raises(ValueError, match=r"training\.replay_free_steps is 3, with"):
            config(model, replay_free_steps=3, **settings)


def test_worker_processes_give_the_rollouts_of_memory(stores, monkeypatch):
    def read():
        windows = Windows(Store(stores["files"]), "train", 2)
        return list(batches(windows, 3, 0, 6, 9, replay=plan(windows.followed()), replay_from=1))

    whole = read()
    monkeypatch.setattr("data_prep.store.selection.field_reader._IN_MEMORY_BYTES", 0)
    for a, b in zip(whole, read(), strict=True):
        np.testing.assert_array_equal(a.starts, b.starts)
        np.testing.assert_array_equal(a.replayed.rollouts, b.replayed.rollouts)
        np.testing.assert_array_equal(a.replayed.goes_on, b.replayed.goes_on)
    assert any(batch.replayed.goes_on.any() for batch in whole)


def test_the_buffer_waits_for_its_part_of_the_training(stores):
    windows = Windows(Store(stores["files"]), "train", 1)
    plain = list(batches(windows, 4, 0, 0, 5))
    replayed = list(batches(windows, 4, 0, 0, 5, replay=plan(windows.followed()), replay_from=3))
    for a, b in zip(plain[:3], replayed[:3], strict=True):
        assert b.replayed is None
        np.testing.assert_array_equal(a.starts, b.starts)
    assert all(b.replayed is not None for b in replayed[3:])


def test_a_buffer_with_what_does_not_go_with_it_is_refused():
    with pytest.raises(ValueError, match=r"training\.replay_steps is 3, with"):
        config(replay_steps=3, push_forward=1)
