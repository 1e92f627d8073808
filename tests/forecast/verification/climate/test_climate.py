"""The command on forecast files and stores: what is compared with what, files, tables, errors."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from data_prep.store.reader import Store
from forecast.cli.main import main
from forecast.verification.climate.climate import climate
from forecast.verification.climate.report import markdown, table
from tests.forecast.verification.climate.worlds import (
    START,
    red_climate,
    times,
    write_forecast,
    write_store,
)

N = 400  # 100 days, in four months
STARTS = np.array(["2000-01-01", "2000-02-01", "2000-03-01", "2000-04-01"], dtype="M8[ns]")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("climate") / "store.zarr", red_climate(0, N))


def ratio(data: xr.Dataset, measure: str, quantity: str = "z500") -> float:
    chosen = (data.measure == measure) & (data.quantity == quantity)
    return float(data.ratio.values[chosen.values].item())


def test_the_truth_itself_is_at_no_distance(store, tmp_path):
    states = np.asarray(Store(store).states(0, 0, N))
    path = write_forecast(tmp_path / "f.nc", states[None])
    data = climate(path, store, tmp_path / "c.nc")
    assert data.attrs["forecast_states"] == N - 1  # without the initial state
    mean = states[1:].astype(np.float64).mean(0)
    np.testing.assert_allclose(data.time_mean.sel(source="forecast"), mean, rtol=1e-12)
    assert data.ratio.sel(comparison=data.measure == "mean").max() < 0.1
    assert np.isfinite(data.ratio.sel(comparison=data.measure == "mean")).all()


def test_the_mean_of_the_truth_is_that_of_all_of_its_times_or_of_a_split(store, tmp_path):
    fields = np.stack([red_climate(s, 20) for s in range(4)])
    path = write_forecast(tmp_path / "f.nc", fields, starts=STARTS)
    states = np.asarray(Store(store).states(0, 0, N)).astype(np.float64)
    for split, expected in ((None, states), ("test", states[300:])):
        data = climate(path, store, tmp_path / f"{split}.nc", split=split)
        found = data.time_mean.sel(source="truth")
        np.testing.assert_allclose(found, expected.mean(0), rtol=1e-12)


def test_members_are_realisations_like_forecasts(store, tmp_path):
    fields = np.stack([red_climate(s, 50) for s in range(4)])
    alone = climate(write_forecast(tmp_path / "a.nc", fields), store, tmp_path / "ca.nc")
    path = write_forecast(tmp_path / "m.nc", fields, members=2)
    members = climate(path, store, tmp_path / "cm.nc")
    assert members.attrs["forecast_runs"] == 4
    for name in ("time_mean", "variance", "histogram", "variance_24h", "global_trend", "ratio"):
        xr.testing.assert_allclose(members[name], alone[name], rtol=1e-12)


def test_what_follows_the_end_of_a_forecast_is_left_out(store, tmp_path):
    fields = np.stack([red_climate(s, 50) for s in range(2)])
    broken = fields.copy()
    broken[1, 31:] = np.nan
    path = write_forecast(tmp_path / "f.nc", broken, ended={1: 30})
    data = climate(path, store, tmp_path / "c.nc")
    assert data.attrs["forecast_states"] == 49 + 30
    states = np.concatenate([fields[0, 1:], fields[1, 1:31]]).astype(np.float32)
    expected = states.astype(np.float64).var(0)
    np.testing.assert_allclose(data.variance.sel(source="forecast"), expected, rtol=1e-12)


def test_a_spin_up_is_left_out(store, tmp_path):
    fields = np.stack([red_climate(s, 40) for s in range(4)])
    path = write_forecast(tmp_path / "f.nc", fields, starts=STARTS)
    data = climate(path, store, tmp_path / "c.nc", spinup="5d")
    expected = fields[:, 21:].astype(np.float32).astype(np.float64).mean((0, 1))
    np.testing.assert_allclose(data.time_mean.sel(source="forecast"), expected, rtol=1e-12)
    assert data.attrs["truth_states"] == N  # a series has no spin-up


def test_trajectories_are_realisations_of_the_truth(make_store, tmp_path):
    from forecast.inference.forecast import run_rollout
    from tests.forecast.stand_in import Turning

    path = make_store(tmp_path / "s.zarr", n_trajectories=8, n_times=30)
    run_rollout(Turning(path), path, tmp_path / "f.nc", split="train", n_steps=40)
    data = climate(tmp_path / "f.nc", path, tmp_path / "c.nc", spinup="4h")
    assert data.attrs["truth_runs"] == 8
    assert data.attrs["truth_states"] == 8 * (30 - 4)
    states = Store(path).states(3, 4, 26)[:, 0].double()
    assert data.maximum.sel(source="truth", channel="geopotential") >= float(states.max())
    assert set(data.budget.values) == {"mass", "energy", "potential_enstrophy"}


def test_the_truth_is_thinned_to_the_interval_of_the_forecast(store, tmp_path):
    fields = np.stack([red_climate(s, 20) for s in range(4)])
    path = write_forecast(tmp_path / "f.nc", fields, starts=STARTS, every=2)
    data = climate(path, store, tmp_path / "c.nc")
    assert data.attrs["time_step"] == "12h"
    assert data.attrs["truth_states"] == N // 2


def test_a_short_forecast_is_compared_with_its_own_months(tmp_path):
    path = write_store(tmp_path / "s.zarr", red_climate(0, 450), time_step="1d")
    forecast = write_forecast(tmp_path / "f.nc", red_climate(1, 50)[None], time_step="1d")
    data = climate(forecast, path, tmp_path / "c.nc")
    time = times(450, "1d")
    inside = time.astype("M8[M]").astype(int) % 12 < 2
    assert data.attrs["truth_states"] == inside.sum()
    assert "the forecast covers the months 1, 2" in data.attrs["notes"]


@pytest.mark.parametrize("calendar", ["standard", "360_day"])
def test_monthly_fields_with_a_mask_in_every_calendar(calendar, tmp_path):
    mask = np.ones((1, 8, 16), dtype=bool)
    mask[0, 3:5, 2:7] = False
    n = 144
    month = times(n, "1mo", calendar).astype("M8[M]").astype(int) % 12
    cycle = 3 * np.cos(2 * np.pi * (month + 0.5) / 12)[:, None, None, None]
    options = {"names": ["sst"], "time_step": "1mo", "calendar": calendar}
    truth = np.where(mask, red_climate(0, n, 1) + cycle, np.nan)
    path = write_store(tmp_path / "s.zarr", truth, mask=mask, **options)
    states = np.where(mask, red_climate(1, n, 1) + cycle, np.nan)[None]
    data = climate(write_forecast(tmp_path / "f.nc", states, **options), path, tmp_path / "c.nc")
    amplitude = data.cycle_amplitude.sel(channel="sst").values
    np.testing.assert_array_equal(np.isfinite(amplitude), np.broadcast_to(mask, amplitude.shape))
    assert abs(np.nanmean(amplitude) - 3) < 0.3
    assert np.isfinite(data.global_trend).all()
    assert data.attrs["trend_unit"] == "year"
    assert "band-pass variance: left out, states 1mo apart" in data.attrs["notes"]
    assert "variance_2_6d" not in data
    assert 0.3 < ratio(data, "annual_cycle", "sst") < 3
    assert np.isfinite(ratio(data, "power", "sst"))  # of departures from the training mean


def test_the_command_prints_a_table_and_writes_a_file_and_a_summary(store, tmp_path, capsys):
    path = write_forecast(tmp_path / "f.nc", red_climate(1, 200)[None] + 5)
    with pytest.raises(SystemExit) as end:
        main(["climate", str(path), "--data", str(store), "--out", str(tmp_path / "c.nc")])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert "z500" in printed and "variance_24h" in printed and "*" in printed
    data = xr.open_dataset(tmp_path / "c.nc")
    assert table(data) in printed
    assert (tmp_path / "c.md").read_text() == markdown(data)
    assert data.attrs["Conventions"] == "CF-1.8"
    assert all("long_name" in v.attrs for v in data.variables.values())
    assert all(v.dtype != np.int64 for v in data.variables.values())  # unknown to CF 1.8
    assert ratio(data, "mean") > 5
    chosen = (data.measure == "mean") & (data.quantity == "z500")
    row = data.isel(comparison=int(np.flatnonzero(chosen)[0]))
    assert f"| {row.distance.item():.3g} m2 s-2 |" in markdown(data)
    data.close()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"spinup": "30d"}, "0 lead times after a spin-up of 30d"),
        ({"spinup": "1mo"}, "a spin-up of 1mo and steps of 6h: write it as 10d"),
        ({"spinup": "soon"}, "'soon' is not a positive whole number and a unit"),
        ({"split": "tset"}, "nothing in split 'tset'"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(store, tmp_path, fault, message):
    path = write_forecast(tmp_path / "f.nc", red_climate(1, 60)[None])
    with pytest.raises(ValueError, match=message):
        climate(path, store, tmp_path / "c.nc", **fault)
    assert not (tmp_path / "c.nc").exists()


def test_nothing_is_overwritten(store, tmp_path):
    path = write_forecast(tmp_path / "f.nc", red_climate(1, 20)[None])
    (tmp_path / "c.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"c\.md exists"):
        climate(path, store, tmp_path / "c.nc")
    assert (tmp_path / "c.md").read_text() == "mine"


def test_starts_in_all_months_make_a_climate_of_all_months(tmp_path):
    path = write_store(tmp_path / "s.zarr", red_climate(0, 400), time_step="1d")
    starts = np.array([START + np.timedelta64(91 * i, "D") for i in range(4)])
    fields = np.stack([red_climate(s, 95) for s in range(4)])
    forecast = write_forecast(tmp_path / "f.nc", fields, time_step="1d", starts=starts)
    data = climate(forecast, path, tmp_path / "c.nc")
    assert "monthly_mean" in data
    assert data.attrs["truth_states"] == 400
