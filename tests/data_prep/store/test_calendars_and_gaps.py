"""Stores in every calendar, and with gaps: dates, windows and statistics."""

from dataclasses import replace
from pathlib import Path

import cftime
import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from configs import layout
from configs.time.calendar import Calendar
from configs.time.step import TimeStep
from configs.variables import variable
from data_prep.store import reader
from data_prep.store.climatology import Climatology
from data_prep.store.describe import describe
from data_prep.store.export import export_netcdf
from data_prep.store.reader import Store
from data_prep.store.spec import StoreSpec, Trajectories
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(4, 8)
NAMES = ("proleptic_gregorian", "noleap", "360_day")


def dates(text: str, first: str, n: int, calendar: str) -> np.ndarray:
    """Return n times that follow each other from the first on."""
    step = TimeStep.parse(text, calendar)
    start = np.array([step.calendar.period(first)[0]])
    return np.concatenate([step.advance(start, k) for k in range(n)])


def written(path: Path, spec: StoreSpec, values: np.ndarray) -> Path:
    """Write a series whose fields are a value of each time plus a pattern."""
    pattern = np.random.default_rng(1).normal(size=GRID.shape)
    with StoreWriter(path, spec) as writer:
        for block in writer.blocks():
            writer.write_times(block, (values[block, None, None] + pattern)[:, None])
        return writer.finalise()


def series(time: np.ndarray, step: str, calendar: str, **changes: object) -> StoreSpec:
    spec = StoreSpec(
        grid=GRID,
        channels=(variable("t2m"),),
        time=time,
        time_step=step,
        split=["train"] * len(time),
        title="Series",
        source="a test",
        configuration="",
        calendar=calendar,
    )
    return replace(spec, **changes)


@pytest.mark.parametrize("calendar", NAMES)
@pytest.mark.parametrize(("step", "n"), [("6h", 300), ("1d", 90), ("1mo", 40), ("45s", 9)])
def test_a_store_gives_its_times_back_and_shows_the_dates_of_its_calendar(
    tmp_path: Path, calendar: str, step: str, n: int
) -> None:
    time = dates(step, "2000-02-01T00", n, calendar)
    path = written(tmp_path / "s.zarr", series(time, step, calendar), np.arange(n) % 7.0)
    store = Store(path)
    assert store.time_step == TimeStep.parse(step, calendar)
    np.testing.assert_array_equal(store.time, time)
    assert store.n_before.tolist() == list(range(n))
    with xr.open_zarr(path, consolidated=False, chunks=None) as data:
        decoded = data.time.values
    if calendar == "proleptic_gregorian":
        np.testing.assert_array_equal(decoded, time)
    else:
        np.testing.assert_array_equal(decoded, Calendar.parse(calendar).to_cftime(time))
    with netCDF4.Dataset(export_netcdf(path, tmp_path / "s.nc")) as file:
        variable = file["time"]
        exported = cftime.num2date(variable[:], variable.units, variable.calendar)
    assert [str(t) for t in exported] == [str(t) for t in Calendar.parse(calendar).to_cftime(time)]


def test_reports_show_dates_of_the_calendar_and_gaps(tmp_path: Path) -> None:
    time = np.delete(dates("1d", "2001-02-29", 9, "360_day"), [4, 5])
    store = Store(written(tmp_path / "s.zarr", series(time, "1d", "360_day"), np.arange(7.0) % 3))
    assert store.describe(1) == "2001-02-30T00:00:00"
    assert "2001-02-29 to 2001-03-07, 7 times, one every 1d with 1 gap, calendar 360_day" in (
        describe(store.path)
    )


def test_a_store_without_a_calendar_is_proleptic_gregorian(tmp_path: Path) -> None:
    time = dates("1d", "2001-02-27", 5, "standard")
    spec = series(time, "1d", "standard")
    with StoreWriter(tmp_path / "s.zarr", spec) as writer:
        for block in writer.blocks():
            writer.write_times(block, np.random.default_rng(0).normal(size=(5, 1, *GRID.shape)))
        del writer.group[layout.TIME].attrs["calendar"]
        writer.finalise()
    store = Store(tmp_path / "s.zarr")
    np.testing.assert_array_equal(store.time, time)
    assert store.time_step == TimeStep.parse("1d")


@pytest.mark.parametrize("calendar", NAMES)
def test_a_copy_by_xarray_has_the_same_times(tmp_path: Path, calendar: str) -> None:
    time = dates("6h", "2001-02-27T06", 50, calendar)
    path = written(tmp_path / "s.zarr", series(time, "6h", calendar), np.arange(50.0) % 7)
    with xr.open_zarr(path, consolidated=False, chunks=None) as data:
        copy = data.load().drop_encoding()
    copy.to_zarr(tmp_path / "copy.zarr", zarr_format=3, consolidated=False)
    store = Store(tmp_path / "copy.zarr")
    np.testing.assert_array_equal(store.time, time)
    assert store.time_step == TimeStep.parse("6h", calendar)


def test_windows_never_cross_a_gap_or_the_edge_of_a_split(tmp_path: Path) -> None:
    time = np.delete(dates("6h", "2001-02-27", 14, "noleap"), [4, 5, 9])
    split = ["train"] * 6 + ["validation"] * 3 + ["", "train"]
    store = Store(
        written(tmp_path / "s.zarr", series(time, "6h", "noleap", split=split), np.arange(11.0))
    )
    # Times 0-3, 4-6 and 7-10 follow each other; the edges of the splits are at 6, 9 and 10.
    assert store.n_before.tolist() == [0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3]
    assert store.windows("train", 1)[:, 0].tolist() == [0, 1, 2, 4]
    assert store.windows("train", 1, 2)[:, 0].tolist() == [2]
    assert store.windows("validation", 1)[:, 0].tolist() == [7]
    assert store.windows("train", 0)[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 10]
    with pytest.raises(ValueError, match="no 5 consecutive states"):
        store.windows("train", 4)


def test_windows_of_trajectories_never_cross_a_gap(tmp_path: Path) -> None:
    time = np.delete(dates("1d", "2001-02-29", 8, "360_day"), 3)
    spec = series(
        time, "1d", "360_day", split=["test", "train", "train"],
        trajectories=Trajectories(np.arange(3), ("member",) * 3),
    )  # fmt: skip
    with StoreWriter(tmp_path / "s.zarr", spec) as writer:
        for index in writer.missing:
            values = np.random.default_rng(index).normal(size=(7, 1, *GRID.shape))
            writer.write_trajectory(index, values)
        writer.finalise()
    starts = Store(tmp_path / "s.zarr").windows("train", 1, 1)
    assert starts.tolist() == [[i, s] for i in (1, 2) for s in (1, 4, 5)]


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=25),
    st.lists(st.sampled_from(["train", "test"]), min_size=26, max_size=26),
    st.integers(0, 3),
    st.integers(0, 2),
    st.sampled_from(NAMES),
)
def test_windows_are_all_runs_of_consecutive_times_of_a_split(
    intervals: list[int], split: list[str], n_steps: int, n_history: int, calendar: str
) -> None:
    step = TimeStep.parse("1d", calendar)
    start = np.array([step.calendar.period("2000-02-25")[0]])
    days = np.cumsum([0, *intervals])
    store = object.__new__(Store)
    store.path, store.time_step, store.has_trajectories = Path("s.zarr"), step, False
    store.time = np.concatenate([step.advance(start, int(d)) for d in days])
    store.split = np.array(split[: len(days)])
    expected = [
        i
        for i in range(n_history, len(days) - n_steps)
        if days[i + n_steps] - days[i - n_history] == n_steps + n_history
        and set(split[i - n_history : i + n_steps + 1]) == {"train"}
    ]
    if expected:
        assert store.windows("train", n_steps, n_history)[:, 0].tolist() == expected
    else:
        with pytest.raises(ValueError):
            store.windows("train", n_steps, n_history)


def test_one_step_differences_do_not_cross_gaps(tmp_path: Path) -> None:
    step = TimeStep.parse("1d", "noleap")
    time = np.delete(dates("1d", "2000-02-20", 30, "noleap"), np.arange(10, 20))
    # Steps of one within each part, and a leap of 500 between them.
    values = np.concatenate([np.arange(10) % 2, 500 + np.arange(10) % 2]).astype(float)
    assert (~step.consecutive(time)).sum() == 1
    store = Store(written(tmp_path / "s.zarr", series(time, "1d", "noleap"), values))
    assert store.statistics[layout.STD_STEP].item() == pytest.approx(1, rel=0.02)
    assert store.statistics[layout.STD].item() > 200


def test_differences_of_anomalies_do_not_cross_gaps(tmp_path: Path) -> None:
    time = np.concatenate([dates("1mo", first, 24, "360_day") for first in ("2001", "2011")])
    values = np.concatenate([np.arange(24) % 2, 500 + np.arange(24) % 2]).astype(float)
    store = Store(written(tmp_path / "s.zarr", series(time, "1mo", "360_day"), values))
    assert store.statistics[layout.CLIMATOLOGY_STD].item() == pytest.approx(250, rel=1e-3)
    assert store.statistics[layout.CLIMATOLOGY_STD_STEP].item() < 1e-3


def test_a_climatology_has_no_jump_at_the_end_of_february_in_a_leap_year() -> None:
    monthly = torch.arange(12.0).reshape(12, 1, 1, 1)
    for name in NAMES:
        step = TimeStep.parse("6h", name)
        march = np.array([step.calendar.period("2000-03-01")[0]])
        times = np.concatenate([step.advance(march, -1), march])
        before, after = Climatology(monthly, step).at(times).flatten().tolist()
        assert 0 < after - before < 0.02
        assert after == 1.5


def test_the_number_of_linked_elements_before_each_one() -> None:
    linked = np.array([True, True, False, True])
    assert reader._n_before(linked).tolist() == [0, 1, 2, 0, 1]
    assert reader._n_before(linked[:0]).tolist() == [0]
