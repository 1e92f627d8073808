"""Forcings, packages and the climatology of a model in other calendars."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from configs.time.calendar import Calendar
from configs.time.step import TimeStep
from data_prep.store.reader import Store
from forecast.model.forcing import forcing_fields
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package, save_package
from forecast.model.state import State
from sphere_ops.grid import Grid
from tests.forecast.small_run import config

NAMES = ("proleptic_gregorian", "noleap", "360_day")
GRID = Grid.legendre_gauss(12, 24)


def at(calendar: Calendar, *texts: str) -> np.ndarray:
    return np.array([calendar.period(text)[0] for text in texts])


@pytest.mark.parametrize("name", NAMES)
def test_the_sun_is_over_the_noon_meridian_of_the_clock(name):
    calendar = Calendar.parse(name)
    # Near 15 April the equation of time vanishes. The hour is 0, 6, 12 and 18 on any day.
    days = ("2000-02-28", "2000-04-16")
    times = at(calendar, *(f"{day}T{hour}" for day in days for hour in ("00", "06", "12", "18")))
    light = forcing_fields(["insolation"], times, GRID, calendar)[:, 0]
    brightest = light[:, GRID.nlat // 2].argmax(-1) * 360 / GRID.nlon
    assert brightest.tolist() == pytest.approx(2 * [180, 90, 0, 270], abs=7.5)


@pytest.mark.parametrize("name", NAMES)
def test_the_season_is_the_fraction_of_the_calendar_s_own_year(name):
    calendar = Calendar.parse(name)
    turn = forcing_fields(
        ["sin_year", "cos_year"], at(calendar, "2000-01", "2001-01"), GRID, calendar
    )
    torch.testing.assert_close(turn[:, 0], torch.zeros_like(turn[:, 0]))
    torch.testing.assert_close(turn[:, 1], torch.ones_like(turn[:, 1]))
    if name == "360_day":
        quarter = forcing_fields(["sin_year"], at(calendar, "2000-04-01"), GRID, calendar)
        torch.testing.assert_close(quarter, torch.ones_like(quarter))
    daily = forcing_fields(
        ["daily_insolation"], at(calendar, "2000-06-21", "2000-12-21"), GRID, calendar
    )
    north, south = daily[:, 0, 0, 0], daily[:, 0, -1, 0]
    assert north[0] > 0.35 and south[0] == 0 and north[1] == 0 and south[1] > 0.35


def test_a_package_keeps_its_calendar(make_store, tmp_path):
    store = Store(make_store(tmp_path / "s.zarr", "files", time_step="1d"))
    store.time_step = TimeStep.parse("1d", "noleap")
    forecaster = Forecaster.from_store(config().model, store)
    save_package(forecaster, tmp_path / "package", rollout=config().rollout)
    assert load_package(tmp_path / "package").time_step == store.time_step


def test_a_step_advances_in_the_calendar_that_is_used(make_store, tmp_path):
    store = Store(make_store(tmp_path / "s.zarr", "files", time_step="1d"))
    forecaster = Forecaster.from_store(config({"forcing": ["sin_year"]}).model, store).eval()
    calendar = Calendar.parse("noleap")
    state = State(store.state(0)[None], at(calendar, "2000-02-28"))
    assert forecaster.step(state).time[0] == np.datetime64("2000-02-29")
    forecaster.use_calendar(calendar)
    assert forecaster.step(state).time[0] == np.datetime64("2000-03-01")
    assert forecaster.time_step == replace(store.time_step, calendar=calendar)
    assert forecaster.on_grid(Grid.legendre_gauss(12, 24)).time_step.calendar == calendar
