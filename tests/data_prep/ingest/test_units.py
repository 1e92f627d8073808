import numpy as np
import pytest

from data_prep.ingest.units import conversion


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
    ],
)
def test_values_are_converted(value: float, units: str, wanted: str, expected: float) -> None:
    out = conversion(units, wanted)(np.array([value, value]))
    np.testing.assert_allclose(out, expected, rtol=1e-12)


@pytest.mark.parametrize(("units", "wanted"), [("K", "Pa"), ("furlong", "m"), ("", "m s-1")])
def test_what_measures_another_thing_is_refused(units: str, wanted: str) -> None:
    with pytest.raises(ValueError, match="cannot be converted"):
        conversion(units, wanted)
