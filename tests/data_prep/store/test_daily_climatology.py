"""Climatology by day of the year and hour of the day, against its definition in WeatherBench 2."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from configs.time.calendar import Calendar
from configs.variables import variable
from data_prep.store.climatology import DailyClimatology
from data_prep.store.gather import daily
from data_prep.store.spec import StoreSpec
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

GRID = Grid.cell_centred(3, 4)


def write(path: Path, time: np.ndarray, values: np.ndarray, window: int, **changes: object) -> Path:
    spec = StoreSpec(
        grid=GRID, channels=(variable("sst"),), time_step="12h", title="t", time=time, source="s",
        configuration="", split=["train"] * len(time), climatology_window=window,
        **changes,  # type: ignore[arg-type]
    )  # fmt: skip
    with StoreWriter(path, spec) as writer:
        for times in writer.blocks():
            writer.write_times(times, values[times])
        return writer.finalise()


def definition(time: np.ndarray, values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean with a triangular window over days and years, (day, hour, ...)."""
    half = window // 2
    weights = np.concatenate([np.linspace(0, 1, half + 1), np.linspace(1, 0, half + 1)[1:]])
    index = pd.DatetimeIndex(time)
    years = np.unique(index.year)
    stacked = np.full((len(years), 366, 2, *values.shape[1:]), np.nan)
    for t, when in enumerate(index):
        stacked[when.year - years[0], when.day_of_year - 1, when.hour // 12] = values[t]
    short = ~pd.DatetimeIndex([f"{year}-01-01" for year in years]).is_leap_year
    stacked[short, 365] = stacked[short, 364]
    padded = np.concatenate([stacked[:, -half:], stacked, stacked[:, :half]], axis=1)
    windows = np.stack([padded[:, k : k + 366] for k in range(window)])
    there = np.isfinite(windows)
    weighted = np.einsum("k,kyd...->d...", weights, np.nan_to_num(windows))
    return weighted / np.einsum("k,kyd...->d...", weights, there.astype(float))


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(0, id="days read again", marks=pytest.mark.slow),
        pytest.param(2**28, id="days kept"),
    ],
)
def test_a_daily_climatology_is_that_of_weatherbench_2(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daily, "_HELD_BYTES", held)
    time = np.datetime64("2003-01-01T00", "h") + 12 * np.arange(2 * 731)  # 2004 is a leap year
    values = np.random.default_rng(0).normal(280, 5, (len(time), 1, *GRID.shape)).astype("f4")
    path = write(tmp_path / "s.zarr", time, values, window=61)
    store = xr.open_zarr(path, consolidated=False, chunks=None)
    assert store.daily_climatology.dims == (
        "dayofyear", "hour", "channel", "latitude", "longitude",
    )  # fmt: skip
    assert store.hour.values.tolist() == [0, 12]
    assert "climatology" in store  # by month, for models
    expected = definition(time, values.astype("f8"), 61)
    np.testing.assert_allclose(store.daily_climatology, expected, rtol=1e-6)  # float32

    climatology = DailyClimatology(path)
    leap, other = np.array(["2004-02-29T12", "2004-12-31"], "M8[ns]"), np.array(["2005-03-01"])
    found = climatology.at(np.concatenate([leap, other.astype("M8[ns]")]))
    np.testing.assert_allclose(found[:, 0], expected[[59, 365, 59], [1, 0, 0], 0], rtol=1e-6)
    rows = DailyClimatology(path, slice(1, 3)).at(leap)
    np.testing.assert_array_equal(rows, found[:2, :, 1:])
    with pytest.raises(ValueError, match="climatology of the hours 0, 12, and 6 h is asked for"):
        climatology.at(np.array(["2004-01-01T06"], "M8[ns]"))


@pytest.mark.parametrize(("calendar", "n_days"), [("noleap", 365), ("360_day", 360)])
def test_other_calendars_have_their_own_days(calendar: str, n_days: int, tmp_path: Path) -> None:
    of = Calendar.parse(calendar)
    start = of.elapsed(np.array("2003-01-01", "M8[ns]"))
    time = of.times(start + np.arange(2 * n_days) * 86400 * 10**9)
    day = np.arange(2 * n_days) % n_days
    values = np.broadcast_to(day[:, None, None, None], (2 * n_days, 1, *GRID.shape))
    path = write(tmp_path / "s.zarr", time, values.astype("f4"), window=3, calendar=calendar)
    store = xr.open_zarr(path, consolidated=False, chunks=None, decode_times=False)
    assert store.sizes["dayofyear"] == n_days
    np.testing.assert_allclose(store.daily_climatology[:, 0, 0, 0, 0], np.arange(n_days), atol=1e-4)
    found = DailyClimatology(path).at(time[[58, 59, n_days]])
    np.testing.assert_allclose(found[:, 0, 0, 0], [58, 59, 0], atol=1e-4)


@pytest.mark.parametrize(("time_step", "window"), [("1mo", 61), ("1d", 60)])
def test_a_climatology_by_day_of_monthly_means_or_an_even_window_is_refused(
    time_step: str, window: int
) -> None:
    with pytest.raises(ValueError, match="an odd number of days: set data.climatology.by=month"):
        StoreSpec(
            grid=GRID, channels=(variable("sst"),), time_step=time_step, title="t", source="s",
            time=np.arange("2001-01", "2003-01", dtype="M8[M]"), configuration="",
            split=["train"] * 24, climatology_window=window,
        )  # fmt: skip
