"""Runs of a circulation model: months, restarts, the worker's process, the store."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from configs.load import load_config
from data_prep.gcm.process import find_python
from data_prep.gcm.run import generate, run_settings
from data_prep.gcm.worker.run import is_finished, run
from data_prep.gcm.worker.segments import segments
from data_prep.store.reader import Store
from tests.data_prep.gcm.fake_model import FakeModel, fake_python

SETTINGS = run_settings(
    load_config(
        "atmosphere_smoke", ["gcm.first=2004-02-20", "gcm.last=2004-04-03", "gcm.spin_up=60d"]
    )
)
RANGES = (
    "data.splits={train: {first: '2001-01-30', last: '2001-02-01'}, validation: "
    "{first: '2001-02-02', last: '2001-02-02'}, test: {first: '2001-02-03', last: '2001-02-04'}}"
)
SILENT = lambda done, total, day: None  # noqa: E731


def contents(folder: Path) -> dict[str, xr.Dataset]:
    return {path.name: xr.load_dataset(path) for path in sorted((folder / "files").glob("*.nc"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(FakeModel(), SETTINGS, folder, SILENT)
    return contents(folder)


@pytest.fixture
def python(tmp_path) -> Path:
    return fake_python(tmp_path)


def test_months_follow_each_other_and_the_spin_up_is_not_kept():
    parts = segments(SETTINGS)
    assert [p.name for p in parts if p.kept] == ["2004-02-20", "2004-03", "2004-04"]
    assert [p.name for p in parts if not p.kept] == ["2003-12-22", "2004-01", "2004-02"]
    assert all(a.end == b.first for a, b in zip(parts, parts[1:], strict=False))
    assert sum(p.n_days for p in parts if p.kept) == 10 + 31 + 3  # 2004 has a 29 February
    times = np.concatenate([p.times(21600) for p in parts if p.kept])
    assert (np.diff(times) == np.timedelta64(6, "h")).all()
    assert str(times[0]) == "2004-02-20T00:00:00"


def test_files_have_every_step_and_the_levels_of_the_settings(whole):
    assert list(whole) == ["2004-02-20.nc", "2004-03.nc", "2004-04.nc", "static.nc"]
    months = [ds for name, ds in whole.items() if name != "static.nc"]
    assert sum(ds.sizes["time"] for ds in months) == 4 * 44
    assert tuple(months[0].level.values) == SETTINGS.pressures == (500, 700, 850)
    assert months[0].u.units == "m s-1"
    assert not np.isnan(months[1].t.values).any()


@pytest.mark.parametrize("days", [1, 59, 60, 70, 71, 103])
def test_a_run_that_was_interrupted_anywhere_gives_the_same_files(tmp_path, whole, days):
    def interrupt(done, total, day):
        if done == days:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(FakeModel(), SETTINGS, tmp_path, interrupt)
    assert not is_finished(SETTINGS, tmp_path)
    run(FakeModel(), SETTINGS, tmp_path, SILENT)
    assert is_finished(SETTINGS, tmp_path)
    again = contents(tmp_path)
    assert again.keys() == whole.keys()
    for name, ds in whole.items():
        xr.testing.assert_identical(again[name], ds)


def test_a_month_whose_file_is_gone_is_made_again_from_its_restart_alone(tmp_path, whole):
    run(FakeModel(), SETTINGS, tmp_path, SILENT)
    (tmp_path / "files" / "2004-03.nc").unlink()
    days = []
    run(FakeModel(), SETTINGS, tmp_path, lambda done, total, day: days.append(day))
    assert days[0] == "2004-03-01" and days[-1] == "2004-03-31"
    xr.testing.assert_identical(contents(tmp_path)["2004-03.nc"], whole["2004-03.nc"])


@pytest.mark.parametrize("last", ["2004-04-03", "2004-03-31", "2004-02-20"])
def test_a_run_that_goes_on_to_a_later_day_gives_the_same_states(tmp_path, whole, last):
    run(FakeModel(), replace(SETTINGS, last=last), tmp_path, SILENT)
    shutil.rmtree(tmp_path / "files")
    since = str(np.datetime64(last) + 1)
    longer = replace(SETTINGS, last="2004-04-20", since=since)
    assert not is_finished(longer, tmp_path)
    days = []
    run(FakeModel(), longer, tmp_path, lambda done, total, day: days.append(day))
    assert days[0] == since and days[-1] == "2004-04-20" and is_finished(longer, tmp_path)
    added = contents(tmp_path)
    del added["static.nc"]
    times = np.concatenate([ds.time.values for ds in added.values()])
    assert times[0] == np.datetime64(since) and (np.diff(times) == np.timedelta64(6, "h")).all()
    joined = xr.concat(added.values(), "time")
    for name, ds in whole.items():
        if name != "static.nc":
            there = ds.time.values >= np.datetime64(since)
            xr.testing.assert_equal(joined.sel(time=ds.time[there]), ds.isel(time=there))


def test_an_unfinished_run_may_end_later(tmp_path, whole):
    run(FakeModel(), replace(SETTINGS, last="2004-03-10"), tmp_path, SILENT)
    run(FakeModel(), SETTINGS, tmp_path, SILENT)
    for name, ds in contents(tmp_path).items():
        xr.testing.assert_identical(ds, whole[name])


def test_values_that_are_not_finite_end_the_run_with_the_day(tmp_path):
    class Unstable(FakeModel):
        def advance_day(self, state):
            state, fields = super().advance_day(state)
            if state[1] > (np.datetime64("2004-03-02") - np.datetime64("1970-01-01")).astype(int):
                fields["t"] = fields["t"] * np.nan
            return state, fields

    with pytest.raises(FloatingPointError, match=r"t is not finite on 2004-03-02.*gcm\.solver_dt"):
        run(Unstable(), SETTINGS, tmp_path, SILENT)
    assert [p.name for p in sorted((tmp_path / "files").glob("2*.nc"))] == ["2004-02-20.nc"]


def test_a_store_is_made_in_another_process_and_equal_after_a_failure(
    tmp_path, python, monkeypatch
):
    config = load_config("atmosphere_smoke")
    store = Store(generate(config, tmp_path / "a.zarr", python=python))
    assert store.channel_names == (*config.data.variables, "sst")
    assert len(store.time) == 24 and str(store.time[0])[:13] == "2001-01-30T00"
    assert not (tmp_path / "a.zarr.run" / "files").exists()
    assert (tmp_path / "a.zarr.run" / "restarts" / "2001-02-05.npz").exists()
    monkeypatch.setenv("FAILS_ON", "2001-02-02")
    with pytest.raises(ValueError, match=r"ended with code 1: FloatingPointError.*2001-02-02"):
        generate(config, tmp_path / "b.zarr", python=python, keep_files=True)
    assert not (tmp_path / "b.zarr").exists()
    monkeypatch.delenv("FAILS_ON")
    again = Store(generate(config, tmp_path / "b.zarr", python=python, keep_files=True))
    assert len(list((tmp_path / "b.zarr.run" / "files").glob("*.nc"))) == 3
    for i in range(24):
        np.testing.assert_array_equal(again.state(0, i).numpy(), store.state(0, i).numpy())
    for name, values in store.statistics.items():
        np.testing.assert_array_equal(again.statistics[name].numpy(), values.numpy())


def test_a_store_is_extended_by_its_run(tmp_path, python, run_forecast, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["data", "gcm", "atmosphere_smoke", "--python", python, "--out"]
    assert run_forecast(*command, "a.zarr", RANGES) == 0
    longer = [RANGES, "gcm.last=2001-02-07", "data.splits.test.last=2001-02-06"]
    monkeypatch.setenv("FAILS_ON", "2001-02-06")
    assert run_forecast(*command, "a.zarr", "--append", *longer) != 0
    assert len(Store("a.zarr").time) == 24
    monkeypatch.delenv("FAILS_ON")
    assert run_forecast(*command, "a.zarr", "--append", *longer) == 0
    assert run_forecast(*command, "b.zarr", *longer) == 0
    found, expected = Store("a.zarr"), Store("b.zarr")
    np.testing.assert_array_equal(found.time, expected.time)
    np.testing.assert_array_equal(found.split, expected.split)
    assert len(found.time) == 24 + 12 and set(found.split[-4:]) == {""}
    np.testing.assert_array_equal(found.states(0, 0, 36).numpy(), expected.states(0, 0, 36).numpy())
    for name, values in expected.statistics.items():
        np.testing.assert_allclose(found.statistics[name].numpy(), values.numpy(), rtol=1e-6)


@pytest.mark.parametrize("keep_files", [False, True])
def test_a_run_goes_on_only_after_the_days_of_the_store(tmp_path, python, keep_files):
    def extend(last: str, out: str = "a.zarr", **options: bool) -> Path:
        config = load_config("atmosphere_smoke", [RANGES, f"gcm.last={last}"])
        return generate(config, tmp_path / out, python=python, keep_files=keep_files, **options)

    extend("2001-02-04")
    with pytest.raises(FileExistsError):
        extend("2001-02-06")
    for last in ("2001-02-04", "2001-02-03"):
        with pytest.raises(ValueError, match=f"gcm.last is {last}.*before 2001-02-05"):
            extend(last, append=True)
    assert len(Store(extend("2001-02-05", append=True)).time) == 28
    assert len(Store(extend("2001-02-06", append=True)).time) == 32
    with pytest.raises(FileNotFoundError, match=r"b\.zarr"):
        extend("2001-02-06", "b.zarr", append=True)
    shutil.rmtree(tmp_path / "a.zarr.run")
    with pytest.raises(FileNotFoundError, match=r"a\.zarr\.run does not exist.*made anew"):
        extend("2001-02-07", append=True)


def test_a_store_may_have_no_pressure_level(tmp_path, python):
    words = ["data.variables=[sp, t2m]", "data.static=[]", "data.forcing=[]", "data.mask=[]"]
    store = Store(generate(load_config("atmosphere_smoke", words), tmp_path / "a.zarr",
                           python=python))  # fmt: skip
    assert store.channel_names == ("sp", "t2m") and len(store.time) == 24


def test_precipitation_is_the_amount_of_each_step(tmp_path, python):
    store = Store(generate(load_config("atmosphere_smoke"), tmp_path / "a.zarr", python=python,
                           keep_files=True))  # fmt: skip
    files = sorted((tmp_path / "a.zarr.run" / "files").glob("2*.nc"))
    amounts = np.concatenate([xr.load_dataset(f).total_precipitation.values for f in files])
    channel = store.channel_names.index("tp")
    for i in (0, 5, 23):
        found = store.state(0, i)[channel].numpy()
        np.testing.assert_allclose(np.sort(found, None), np.sort(amounts[i], None), rtol=1e-6)


def test_a_run_without_its_model_leaves_nothing(tmp_path, python):
    with pytest.raises(ValueError, match=r"cannot be run.*--python"):
        generate(load_config("atmosphere_smoke"), tmp_path / "a.zarr", python=tmp_path / "absent")
    assert not (tmp_path / "a.zarr.run").exists()
    generate(load_config("atmosphere_smoke", ["gcm.seed=1"]), tmp_path / "a.zarr", python=python)


def test_other_settings_do_not_go_on_with_a_run(tmp_path, python):
    config = load_config("atmosphere_smoke")
    generate(config, tmp_path / "a.zarr", python=python)
    shutil.rmtree(tmp_path / "a.zarr")
    other = load_config("atmosphere_smoke", ["gcm.seed=1"])
    with pytest.raises(ValueError, match=r"a run of other settings \(seed 0 there, 1 now\)"):
        generate(other, tmp_path / "a.zarr", python=python)
    shorter = load_config("atmosphere_smoke", ["gcm.last=2001-02-03"])
    with pytest.raises(ValueError, match=r"\(last 2001-02-04 there, 2001-02-03 now\)"):
        generate(shorter, tmp_path / "a.zarr", python=python)


def test_the_worker_ends_with_the_process_that_started_it(tmp_path):
    (tmp_path / "settings.json").write_text(replace(SETTINGS, model="none").to_json())
    code = (
        "import time, sys; sys.argv = ['w', 'none', 'none']; import threading\n"
        "from data_prep.gcm.worker import __main__ as m\n"
        "threading.Thread(target=m._end_with_parent, daemon=True).start(); time.sleep(60)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    worker.stdin.close()
    assert worker.wait(timeout=30) == 3


def test_an_interpreter_without_the_model_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be run.*--python"):
        find_python(tmp_path / "absent")
    empty, old = tmp_path / "empty", tmp_path / "old"
    for path, answer in ((empty, "exit 1"), (old, "echo 2.9.1")):
        path.write_text(f"#!/bin/sh\n{answer}\n")
        path.chmod(0o755)
    with pytest.raises(ValueError, match=r"jcm is not installed.*pip install 'jcm==3\.0\.\*'"):
        find_python(empty)
    with pytest.raises(ValueError, match=r"has jcm 2\.9\.1, but version 3\.0 is needed"):
        find_python(old)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.variables=[cape]", "does not give 'cape'; it gives sp, t2m"),
        ("data.variables=[w500]", "does not give 'w500'"),
        ("data.static=[slt]", "data.static names 'slt'"),
        ("data.time_step=5h", "a day has to be a multiple"),
        ("gcm.solver_dt=25min", r"gcm\.solver_dt is 25min"),
        ("gcm.last=2001-01-01", "before the first day"),
        ("gcm.first=2001-1-1", "is not a day"),
        ("gcm.spin_up=12h", "give whole days"),
        ("data.splits={train: {first: '1990', last: '1991'}, validation: {first: '2001', last: "
         "'2001'}, test: {first: '2001', last: '2001'}}", "holds no time of the run"),
        ("gcm=null", "no section gcm"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused_before_the_run(override, message):
    with pytest.raises(ValueError, match=message):
        run_settings(load_config("atmosphere_smoke", [override]))


def test_the_command_makes_a_store_that_trains(tmp_path, python, run_forecast, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        run_forecast("data", "gcm", "atmosphere_smoke", "--out", "a.zarr", "--python", python) == 0
    )
    assert run_forecast("train", "atmosphere_smoke", "--data", "a.zarr", "--out", "run",
                        "training.steps=2", "tracking.enabled=false") == 0  # fmt: skip
    assert run_forecast("rollout", "run", "--data", "a.zarr", "--out", "f.nc", "--steps", "2") == 0
    ds = xr.load_dataset("f.nc", decode_timedelta=False)
    assert np.isfinite(ds.z500.values).all()


def test_the_dry_model_gives_no_water_and_no_land(tmp_path, python):
    config = load_config("held_suarez", [
        "gcm.last=2001-01-04", "gcm.spin_up=1d",
        "data.grid={kind: legendre-gauss, nlat: 32, nlon: 64}",
        "data.splits={train: 0.5, validation: 0.25, test: 0.25}",
    ])  # fmt: skip
    settings = run_settings(config)
    assert (settings.model, settings.levels, settings.sst_modes) == ("held_suarez", 10, 0)
    store = Store(generate(config, tmp_path / "a.zarr", python=python))
    assert store.channel_names == config.data.variables and len(store.time) == 16
    for words, message in {
        "data.variables=[z500, q850]": r"held_suarez does not give 'q850'; it gives sp, and on",
        "data.variables=[z500, t2m]": r"held_suarez does not give 't2m'",
        "data.static=[orography]": r"'orography'; held_suarez gives no static field",
    }.items():
        with pytest.raises(ValueError, match=message):
            run_settings(load_config("held_suarez", [words]))
    with pytest.raises(ValueError, match="held_suarez has no sea surface"):
        load_config("held_suarez", ["gcm.sea_surface.modes=2"])
    with pytest.raises(ValueError, match=r"levels is 10; jcm has 7 or 8"):
        load_config("atmosphere", ["gcm.levels=10"])
