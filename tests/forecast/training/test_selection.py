"""Training on a part of a store: channels, times, step and splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from configs import layout
from configs.schema import Config, SplitRanges, TimesConfig
from configs.time.step import TimeStep
from data_prep.store.reader import Store
from data_prep.store.selection import field_reader, longer_step
from data_prep.store.selection.training_statistics import TrainingStatistics
from data_prep.store.spec import StoreSpec
from data_prep.store.writer import StoreWriter
from forecast.training.train import train
from sphere_ops.parallel.fields import area_mean
from tests.forecast.small_run import BASE, assert_same_weights

SEVEN = ("sst", "t2m", "u10", "v10", "msl", "z500", "t850")
THREE = ("z500", "sst", "v10")


def settings(data: dict | None = None, model: dict | None = None, **training: object) -> Config:
    return Config.model_validate(
        {
            **BASE,
            "data": {"source": "files", "variables": SEVEN, "time_step": "6h"} | (data or {}),
            "model": BASE["model"] | (model or {}),
            "training": BASE["training"] | {"steps": 6} | training,
        }
    )


def part_as_store(
    whole: Path,
    path: Path,
    channels: tuple[str, ...],
    times: np.ndarray,
    time_step: str = "6h",
    split: list[str] | None = None,
) -> Path:
    """Write a store of some channels and times of another, as if it had been made so."""
    source = Store(whole)
    places = [source.channel_names.index(name) for name in channels]
    mask = None if source.mask is None else source.mask[places].numpy()
    spec = StoreSpec(
        grid=source.grid,
        channels=tuple(source.channels[i] for i in places),
        time=source.time[times],
        time_step=time_step,
        split=split or source.split[times].tolist(),
        title="Part",
        source="tests",
        configuration="",
        mask=None if mask is None or mask.all() else mask,
        moving_mask=tuple(n for n in source.moving_mask if n in channels),
    )
    fields = torch.stack([source.state(int(i)) for i in times])[:, places].numpy()
    with StoreWriter(path, spec) as writer:
        for block in writer.blocks():
            writer.write_times(block, fields[block])
        return writer.finalise()


def assert_same_statistics(part: Store, made: Store) -> None:
    """Check the statistics of a part of a store against those of a store with that part alone."""
    assert set(part.statistics) == set(made.statistics)
    for name, expected in made.statistics.items():
        # Maps and the fields whose power is taken are float32; moments are merged in another order.
        tolerance = 1e-5 if expected.ndim > 1 else 1e-10
        size = float(expected.nan_to_num().abs().max())
        torch.testing.assert_close(
            part.statistics[name], expected, rtol=0, atol=tolerance * size, equal_nan=True
        )


@pytest.fixture(scope="module")
def seven(make_store, tmp_path_factory) -> Path:
    """Six-hourly series of seven channels, the first with a mask."""
    path = tmp_path_factory.mktemp("seven") / "store.zarr"
    return make_store(path, "files", channels=SEVEN, time_step="6h", mask=True, orography=False)


@pytest.mark.parametrize("reading", ["memory", "disk"])
def test_three_of_seven_channels_give_the_weights_of_a_store_with_just_those(
    seven, tmp_path, monkeypatch, reading
):
    if reading == "disk":
        monkeypatch.setattr(field_reader, "_IN_MEMORY_BYTES", 0)
    three = part_as_store(seven, tmp_path / "three.zarr", THREE, np.arange(48))
    config = settings({"variables": THREE}, workers=2 if reading == "disk" else 0)
    train(config, seven, tmp_path / "chosen")
    train(config, three, tmp_path / "made")
    assert_same_weights(tmp_path / "chosen", tmp_path / "made")


def test_channels_without_a_mask_have_none(seven):
    part = Store(seven).select(channels=("t2m", "z500"))
    assert part.mask is None and part.channel_names == ("t2m", "z500")
    assert Store(seven).select(channels=("t2m", "sst")).mask is not None


def test_memory_holds_the_chosen_channels_only(seven):
    whole, part = Store(seven), Store(seven).select(channels=THREE)
    assert part.in_memory and part.reader.n_bytes * 7 == whole.reader.n_bytes * 3
    part.state(0)
    assert part.reader._in_memory_fields.nbytes == part.reader.n_bytes


@pytest.mark.parametrize("reading", ["memory", "disk"])
def test_every_second_time_is_a_store_of_every_second_time(seven, tmp_path, monkeypatch, reading):
    if reading == "disk":
        monkeypatch.setattr(field_reader, "_IN_MEMORY_BYTES", 0)
    made = Store(part_as_store(seven, tmp_path / "s.zarr", THREE, np.arange(0, 48, 2), "12h"))
    chosen = Store(seven).select(channels=THREE, time_step=TimeStep.parse("12h"))
    assert chosen.time_step == made.time_step
    np.testing.assert_array_equal(chosen.time, made.time)
    for split in layout.SPLITS:
        np.testing.assert_array_equal(chosen.windows(split, 1, 1), made.windows(split, 1, 1))
    states = chosen.states(3, 0, 6), made.states(3, 0, 6)
    torch.testing.assert_close(*states, rtol=0, atol=0, equal_nan=True)
    assert_same_statistics(chosen, made)


def test_a_model_of_every_second_time_is_that_of_a_store_of_those(seven, tmp_path):
    made = part_as_store(seven, tmp_path / "s.zarr", THREE, np.arange(0, 48, 2), "12h")
    config = settings({"variables": THREE, "time_step": "12h", "times": {"hours": [0, 12]}})
    train(config, seven, tmp_path / "chosen")
    train(config, made, tmp_path / "made")
    assert_same_weights(tmp_path / "chosen", tmp_path / "made")


@pytest.mark.parametrize("reading", ["memory", "disk"])
def test_phases_of_a_longer_step_are_series_one_after_another(seven, monkeypatch, reading):
    if reading == "disk":
        monkeypatch.setattr(field_reader, "_IN_MEMORY_BYTES", 0)
        monkeypatch.setattr(field_reader, "_READ_BYTES", 1)
    whole = Store(seven)
    part = whole.select(time_step=TimeStep.parse("12h"), phases=True)
    order = np.concatenate([np.arange(0, 48, 2), np.arange(1, 48, 2)])
    np.testing.assert_array_equal(part.time, whole.time[order])
    np.testing.assert_array_equal(part.split, whole.split[order])
    n_train = (whole.split == "train").sum()
    starts = part.windows("train", 1, 1)
    assert len(starts) == n_train - 2 * 2  # a history of one and a target, of each phase
    for i in starts[[0, -1], 0]:
        for moved in (-1, 0, 1):
            expected = whole.state(int(order[i]) + 2 * moved)
            found = part.states(int(i) + moved, 0, 1)[0]
            torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    # The last state of a phase and the first of the next one are read together.
    two = torch.stack([whole.state(46), whole.state(1)])
    torch.testing.assert_close(part.states(23, 0, 2), two, rtol=0, atol=0, equal_nan=True)
    of_all, found = whole.statistics, part.statistics
    assert ((found["mean"] - of_all["mean"]).abs() < 1e-10 * of_all["std"]).all()
    torch.testing.assert_close(found["minimum"], of_all["minimum"], rtol=0, atol=0, equal_nan=True)
    train = torch.stack([whole.state(i) for i in range(n_train)])[:, 1].double()  # without a mask
    change = area_mean((train[2:] - train[:-2]).square(), whole.grid).mean().sqrt()
    mean = area_mean(train[2:] - train[:-2], whole.grid).mean()
    expected = (change.square() - mean.square()).sqrt().item()
    assert found["std_step"][1].item() == pytest.approx(expected, rel=1e-10)


def test_all_hours_that_are_chosen_are_phases(seven):
    times = TimesConfig(hours=(6, 12, 18))
    part = Store(seven).select(times=times, time_step=TimeStep.parse("1d"), phases=True)
    hours = part.time.astype("M8[h]").astype(int) % 24
    np.testing.assert_array_equal(hours, np.repeat([6, 12, 18], 12))
    one = Store(seven).select(
        times=TimesConfig(hours=(6,)), time_step=TimeStep.parse("1d"), phases=True
    )
    assert len(one.time) == 12


def test_training_with_a_longer_step_starts_from_all_times(seven, tmp_path, caplog):
    with caplog.at_level("INFO"):
        train(settings({"variables": THREE, "time_step": "12h"}), seven, tmp_path / "run")
    assert "times: 48 of the 48" in caplog.text and "every 12h" in caplog.text


def test_other_splits_have_other_statistics(seven):
    ranges = {
        name: {"first": str(first), "last": str(last)}
        for name, first, last in (
            ("train", "2000-01-05", "2000-01-09"),
            ("validation", "2000-01-10", "2000-01-11"),
            ("test", "2000-01-12", "2000-01-12"),
        )
    }
    part = Store(seven).select(splits=SplitRanges.model_validate(ranges))
    assert part.split.tolist() == [""] * 16 + ["train"] * 20 + ["validation"] * 8 + ["test"] * 4
    values = torch.stack([part.state(i) for i in range(16, 36)])[:, 1].double()  # without a mask
    expected = area_mean(values, part.grid).mean()
    assert part.statistics["mean"][1].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("moving", [False, True])
def test_a_climatology_of_other_years_is_that_of_a_store_with_them(make_store, tmp_path, moving):
    whole = make_store(tmp_path / "s.zarr", "files", mask=True, moving_mask=moving)
    split = ["train"] * 36 + ["validation"] * 10 + ["test"] * 2
    times, names = np.arange(48), ("sst", "t2m")
    made = Store(part_as_store(whole, tmp_path / "m.zarr", names, times, "1mo", split))
    years = {"train": ("2000", "2002"), "validation": ("2003-01", "2003-10"),
             "test": ("2003-11", "2003-12")}  # fmt: skip
    ranges = {name: {"first": first, "last": last} for name, (first, last) in years.items()}
    part = Store(whole).select(splits=SplitRanges.model_validate(ranges))
    assert part.split.tolist() == split
    assert layout.CLIMATOLOGY_LARGEST_POWER in made.statistics
    assert_same_statistics(part, made)


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("slab", [1, 2**25])
def test_the_change_over_a_longer_step_is_that_of_all_its_statistics(
    make_store, tmp_path, monkeypatch, caplog, moving, slab
):
    monkeypatch.setattr(longer_step, "_READ_BYTES", slab)
    whole = Store(make_store(tmp_path / "s.zarr", "files", mask=True, moving_mask=moving))
    step = TimeStep.parse("2mo")
    part = whole.select(channels=("t2m", "sst"), time_step=step, phases=True)
    expected = TrainingStatistics(part)
    with caplog.at_level("INFO"):
        found = part.statistics
    assert "change over 2mo is computed" in caplog.text
    assert set(found) == set(expected) and layout.CLIMATOLOGY_STD_STEP in found
    for name in (layout.STD_STEP, layout.CLIMATOLOGY_STD_STEP):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-6, atol=0)
        before = whole.statistics[name][[1, 0]]
        assert (found[name] / before - 1).abs().min() > 0.01
    for name in set(found) - {layout.STD_STEP, layout.CLIMATOLOGY_STD_STEP}:
        size = float(expected[name].nan_to_num().abs().max())
        torch.testing.assert_close(
            found[name], expected[name], rtol=0, atol=1e-5 * size, equal_nan=True
        )


def test_windows_do_not_cross_times_that_were_not_chosen(seven):
    part = Store(seven).select(times=TimesConfig(hours=(0, 6)))
    assert len(part.time) == 24
    starts = part.windows("train", 1)[:, 0]
    assert len(starts) == 6 and set(part.time[starts].astype("M8[h]").astype(int) % 24) == {0}
    with pytest.raises(ValueError, match="no 3 consecutive states"):
        part.windows("train", 2)


def test_a_period_of_all_times_changes_nothing(seven):
    whole, part = Store(seven), Store(seven).select(times=TimesConfig(first="1999", last="2001"))
    for name, values in whole.statistics.items():
        torch.testing.assert_close(part.statistics[name], values, rtol=0, atol=0, equal_nan=True)


def test_trajectories_at_every_second_step(make_store, tmp_path):
    store = Store(make_store(tmp_path / "t.zarr"))
    part = store.select(channels=("divergence",), time_step=TimeStep.parse("2h"))
    assert part.windows("train", 2).tolist() == [[i, 0] for i in range(4)]
    expected = torch.stack([store.state(2, step)[[2]] for step in (0, 2, 4)])
    torch.testing.assert_close(part.states(2, 0, 3), expected, rtol=0, atol=0)
    moved = torch.stack([store.states(i, 0, 6)[::2, 2] for i in range(4)]).double().diff(dim=1)
    variance = area_mean((moved - area_mean(moved, store.grid).mean()).square(), store.grid).mean()
    found = part.statistics[layout.STD_STEP].item()
    assert found == pytest.approx(variance.sqrt().item(), rel=1e-10)


def test_a_role_of_the_configuration_overrides_that_of_the_store(seven):
    part = Store(seven).select(channels=("t2m", "sst", "z500"), roles={"sst": "forcing"})
    assert [(v.name, v.role) for v in part.channels] == [
        ("t2m", "prognostic"), ("z500", "prognostic"), ("sst", "forcing"),
    ]  # fmt: skip
    again = part.select(channels=("sst",), roles={"sst": "diagnostic"})
    assert again.channels == (replace(Store(seven).channels[0], role="diagnostic"),)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"variables": ["t2m", "z850"]},
            r"names 'z850', which .* \(nearest: z500\); it has sst, t",
        ),
        ({"variables": ["t2m"], "forcing": ["t2m"]}, "t2m is both in data.variables and in data."),
        ({"static": ["orography"]}, "data.static names 'orography', which .*; it has none"),
        ({"time_step": "9h"}, "data.time_step is 9h, but .* has a step of 6h; take a multiple"),
        (
            {"times": {"last": "1999"}},
            "data.times.last=1999 leaves no time of .* from 2000-01-01 to",
        ),
        ({"times": {"first": "2000-01-08"}}, "leaves no training time of"),
        ({"times": {"first": "yesterday"}}, "data.times.first: 'yesterday' is not a date"),
    ],
)
def test_a_choice_that_a_store_does_not_have_is_refused(seven, tmp_path, data, message):
    with pytest.raises(ValueError, match=message) as caught:
        train(settings(data), seven, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
