"""Interpolation from sigma levels to pressure levels."""

import numpy as np
import pytest

from data_prep.gcm.worker.pressure_levels import (
    GAS_CONSTANT,
    GRAVITY,
    to_pressure_levels,
)

SIGMA = np.array([0.025, 0.095, 0.2, 0.34, 0.51, 0.685, 0.835, 0.95])
LAPSE = 0.0065


def column(temperature, geopotential, surface_pressure=1e5, humidity=0.0):
    """Return fields of one state whose values depend on pressure alone, and surface pressure."""
    sp = np.full((1, 2, 3), surface_pressure)
    p = SIGMA[None, :, None, None] * sp[:, None]
    zero = np.zeros_like(p)
    q = np.full_like(p, humidity)
    return {"u": zero, "v": zero, "t": temperature(p), "q": q, "z": geopotential(p)}, sp


def test_an_isothermal_atmosphere_has_the_geopotential_of_theory_on_every_level():
    fields, sp = column(lambda p: 0 * p + 260.0, lambda p: GAS_CONSTANT * 260 * np.log(1e5 / p))
    found = to_pressure_levels(fields, sp, SIGMA, (100, 300, 500, 850, 925))
    for k, p in enumerate((100, 300, 500, 850, 925)):
        expected = GAS_CONSTANT * 260 * np.log(1000 / p)
        np.testing.assert_allclose(found["z"][0, k], expected, rtol=1e-12)
        np.testing.assert_allclose(found["t"][0, k], 260, rtol=1e-12)


def test_virtual_temperature_makes_humid_layers_thicker():
    fields, sp = column(
        lambda p: 0 * p + 290.0,
        lambda p: GAS_CONSTANT * 290 * (1 + 0.608 * 0.01) * np.log(1e5 / p),
        humidity=0.01,
    )
    found = to_pressure_levels(fields, sp, SIGMA, (700,))
    expected = GAS_CONSTANT * 290 * 1.00608 * np.log(1000 / 700)
    np.testing.assert_allclose(found["z"][0, 0], expected, rtol=1e-12)


def test_below_the_lowest_level_the_lapse_rate_continues():
    exponent = LAPSE * GAS_CONSTANT / GRAVITY

    def temperature(p):
        return 288 * (p / 8e4) ** exponent

    def geopotential(p):
        return GRAVITY / LAPSE * (288 - temperature(p))

    fields, sp = column(temperature, geopotential, surface_pressure=8e4)
    found = to_pressure_levels(fields, sp, SIGMA, (850, 925))
    for k, p in enumerate((85000.0, 92500.0)):
        np.testing.assert_allclose(found["t"][0, k], temperature(p), rtol=1e-12)
        np.testing.assert_allclose(found["z"][0, k], geopotential(p), atol=2.0)  # 0.2 m


def test_winds_are_linear_in_the_logarithm_of_pressure_and_constant_below():
    fields, sp = column(lambda p: 0 * p + 260.0, lambda p: 0 * p)
    fields["u"] = np.log(SIGMA[None, :, None, None] * sp[:, None])
    found = to_pressure_levels(fields, sp, SIGMA, (50, 100, 400, 990))
    expected = [np.log(5e3), np.log(1e4), np.log(4e4), np.log(0.95e5)]
    np.testing.assert_allclose(found["u"][0, :, 0, 0], expected, rtol=1e-12)


def test_a_model_level_keeps_its_values():
    rng = np.random.default_rng(0)
    fields = {name: rng.standard_normal((2, 8, 3, 4)) for name in ("u", "v", "t", "q", "z")}
    sp = np.full((2, 3, 4), 1e5)
    found = to_pressure_levels(fields, sp, SIGMA, (20 * 10, 51 * 10))
    for name, x in fields.items():
        if name == "z":  # it is that of the level below, and hydrostatic from there
            continue
        for k, level in enumerate((2, 4)):
            np.testing.assert_allclose(found[name][:, k], x[:, level], atol=1e-9)


def test_a_pressure_above_the_model_is_refused():
    fields, sp = column(lambda p: 0 * p + 260.0, lambda p: 0 * p)
    with pytest.raises(ValueError, match="10 hPa is above the highest level"):
        to_pressure_levels(fields, sp, SIGMA, (10, 500))
