"""Files, stores, training, forecasts and scores in other calendars, and with gaps."""

from pathlib import Path

import cftime
import netCDF4
import numpy as np
import pytest
import xarray as xr

from configs.time.calendar import Calendar
from configs.time.step import TimeStep
from data_prep.store.reader import Store
from data_prep.store.spec import StoreSpec
from data_prep.store.writer import StoreWriter
from forecast.inference.forecast import run_rollout
from forecast.inference.initial_times import find_initial_times
from forecast.inference.reader import ForecastFile
from forecast.inference.reading.lead_times import time_label
from forecast.verification.evaluate import evaluate
from forecast.verification.truth import Truth
from sphere_ops.grid import Grid
from tests.forecast.stand_in import TURN, Turning

GRID = Grid.legendre_gauss(8, 16)
PRESET = """
data:
  source: files
  variables: [t2m]
  time_step: {step}
  times: {{gaps: true}}
  splits:
    train: {{first: "2000-01", last: "2000-02"}}
    validation: {{first: "2000-03-01", last: "2000-03-10"}}
    test: {{first: "2000-03-11", last: "2000"}}
model:
  branches: {{spectral: {{lmax: 6}}, differential: {{order: 1}}}}
  channels: 4
  blocks: 1
  history: 2
  forcing: [insolation, sin_year, cos_year]
training: {{steps: 4, batch_size: 2, validate_every: 2, validation_rollout: 2}}
rollout: {{n_steps: 4}}
tracking: {{enabled: false}}
"""


def archive(path: Path, calendar: str, hours: np.ndarray) -> Path:
    """Write a file of temperatures that turn about the axis by TURN in each step."""
    longitude = np.radians(GRID.longitude.numpy())
    steps = (hours - hours[0]) / (hours[1] - hours[0])
    wave = np.cos(longitude[None, None, :] - TURN * steps[:, None, None])
    fields = 280 + 5 * np.cos(np.radians(GRID.latitude.numpy()))[None, :, None] * wave
    xr.Dataset(
        {"t2m": (("time", "lat", "lon"), fields.astype("f4"), {"units": "K"})},
        {
            "time": ("time", hours / 24, {"units": "days since 2000-01-01", "calendar": calendar}),
            "lat": ("lat", GRID.latitude.numpy(), {"units": "degrees_north"}),
            "lon": ("lon", GRID.longitude.numpy(), {"units": "degrees_east"}),
        },
    ).to_netcdf(path)
    return path


def dates_of(path: Path, name: str) -> np.ndarray:
    """Read the dates of a netCDF file with cftime alone."""
    with netCDF4.Dataset(path) as file:
        time = file[name]
        return np.vectorize(str)(cftime.num2date(time[...], time.units, time.calendar))


@pytest.mark.parametrize(
    ("calendar", "step", "after_28_february"),
    [("360_day", "1d", "2000-02-29 12:00:00"), ("noleap", "6h", "2000-02-28 18:00:00")],
)
def test_the_whole_workflow_has_the_dates_of_the_files(
    tmp_path, run_forecast, capsys, calendar, step, after_28_february
):
    hours = np.arange(12, 84 * 24, 24 if step == "1d" else 6)
    lost = (hours >= 72 * 24) & (hours < 74 * 24)  # in the test split
    source = archive(tmp_path / "in.nc", calendar, hours[~lost])
    preset, store = tmp_path / "preset.yaml", tmp_path / "s.zarr"
    preset.write_text(PRESET.format(step=step))
    forecast, scores = tmp_path / "f.nc", tmp_path / "scores.nc"
    for words in (
        ("data", "ingest", preset, source, "--out", store),
        ("train", preset, "--data", store, "--out", tmp_path / "run"),
        ("rollout", tmp_path / "run", "--data", store, "--out", forecast),
        ("evaluate", forecast, "--data", store, "--out", scores),
        ("rollout", tmp_path / "run", "--data", store, "--out", tmp_path / "one.nc",
         "--init-time", "2000-02-28T12:00", "--steps", 2),
        ("data", "info", store),
    ):  # fmt: skip
        assert run_forecast(*words) == 0, capsys.readouterr().err
    assert f"1 gap, calendar {calendar}" in capsys.readouterr().out

    expected = cftime.num2date(hours[~lost] / 24, "days since 2000-01-01", calendar)
    of_calendar = Calendar.parse(calendar)
    assert [str(d) for d in of_calendar.to_cftime(Store(store).time)] == [str(d) for d in expected]
    starts, valid = dates_of(forecast, "init_time"), dates_of(forecast, "valid_time")
    assert set(starts) <= {str(d) for d in expected}
    np.testing.assert_array_equal(starts, valid[:, 0])
    np.testing.assert_array_equal(dates_of(scores, "init_time"), starts)
    assert dates_of(tmp_path / "one.nc", "valid_time")[0, 1] == after_28_february

    # Starts without a past are left out; truth is taken by valid time, also beyond the gap.
    opened = ForecastFile(forecast)
    assert opened.time_step == TimeStep.parse(step, calendar) == Store(store).time_step
    truth = Truth(opened, Store(store))
    known = {str(d) for d in expected}
    for i, of_forecast in enumerate(valid):
        there = [p for p, date in enumerate(of_forecast) if date in known]
        assert truth.known(i, slice(None)).tolist() == there
    n_test = int((hours[~lost] >= (70 if calendar == "360_day" else 69) * 24).sum())
    assert len(starts) == n_test - 1


def in_calendar(store: Path, out: Path, calendar: str, keep: slice | list[int]) -> Path:
    """Copy a series to times that follow each other in a calendar; keep some of them."""
    data = Store(store)
    step = TimeStep.parse("6h", calendar)
    first = np.array([step.calendar.period("2000-02-27T06")[0]])
    time = step.advance(first, np.arange(len(data.time)))[keep]
    spec = StoreSpec(
        grid=data.grid, channels=data.channels, time=time, time_step="6h",
        split=data.split[keep].tolist(), title="t", source="s", configuration="",
        calendar=calendar,
    )  # fmt: skip
    fields = data.states(0, 0, len(data.time)).numpy()[keep]
    with StoreWriter(out, spec) as writer:
        for block in writer.blocks():
            writer.write_times(block, fields[block])
        return writer.finalise()


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_a_forecast_file_gives_its_times_back(make_store, tmp_path, calendar, suffix):
    made = make_store(tmp_path / "made.zarr", "files", time_step="6h", orography=False)
    store = in_calendar(made, tmp_path / "s.zarr", calendar, slice(None))
    out = tmp_path / f"f.{suffix}"
    model = Turning(store)
    run_rollout(model, store, out, split="train", n_steps=5)
    file = ForecastFile(out)
    np.testing.assert_array_equal(file.init_time, model.store.time[:24])
    for k in range(6):
        np.testing.assert_array_equal(file.valid_time[:, k], model.store.time[k : k + 24])
    assert file.steps.tolist() == list(range(6))
    labels = [model.store.describe(k) for k in range(24)]
    assert [file.find_forecast(label) for label in labels] == list(range(24))
    assert file.forecast_label(8) == labels[8][:16].replace("T", " ")
    scores = evaluate(out, store, tmp_path / "scores.nc")
    assert (scores.n_forecasts == 24).all()
    assert float(scores.rmse.sel(forecast="model").max()) < 1e-3


def test_initial_times_are_dates_of_the_calendar(make_store, tmp_path):
    made = make_store(tmp_path / "made.zarr", "files", time_step="6h", orography=False)
    store = Store(in_calendar(made, tmp_path / "s.zarr", "360_day", slice(None)))
    assert find_initial_times(store, init_times=["2000-02-30T06:00"]) == [(12, 0)]
    with pytest.raises(ValueError, match=r"no state at 2000-02-30T07.*nearest: 2000-02-30T06:00"):
        find_initial_times(store, init_times=["2000-02-30T07"])
    with pytest.raises(ValueError, match="'2000-02-31' is not a date"):
        find_initial_times(store, init_times=["2000-02-31"])
    assert time_label(store.time[12], store.time_step) == "2000-02-30 06:00"


def test_the_history_of_an_initial_state_does_not_reach_across_a_gap(make_store, tmp_path):
    made = make_store(tmp_path / "made.zarr", "files", time_step="6h", orography=False)
    keep = [*range(10), *range(12, 20), 21, *range(24, 48)]
    store = Store(in_calendar(made, tmp_path / "s.zarr", "noleap", keep))
    label = store.describe
    starts = [i for i, _ in find_initial_times(store, "train", n_history=2)]
    assert starts == [*range(2, 10), *range(12, 18)]
    assert find_initial_times(store, init_times=[label(12)], n_history=2) == [(12, 0)]
    with pytest.raises(ValueError) as caught:
        find_initial_times(store, init_times=[label(11)], n_history=2)
    for part in (
        f"begins again after a gap at {label(10)[:16]}",
        f"first time to start from is {label(12)[:16]}",
    ):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match="has 24 times without a gap, the model sees 25"):
        find_initial_times(store, n_history=24)


def test_scores_compare_at_valid_times_beyond_a_gap(make_store, tmp_path):
    made = make_store(tmp_path / "made.zarr", "files", time_step="6h", orography=False)
    keep = [*range(10), *range(12, 48)]
    store = in_calendar(made, tmp_path / "s.zarr", "360_day", keep)
    run_rollout(Turning(store), store, tmp_path / "f.nc", split="train", n_steps=4)
    scores = evaluate(tmp_path / "f.nc", store, tmp_path / "scores.nc")
    n = 22  # starts in the training split; the two lost times are valid times of some
    assert scores.n_forecasts.values.tolist() == [n, n - 1, n - 2, n - 2, n - 2]
    assert float(scores.rmse.sel(forecast="model").max()) < 1e-3


def test_forecast_and_truth_of_two_calendars_are_refused(make_store, tmp_path):
    made = make_store(tmp_path / "made.zarr", "files", time_step="6h", orography=False)
    stores = [
        in_calendar(made, tmp_path / f"{name}.zarr", name, slice(None))
        for name in ("noleap", "360_day")
    ]
    run_rollout(Turning(stores[0]), stores[0], tmp_path / "f.nc", split="test", n_steps=1)
    with pytest.raises(ValueError, match="the calendar noleap against 360_day; give the store"):
        evaluate(tmp_path / "f.nc", stores[1], tmp_path / "scores.nc")
