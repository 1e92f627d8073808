"""Diagnostics of fields whose climate is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.verification.climate.diagnostics.annual_cycle import AnnualCycle
from forecast.verification.climate.diagnostics.band_pass import BandPass, band_pass_weights
from forecast.verification.climate.diagnostics.blocking import Blocking
from forecast.verification.climate.diagnostics.budgets import Budgets
from forecast.verification.climate.diagnostics.day_difference import DayDifference
from forecast.verification.climate.diagnostics.degree_spectra import DegreeSpectra
from forecast.verification.climate.diagnostics.histograms import Histograms
from forecast.verification.climate.diagnostics.wavenumber_frequency import WavenumberFrequency
from sphere_ops.grid import Grid
from tests.forecast.verification.climate.worlds import GRID, feed, setting, times

FINE = Grid.legendre_gauss(32, 64)
ONE = ("z500",)
RADIUS = 6.37122e6


def oscillation(days: float, n: int = 800, amplitude: float = 3.0) -> np.ndarray:
    """Return six-hourly states of one frequency, the same everywhere, (n, 1, nlat, nlon)."""
    phase = 2 * np.pi * np.arange(n) / 4 / days
    return np.broadcast_to(amplitude * np.cos(phase)[:, None, None, None], (n, 1, *GRID.shape))


def test_24_hour_differences_have_their_transfer_function():
    for days in (2.0, 4.0, 10.0):
        result = feed(DayDifference, setting(ONE), oscillation(days)).result([0])
        # The variance A²/2 times 1 − cos(2π f 24 h); sums over broken periods deviate a little.
        expected = 4.5 * (1 - np.cos(2 * np.pi / days))
        np.testing.assert_allclose(result["variance_24h"], expected, rtol=0.02)


@pytest.mark.parametrize(
    ("days", "kept"), [(3.0, (0.95, 1.1)), (4.0, (0.9, 1.1)), (20.0, (0, 0.01)), (1.0, (0, 0.01))]
)
def test_the_band_pass_keeps_periods_of_2_to_6_days(days, kept):
    result = feed(BandPass, setting(ONE), oscillation(days)).result([0])["variance_2_6d"]
    assert kept[0] <= result.min() / 4.5 and result.max() / 4.5 <= kept[1]


def test_the_band_pass_is_the_convolution_of_the_whole_series():
    series = np.random.default_rng(0).normal(size=300)
    fields = np.broadcast_to(series[:, None, None, None], (300, 1, *GRID.shape))
    result = feed(BandPass, setting(ONE), fields, cuts=range(7, 300, 13)).result([0])
    filtered = np.convolve(series, band_pass_weights(0.25), "valid")
    np.testing.assert_allclose(result["variance_2_6d"], (filtered**2).mean(), rtol=1e-12)


def test_hourly_states_are_averaged_over_six_hours_before_the_band_pass():
    series = np.random.default_rng(0).normal(size=1200).cumsum()
    fields = np.broadcast_to(series[:, None, None, None], (1200, 1, *GRID.shape))
    result = feed(BandPass, setting(ONE, time_step="1h"), fields, cuts=[5, 100, 777]).result([0])
    averaged = series.reshape(-1, 6).mean(1)
    filtered = np.convolve(averaged, band_pass_weights(0.25), "valid")
    np.testing.assert_allclose(result["variance_2_6d"], (filtered**2).mean(), rtol=1e-9)


@pytest.mark.parametrize("days", [0.25, 0.5, 1.0])
def test_the_band_pass_stops_constants(days):
    assert abs(band_pass_weights(days).sum()) < 1e-14


@pytest.mark.parametrize(
    ("calendar", "time_step", "n"),
    [("standard", "1mo", 48), ("noleap", "1d", 730), ("360_day", "1d", 720)],
)
def test_annual_cycle_has_the_amplitude_and_phase_of_its_harmonic(calendar, time_step, n):
    facts = setting(ONE, time_step=time_step, calendar=calendar, seasonal=True)
    time = times(n, time_step, calendar)
    year = facts.interval.calendar.year_fraction(time)
    if time_step == "1mo":
        year = (time.astype("M8[M]").astype(int) % 12 + 0.5) / 12  # a mean of its month
    latitude = np.radians(GRID.latitude.numpy())[:, None]
    cycle = 5 * np.sin(latitude) * np.cos(2 * np.pi * (year - 0.6))[:, None, None, None]
    result = feed(AnnualCycle, facts, np.broadcast_to(20 + cycle, (n, 1, *GRID.shape))).result([0])
    expected = np.broadcast_to(5 * np.abs(np.sin(latitude)), GRID.shape)
    # Means over months have 0.9886 of the amplitude; months are unequal by 3 %.
    np.testing.assert_allclose(result["cycle_amplitude"][0], expected, rtol=0.02)
    phase = np.where(latitude > 0, 0.6 * 12, 1.2) * np.ones(GRID.shape)
    np.testing.assert_allclose(result["cycle_phase"][0], phase, atol=0.05)
    np.testing.assert_allclose(result["monthly_area_mean"], 20, atol=1e-9)


def test_one_harmonic_has_one_line_of_power_at_its_degree():
    z = np.sin(np.radians(GRID.latitude.numpy()))[:, None]
    harmonic = np.broadcast_to((3 * z**2 - 1) / 2, (5, 1, *GRID.shape))  # P₂, mean square 1/5
    power = feed(DegreeSpectra, setting(ONE), harmonic).result([0])["power"][0]
    np.testing.assert_allclose(power[2], 0.2, rtol=1e-10)
    assert np.delete(power, 2).max() < 1e-12


def test_one_wave_has_one_line_of_power_at_its_wavenumber_and_frequency():
    n = 64
    facts = setting(ONE, FINE, segment=n)
    angle = np.radians(FINE.longitude.numpy())
    for m, cycles in ((3, 8), (5, -4)):  # eastward and westward
        phase = m * angle - 2 * np.pi * cycles * np.arange(160)[:, None] / n
        fields = np.broadcast_to(2 * np.cos(phase)[:, None, None], (160, 1, *FINE.shape))
        found = feed(WavenumberFrequency, facts, fields, cuts=[10, 100])
        power = found.result([0])["wavenumber_frequency_power"][0]
        _, frequency, _ = found.coordinates["frequency"]
        at = int(np.flatnonzero(np.isclose(frequency, cycles * 4 / n))[0])
        for band, expected in ((0, 2.0), (1, 0.0), (2, 2.0), (3, 2.0)):  # A²/2, and no antisymmetry
            np.testing.assert_allclose(power[band].sum(), expected, rtol=1e-2, atol=1e-10)
            np.testing.assert_allclose(power[band, m].sum(), expected, rtol=1e-2, atol=1e-10)
            # A Hann window has 2/3 of the power in the line and 1/6 in each neighbour.
            np.testing.assert_allclose(power[band, m, at], expected * 2 / 3, rtol=1e-2, atol=1e-10)


def test_histograms_have_the_quantiles_and_extremes_of_a_uniform_distribution():
    rng = np.random.default_rng(0)
    fields = rng.uniform(0, 1, (400, 1, *GRID.shape))
    facts = setting(ONE, low=np.zeros(1), high=np.ones(1), segment=16)
    a = feed(Histograms, facts, fields)
    result = a.result([0])
    # The standard error of a quantile of 51,200 values is below 0.0022.
    np.testing.assert_allclose(result["quantile"][0], [0.001, 0.01, 0.5, 0.99, 0.999], atol=7e-3)
    np.testing.assert_allclose(result["histogram"].sum(), 1)
    assert result["maximum"] == fields.max() and result["minimum"] == fields.min()
    largest = fields.reshape(25, 16, -1).max((1, 2)).mean()
    np.testing.assert_allclose(result["segment_maximum"], largest, rtol=1e-12)
    shifted = feed(Histograms, facts, fields + 0.1).result([0])
    np.testing.assert_allclose(a.distance(shifted, result)["histogram"], 0.1, rtol=1e-3)
    np.testing.assert_allclose(a.distance(shifted, result)["upper_tail"], 0.1, rtol=1e-3)


def test_budgets_of_a_state_at_rest():
    names = ("geopotential", "vorticity", "divergence")
    fields = np.zeros((10, 3, *FINE.shape))
    fields[:, 0] = 5e4
    mountain = np.full(FINE.shape, 100.0)
    facts = setting(names, FINE, static={"orography": mountain}, radius=RADIUS)
    budgets = feed(Budgets, facts, fields)
    assert [name for name, _ in budgets.quantities] == ["mass", "energy", "potential_enstrophy"]
    result = budgets.result([0])
    surface = 9.80616 * 100
    phi = 5e4 - surface
    coriolis = 2 * 7.292e-5 * np.sqrt(1 / 3)  # rms of f: the mean of sin² is 1/3
    expected = [phi, phi * surface + phi**2 / 2, coriolis**2 / (2 * phi)]
    np.testing.assert_allclose(result["budget_mean"], expected, rtol=1e-10)
    np.testing.assert_allclose(result["budget_std"] / expected, 0, atol=1e-12)
    np.testing.assert_allclose(result["budget_trend"] / expected, 0, atol=1e-12)


def test_energy_of_solid_rotation():
    names = ("geopotential", "vorticity", "divergence")
    z = np.sin(np.radians(FINE.latitude.numpy()))[:, None]
    fields = np.zeros((2, 3, *FINE.shape))
    fields[:, 0] = 3e4
    fields[:, 1] = 2 * 20 / RADIUS * z  # winds of 20 cos φ m/s
    budgets = feed(Budgets, setting(names, FINE, radius=RADIUS), fields)
    kinetic = 20**2 / 2 * 2 / 3
    expected = 3e4 * kinetic + 3e4**2 / 2
    np.testing.assert_allclose(budgets.result([0])["budget_mean"][1], expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        (("sp", "tcwv"), (9.80616e4, 25.0), {"air_mass": 1e4, "dry_air_mass": 1e4 - 25}),
        (("tp", "e"), (3e-3, -2e-3), {"precipitation_minus_evaporation": 1e-3}),
        (("u500", "v500"), (3.0, 4.0), {"kinetic_energy_500": 12.5}),
    ],
)
def test_budgets_of_constant_fields(names, values, expected):
    fields = np.ones((3, 2, *GRID.shape)) * np.array(values)[:, None, None]
    budgets = feed(Budgets, setting(names), fields)
    assert [name for name, _ in budgets.quantities] == list(expected)
    np.testing.assert_allclose(budgets.result([0])["budget_mean"], list(expected.values()))


def test_budgets_need_all_of_their_channels_everywhere():
    assert Budgets.obstacle(setting(("tcwv", "tp")))
    valid = np.ones((1, *GRID.shape), dtype=bool)
    valid[0, 0, 0] = False
    assert Budgets.obstacle(setting(("sp",), valid=valid))


def test_a_reversed_gradient_is_blocked_where_it_is_and_only_then():
    grid = Grid.equiangular(37, 72)  # 5 degrees
    latitude, longitude = np.meshgrid(grid.latitude, grid.longitude, indexing="ij")
    zonal = 5700 - 8 * np.abs(latitude)  # falls towards both poles by 8 m per degree
    distance = np.hypot((longitude - 180) / 25, (latitude - 60) / 12)
    high = zonal + 500 * np.exp(-(distance**2))
    height = np.stack([zonal, high, zonal, high])[:, None]
    facts = setting(ONE, grid)
    result = feed(Blocking, facts, height * 9.80665).result([0])
    frequency, longitudes = result["blocking_frequency"], result["blocked_longitudes"]
    row, column = 6, 36  # 60° N, 180° E
    assert frequency[row, column] == 0.5 and longitudes[column] == 0.5
    assert frequency[row, 0] == 0 and longitudes[0] == 0
    assert np.nanmax(frequency[grid.latitude < 0]) == 0
    assert np.isnan(frequency[18]).all()  # the equator


def test_blocking_of_the_south_is_that_of_the_north_mirrored():
    grid = Grid.equiangular(37, 72)
    height = 5500 * 9.80665 + 2000 * np.random.default_rng(0).normal(size=(20, 1, *grid.shape))
    north = feed(Blocking, setting(ONE, grid), height).result([0])["blocking_frequency"]
    south = feed(Blocking, setting(ONE, grid), height[..., ::-1, :]).result([0])
    np.testing.assert_array_equal(south["blocking_frequency"], north[::-1])
    assert np.nanmax(north) > 0
