"""Forecasts in the layout of WeatherBench 2: names, dims and values that its tools read."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from configs.time.step import TimeStep
from configs.variables import variable
from forecast.inference.forecast import run_rollout
from forecast.inference.output.options import OutputOptions
from forecast.inference.output.weatherbench2 import long_name
from tests.forecast.stand_in import Turning

CHANNELS = ("z500", "t500", "z850", "t850", "u850", "v850", "t2m", "tp", "sst")
LAYOUT = OutputOptions(layout="weatherbench2", derive=("wind_speed",))
AT = ["2000-01-02T00", "2000-01-03T12"]


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    path = tmp_path_factory.mktemp("weatherbench2") / "store.zarr"
    return make_store(path, "files", channels=CHANNELS, time_step="6h", n_times=40)


def opened(path) -> xr.Dataset:
    return xr.open_zarr(path, chunks=None) if path.suffix == ".zarr" else xr.open_dataset(path)


@pytest.mark.parametrize(("suffix", "members"), [("zarr", None), ("nc", 2)])
def test_a_forecast_has_the_names_and_dims_of_weatherbench2(store, tmp_path, suffix, members):
    path, ours = tmp_path / f"wb.{suffix}", tmp_path / "ours.nc"
    models = [Turning(store, factor) for factor in (1.0, 0.9)[: members or 1]]
    for file, output in ((path, LAYOUT), (ours, OutputOptions(derive=("wind_speed",)))):
        run_rollout(models, store, file, init_times=AT, n_steps=4, every=2, output=output)
    with opened(path) as found, xr.open_dataset(ours) as expected:
        number = ("number",) if members else ()
        surface = ("time", *number, "prediction_timedelta", "latitude", "longitude")
        assert found["2m_temperature"].dims == surface
        assert found.temperature.dims == (*surface[:-2], "level", *surface[-2:])
        assert set(found.data_vars) == {
            "geopotential", "temperature", "u_component_of_wind", "v_component_of_wind",
            "wind_speed", "2m_temperature", "total_precipitation_6hr", "sea_surface_temperature",
        }  # fmt: skip
        np.testing.assert_array_equal(found.time, np.array(AT, dtype="M8[ns]"))
        assert found.time.dtype.kind == "M"
        hours = found.prediction_timedelta.values / np.timedelta64(1, "h")
        assert hours.tolist() == [0, 12, 24]
        assert found.level.values.tolist() == [500, 850]
        assert (np.diff(found.latitude) > 0).all()
        assert float(found.longitude[0]) == 0
        renamed = {"init_time": "time", "lead_time": "prediction_timedelta", "member": "number"}
        expected = expected.rename({k: v for k, v in renamed.items() if k in expected.dims})
        expected = expected.sortby("latitude")
        for level in (500, 850):
            at = found.sel(level=level)
            np.testing.assert_array_equal(at.temperature, expected[f"t{level}"])
            np.testing.assert_array_equal(at.geopotential, expected[f"z{level}"])
        np.testing.assert_array_equal(found.wind_speed.sel(level=850), expected.ws850)
        assert found.u_component_of_wind.sel(level=500).isnull().all()  # not a channel
        np.testing.assert_array_equal(found["2m_temperature"], expected.t2m)
        kelvin = found.sea_surface_temperature
        assert kelvin.units == "K"
        np.testing.assert_allclose(kelvin, expected.sst + 273.15, rtol=1e-6)


@pytest.mark.parametrize("suffix", ["zarr", "nc"])
def test_weatherbench_x_selects_forecasts_of_both_layouts(store, tmp_path, suffix):
    # What PredictionsFromXarray does: open, rename unless rename_dimensions is None, select.
    opened_so = {"weatherbench2": {"time": "init_time", "prediction_timedelta": "lead_time"}}
    init_times, lead_times = (
        np.array(AT[1:], "M8[ns]"),
        np.array([12, 24], "m8[h]").astype("m8[ns]"),
    )
    selected = []
    for name, output in (("weatherbench2", LAYOUT), ("ours", OutputOptions())):
        path = tmp_path / f"{name}.{suffix}"
        run_rollout(Turning(store), store, path, init_times=AT, n_steps=4, output=output)
        with opened(path) as file:
            renamed = file.rename(opened_so.get(name, {}))
            chunk = renamed.sel(init_time=init_times, lead_time=lead_times)
            selected.append(chunk.sortby("latitude").load())
    theirs, ours = selected
    assert ours.t2m.dims == ("init_time", "lead_time", "latitude", "longitude")
    np.testing.assert_array_equal(theirs["2m_temperature"], ours.t2m)


def test_amounts_are_named_by_their_period():
    names = {step: long_name(variable("tp"), TimeStep.parse(step)) for step in ("6h", "1d", "5h")}
    assert names == {
        "6h": ("total_precipitation_6hr", None),
        "1d": ("total_precipitation_24hr", None),
        "5h": ("total_precipitation", None),
    }
    assert long_name(variable("q700"), TimeStep.parse("6h")) == ("specific_humidity", 700)
    assert long_name(variable("u10"), TimeStep.parse("6h")) == ("10m_u_component_of_wind", None)


def test_what_has_no_place_in_the_layout_is_refused(make_store, tmp_path):
    trajectories = make_store(tmp_path / "trajectories.zarr")
    monthly = make_store(tmp_path / "monthly.zarr", "files")
    layout = OutputOptions(layout="weatherbench2")
    with pytest.raises(ValueError, match="these are from trajectories; leave out --layout"):
        run_rollout(Turning(trajectories), trajectories, tmp_path / "f.nc", output=layout)
    with pytest.raises(ValueError, match="time step is 1mo; leave out --layout"):
        run_rollout(Turning(monthly), monthly, tmp_path / "f.nc", output=layout)
    assert not list(tmp_path.glob("*f.nc*"))
