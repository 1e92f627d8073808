import numpy as np
import pytest

from configs.variables import VARIABLES
from data_prep.ingest.catalogue.units import Conversion, amount_rate_conversion, conversion


@pytest.mark.parametrize(
    ("units", "wanted"),
    [
        ("m s**-1", "m s-1"),
        ("M/S", "m s-1"),
        ("m**2 s**-2", "m2 s-2"),
        ("m^2/s^2", "m2 s-2"),
        ("kg kg**-1", "kg kg-1"),
        ("kg/kg", "kg kg-1"),
        ("Deg C", "degC"),
        ("degrees_celsius", "degC"),
        ("METERS", "m"),
        ("(0 - 1)", "1"),
        (" Kelvin ", "K"),
        ("m of water equivalent", "m"),
        ("K m**2 kg**-1 s**-1", "K m2 kg-1 s-1"),
        ("m**3 m**-3", "1"),
        ("W/m^2", "W m-2"),
        ("kg/m2/s", "kg m-2 s-1"),
        ("kg.m-2.s-1", "kg m-2 s-1"),
        ("Pascal/s", "Pa s-1"),
        ("mm s-1", "kg m-2 s-1"),
        ("kg m**-2 s**-1", "kg m-2 s-1"),
        ("Degree true", "degree"),
        ("(Code table 4.201)", "1"),
        ("code table (4.201)", "1"),
        ("Proportion", "1"),
        ("radians", "radian"),
    ],
)
def test_spellings_of_the_same_unit_change_nothing(units: str, wanted: str) -> None:
    assert conversion(units, wanted).is_identity


@pytest.mark.parametrize(
    ("value", "units", "wanted", "expected"),
    [
        (25.0, "degC", "K", 298.15),
        (298.15, "K", "degC", 25.0),
        (1013.25, "millibars", "Pa", 101325.0),
        (5500.0, "gpm", "m2 s-2", 53936.575),
        (9806.65, "m**2 s**-2", "m", 1000.0),
        (3.0, "g/kg", "kg kg-1", 3e-3),
        (40.0, "%", "1", 0.4),
        (2.5, "mm", "m", 2.5e-3),
        (2.5, "kg m-2", "m", 2.5e-3),
        (2.5e-3, "m", "kg m**-2", 2.5),
        (50.0, "degF", "degC", 10.0),
        (283.15, "K", "degF", 50.0),
        (8.64, "mm/day", "kg m-2 s-1", 1e-4),
        (1e-4, "kg m-2 s-1", "mm d-1", 8.64),
        (1e-7, "m s**-1", "kg m-2 s-1", 1e-4),
        (2.0, "MJ m-2", "J m-2", 2e6),
        (0.25, "1", "%", 25.0),
        (36.0, "hPa/hr", "Pa s-1", 1.0),
        (552.0, "dam", "m2 s-2", 54132.708),
        (2.0, "PVU", "K m2 kg-1 s-1", 2e-6),
        (18.0, "knots", "m s-1", 9.26),
        (90.0, "degrees", "radian", np.pi / 2),
        (3.0, "0.1 mm", "m", 3e-4),
    ],
)
def test_values_are_converted(value: float, units: str, wanted: str, expected: float) -> None:
    out = conversion(units, wanted)(np.array([value, value]))
    np.testing.assert_allclose(out, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("units", "wanted"),
    [
        ("K", "Pa"),
        ("furlong", "m"),
        ("", "m s-1"),
        ("m", "kg m-2 s-1"),
        ("W m-2", "J m-2"),
        ("m s-1", "m2 s-2"),
        ("Mg m-2", "kg m-2"),
        ("mJ m-2", "J m-2"),
        ("degC m", "K m"),
        ("m -- s", "m s-1"),
    ],
)
def test_what_measures_another_thing_is_refused(units: str, wanted: str) -> None:
    with pytest.raises(ValueError, match="cannot be converted"):
        conversion(units, wanted)


@pytest.mark.parametrize(
    ("value", "units", "wanted", "seconds", "expected"),
    [
        (1e-4, "kg m**-2 s**-1", "m", 21600, 2.16e-3),
        (2.16e-3, "m", "kg m-2 s-1", 21600, 1e-4),
        (3.6e5, "J m**-2", "W m-2", 3600, 100.0),
        (100.0, "W/m2", "J m-2", 3600, 3.6e5),
        (24.0, "mm/day", "m", 3600, 1e-3),
        (900.0, "s", "1", 3600, 0.25),
        (36.0, "N m**-2 s", "N m-2", 3600, 0.01),
    ],
)
def test_an_amount_is_its_rate_times_the_period(
    value: float, units: str, wanted: str, seconds: float, expected: float
) -> None:
    out = amount_rate_conversion(units, wanted, seconds)(np.array([value]))
    np.testing.assert_allclose(out, expected, rtol=1e-12)


@pytest.mark.parametrize(("units", "wanted"), [("m", "m"), ("J m-2", "kg m-2 s-1"), ("", "m")])
def test_other_units_are_not_those_of_an_amount_and_its_rate(units: str, wanted: str) -> None:
    with pytest.raises(ValueError, match="not those of an amount and its rate"):
        amount_rate_conversion(units, wanted, 3600)


def test_units_of_the_table_are_known_and_every_rate_follows_from_its_amount() -> None:
    for found in VARIABLES.values():
        base = found.units.replace("1", "%") if found.units == "1" else f"0.1 {found.units}"
        assert found.units in ("degC",) or conversion(base, found.units).factor < 1, found.name
        if found.rate_of:
            amount = VARIABLES[found.rate_of].units
            to_rate = amount_rate_conversion(amount, found.units, 3600)
            to_amount = amount_rate_conversion(found.units, amount, 3600)
            assert to_rate.factor * to_amount.factor == pytest.approx(1, rel=1e-14), found.name


def test_conversions_are_those_of_udunits() -> None:
    cf_units = pytest.importorskip("cf_units", reason="cf-units is not installed")
    texts = sorted({v.units for v in VARIABLES.values()}) + [
        "mm day-1", "hPa", "degF", "kJ kg-1", "g kg-1", "cm", "km h-1", "%", "degree", "mbar",
    ]  # fmt: skip
    pairs = 0
    for units in texts:
        for wanted in texts:
            theirs, target = cf_units.Unit(units), cf_units.Unit(wanted)
            if not theirs.is_convertible(target):
                continue
            expected = theirs.convert(np.array([250.0, 300.0]), target)
            if expected[1] > expected[0]:  # UDUNITS also converts to the unit of the reciprocal
                out = conversion(units, wanted)(np.array([250.0, 300.0]))
                np.testing.assert_allclose(out, expected, rtol=1e-12)
                pairs += 1
    assert pairs > len(texts)


def test_a_negative_factor_turns_a_direction_round() -> None:
    assert conversion("-1 m s-1", "m s-1") == Conversion(-1.0)
    assert conversion("-1 W m-2", "W m-2") == Conversion(-1.0)
