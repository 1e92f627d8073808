import numpy as np
import pytest
import torch

from sphere_ops.grid import Grid
from sphere_ops.insolation import SOLAR_CONSTANT, insolation
from sphere_ops.parallel.fields import area_mean

GRID = Grid.legendre_gauss(48, 96)
SOLSTICE = np.array(["2001-06-21T12:00", "2001-12-21T12:00"], dtype="datetime64[ns]")


def test_global_mean_is_a_quarter_of_the_solar_constant_over_the_distance_squared():
    time = np.array(["2001-01-03T07:00", "2001-07-05T15:00"], dtype="datetime64[ns]")
    mean = area_mean(insolation(time, GRID), GRID)
    # The perihelion is at 0.9833, the aphelion at 1.0167 mean distances.
    expected = SOLAR_CONSTANT / 4 / torch.tensor([0.9833, 1.0167], dtype=torch.float64) ** 2
    torch.testing.assert_close(mean, expected, rtol=1e-3, atol=0)


def test_daily_mean_is_the_mean_over_the_day():
    grid = Grid.equiangular(13, 8)
    hours = np.datetime64("2001-05-04", "ns") + np.arange(96) * np.timedelta64(15, "m")
    mean = insolation(hours, grid).mean(0)
    middle = np.array(["2001-05-04T12:00"], dtype="datetime64[ns]")
    # The Sun moves by 0.005 rad in the day that the daily mean holds fixed; most at the poles.
    torch.testing.assert_close(insolation(middle, grid, daily_mean=True)[0], mean, rtol=0, atol=1.5)


def test_poles_see_the_sun_all_day_in_their_summer_and_never_in_their_winter():
    daily = insolation(SOLSTICE, Grid.equiangular(7, 8), daily_mean=True)
    assert (daily[0, 0] > 500).all() and (daily[1, -1] > 500).all()
    assert (daily[1, 0] == 0).all() and (daily[0, -1] == 0).all()


def test_the_sun_is_highest_at_noon_of_the_place():
    time = np.array(["2001-04-15T00:00", "2001-04-15T06:00"], dtype="datetime64[ns]")  # no lag
    brightest = insolation(time, GRID)[:, 24].argmax(-1)
    longitude = GRID.longitude[brightest]
    assert longitude.tolist() == pytest.approx([180.0, 90.0], abs=360 / 96)


def test_a_given_fraction_of_the_year_replaces_that_of_the_date():
    time = np.array(["2001-06-21T15:00", "2001-12-21T03:00"], dtype="datetime64[ns]")
    year = time.astype("M8[Y]")
    fraction = np.asarray((time - year) / np.timedelta64(365, "D"))
    clock = time - time.astype("M8[D]") + np.datetime64("1970-01-01", "ns")
    for daily_mean in (False, True):
        expected = insolation(time, GRID, daily_mean)
        found = insolation(clock, GRID, daily_mean, year_fraction=fraction)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-9)
