"""Cascades: several models of one forecast, each for a range of lead times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from configs.time.step import TimeStep
from data_prep.store.reader import Store
from forecast.cli.words import divided
from forecast.inference.forecast import run_rollout
from forecast.inference.models.cascade import Cascade
from forecast.inference.rollout import rollout
from forecast.model.package import save_package
from forecast.model.state import State
from tests.forecast.inference.ensemble.conftest import make_forecaster

NOISE = {"length_scales": ["4000km"], "channels": 2}


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory) -> Path:
    return make_store(tmp_path_factory.mktemp("trajectories") / "store.zarr", n_times=10)


@pytest.fixture(scope="module")
def short(store):
    return make_forecaster(store, bundle=2)


@pytest.fixture(scope="module")
def long(store):
    return make_forecaster(store, seed=1, history=3)


@pytest.fixture
def packages(short, long, tmp_path) -> list[str]:
    for model, name in ((short, "short"), (long, "long")):
        save_package(model, tmp_path / name)
    return [str(tmp_path / name) for name in ("short", "long")]


def start_of(store: Path, n_history: int) -> State:
    opened = Store(store)
    series = torch.stack([opened.states(i, 1, n_history + 1) for i in (0, 1)])
    return State.from_series(
        series, np.array([opened.valid_time(i, 1 + n_history) for i in (0, 1)])
    )


def forecast(package, store: Path, out: Path, **options) -> xr.Dataset:
    chosen = {"n_steps": 6, "init_times": ["2000-01-01T02"], "split": "train", **options}
    run_rollout(package, store, out, device="cpu", **chosen)
    with xr.open_dataset(out) as file:
        return file.load()


def test_the_second_model_goes_on_from_the_state_of_the_first(store, short, long):
    cascade, start = Cascade([short, long], [3]), start_of(store, 2)
    assert cascade.n_history == 0  # the second model sees steps of the first one
    found = list(rollout(cascade, start, 6))
    first = list(rollout(short, State(start.fields, start.time), 3))
    for a, b in zip(found[:3], first, strict=True):
        torch.testing.assert_close(a.fields, b.fields, rtol=0, atol=0)
    # The first model has predicted a fourth step: that of the second one counts.
    assert len(first[2].ahead) == 1 and not found[3].ahead
    series = (first[0].fields, first[1].fields)
    second = list(rollout(long, State(first[2].fields, first[2].time, series), 3))
    for a, b in zip(found[3:], second, strict=True):
        torch.testing.assert_close(a.fields, b.fields, rtol=0, atol=0)
        assert (a.time == b.time).all() and len(a.history) == 2
    without = list(rollout(cascade, State(start.fields, start.time), 6))
    torch.testing.assert_close(without[5].fields, found[5].fields, rtol=0, atol=0)
    assert Cascade([short, long], [1]).n_history == 1 and Cascade([long]).n_history == 2
    assert (found[3].fields - first[2].ahead[0]).abs().max() > 0.1


def test_a_cascade_may_have_one_model_or_three(store, short, long):
    start = start_of(store, 2)
    for a, b in zip(rollout(Cascade([long]), start, 3), rollout(long, start, 3), strict=True):
        torch.testing.assert_close(a.fields, b.fields, rtol=0, atol=0)
    found = list(rollout(Cascade([long, short, long], [1, 2]), start, 3))
    state = start
    for model, cascade in zip((long, short, long), found, strict=True):
        seen = state.history if model is long else ()
        following = model.step(State(state.fields, state.time, seen))
        torch.testing.assert_close(cascade.fields, following.fields, rtol=0, atol=0)
        state = State(following.fields, following.time, state.series[1:])


def test_a_text_names_a_cascade_in_files_and_on_other_grids(
    store, packages, short, long, tmp_path, make_store
):
    text = f"{packages[0]},3h,{packages[1]}"
    file = forecast(text, store, tmp_path / "f.nc")
    assert "/short (sha256" in file.source and ") until 3h, package" in file.source
    first = forecast(packages[0], store, tmp_path / "a.nc")
    for name in ("geopotential", "vorticity"):
        np.testing.assert_array_equal(file[name][..., :4, :, :], first[name][..., :4, :, :])
        assert float(abs(file[name] - first[name])[..., 4, :, :].max()) > 0
    finer = make_store(tmp_path / "finer.zarr", nlat=10, nlon=20, n_times=10)
    there = forecast(text, finer, tmp_path / "g.nc")
    alone = forecast(packages[0], finer, tmp_path / "h.nc")
    np.testing.assert_array_equal(there.vorticity[..., :4, :, :], alone.vorticity[..., :4, :, :])
    assert np.isfinite(there.vorticity).all()


def test_a_cascade_goes_on_after_an_interruption(store, packages, tmp_path, monkeypatch):
    text = f"{packages[0]},3h,{packages[1]}"
    whole = forecast(text, store, tmp_path / "a.nc")
    monkeypatch.setattr("forecast.inference.writer.ForecastWriter.due", lambda self: True)

    def stop(done: int, total: int, note: str) -> None:
        if done >= total * 4 // 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forecast(text, store, tmp_path / "b.nc", batch_size=100, progress=stop)
    with pytest.raises(ValueError, match="the packages"):
        other = f"{packages[0]},2h,{packages[1]}"
        forecast(other, store, tmp_path / "b.nc", batch_size=100, restart=True)
    spaced = f"{packages[0]}, 180min, {packages[1]}"
    again = forecast(spaced, store, tmp_path / "b.nc", batch_size=100, restart=True)
    xr.testing.assert_allclose(again, whole, rtol=1e-5, atol=1e-4)


def test_members_may_be_cascades_and_models_of_another_history(store, packages, tmp_path):
    text = f"{packages[0]},3h,{packages[1]}"
    chosen = [text, *packages]
    file = forecast(chosen, store, tmp_path / "f.nc")
    assert file.sizes["member"] == 3
    for member, package in enumerate(chosen):
        alone = forecast(package, store, tmp_path / f"{member}.nc")
        difference = file.vorticity.isel(member=member) - alone.vorticity
        assert float(abs(difference).max() / alone.vorticity.std()) < 1e-4
    bred = ["bred:cycles=2,amplitude=0.1,interval=1h"]
    options = {"members": 2, "perturbations": bred, "n_steps": 4, "init_times": ["2000-01-01T05"]}
    file = forecast(text, store, tmp_path / "bred.nc", **options)
    spread = file.vorticity.std("member").mean(("latitude", "longitude"))
    assert (spread > 0).all()


def test_members_of_a_cascade_may_start_earlier(store, packages, short, long, tmp_path):
    """The second model sees a step before the initial time, the start of the lagged member."""
    text = f"{packages[0]},1h,{packages[1]}"
    options = {"n_steps": 3, "init_times": ["2000-01-01T05"]}
    lagged = {"members": 2, "perturbations": ["lagged:interval=1h"]}
    file = forecast(text, store, tmp_path / "lagged.nc", **lagged, **options)
    alone = forecast(text, store, tmp_path / "alone.nc", **options)
    error = abs(file.vorticity.isel(member=0) - alone.vorticity).max() / alone.vorticity.std()
    assert float(error) < 1e-4
    opened = Store(store)
    i = int(opened.split_indices("train")[0])
    time = np.array([opened.valid_time(i, 4)])
    before = State.from_series(opened.states(i, 3, 2)[None], time)
    cascade = Cascade([short, long], [1])
    (at_start,) = rollout(cascade, before, 1)
    following = list(rollout(cascade, State(at_start.fields, at_start.time, (before.fields,)), 3))
    found = file.vorticity[0].isel(member=1, lead_time=3)
    c = opened.channel_names.index("vorticity")
    np.testing.assert_allclose(found, following[2].fields[0, c], rtol=1e-4, atol=1e-7)


def test_a_path_of_a_cascade_may_have_an_equals_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("step=6h/best").mkdir(parents=True)
    words = ["step=6h/best,1d,step=1d/best", "data.time_step=1d"]
    assert divided(words) == (words[1:], words[:1])


def test_cascades_that_make_no_sense_are_refused(store, packages, short, tmp_path):
    a, b = packages
    save_package(make_forecaster(store, noise=NOISE), tmp_path / "noise")
    for text, message in {
        f"{a},3h": "is no cascade; expected packages with a lead time between them",
        f"{a},,{b}": "is no cascade; expected packages",
        f"{a},90min,{b}": "short,90min,.*/long: '90min' is no lead time of models with steps of 1h",
        f"{a},3h,{b},3h,{a}": "the lead time 3h is not after 3h; lead times increase",
        f"{a},0h,{b}": "the lead time 0h is not after the start",
        f"{a},soon,{b}": "'soon' is no lead time of models with steps of 1h; expected a multiple",
        f"{a},6h,{b}": "the last model begins after 6h, and the forecast has 6 steps of 1h; take",
        f"{a},3h,{tmp_path}/noise": "a model of this cascade draws noise",
    }.items():
        with pytest.raises(ValueError, match=message):
            forecast(text, store, tmp_path / "f.nc")
    with pytest.raises(FileNotFoundError, match="no package at nowhere"):
        forecast(f"{a},3h,nowhere", store, tmp_path / "f.nc")
    with pytest.raises(ValueError, match=r"2 models with the last steps \[0\]; expected"):
        Cascade([short, short], [0])
    assert not list(tmp_path.glob("f.nc*"))


def test_models_of_a_cascade_have_one_time_step(store, short, packages, tmp_path):
    slower = make_forecaster(store, bundle=2)
    slower.time_step = TimeStep.parse("2h")
    save_package(slower, tmp_path / "slower")
    with pytest.raises(ValueError, match="parts of one cascade need models with the same time st"):
        forecast(f"{packages[0]},2h,{tmp_path / 'slower'}", store, tmp_path / "f.nc")
