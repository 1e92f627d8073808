"""Units of files: their usual spellings, and conversions between them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STANDARD_GRAVITY = 9.80665  # m s-2, turns geopotential height into geopotential

_SPELLINGS = {
    "K": ("k", "kelvin", "degk", "deg k", "degrees k", "degree kelvin"),
    "degC": ("degc", "deg c", "degrees c", "c", "celsius", "degree celsius", "degrees celsius",
             "°c"),
    "Pa": ("pa", "pascal", "pascals", "kg m-1 s-2"),
    "hPa": ("hpa", "mb", "mbar", "millibar", "millibars", "hectopascal", "hectopascals"),
    "m": ("m", "meter", "meters", "metre", "metres", "m of water equivalent"),
    "mm": ("mm", "millimeter", "millimetre", "kg m-2"),
    "gpm": ("gpm", "geopotential meters", "geopotential metres", "geopotential meter"),
    "m2 s-2": ("m2 s-2", "s-2 m2", "j kg-1"),
    "m s-1": ("m s-1", "s-1 m", "meters s-1", "metres s-1"),
    "s-1": ("s-1", "1 s-1"),
    "kg kg-1": ("kg kg-1",),
    "g kg-1": ("g kg-1",),
    "1": ("1", "(0 - 1)", "(0-1)", "0-1", "fraction", "dimensionless", "proportion", "none"),
    "%": ("%", "percent"),
    "W m-2": ("w m-2",),
}  # fmt: skip
_UNITS = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings}

# (from, to): factor and offset
_CONVERSIONS = {
    ("degC", "K"): (1.0, 273.15),
    ("K", "degC"): (1.0, -273.15),
    ("hPa", "Pa"): (100.0, 0.0),
    ("mm", "m"): (1e-3, 0.0),
    ("gpm", "m"): (1.0, 0.0),
    ("m", "m2 s-2"): (STANDARD_GRAVITY, 0.0),
    ("gpm", "m2 s-2"): (STANDARD_GRAVITY, 0.0),
    ("m2 s-2", "m"): (1 / STANDARD_GRAVITY, 0.0),
    ("g kg-1", "kg kg-1"): (1e-3, 0.0),
    ("1", "kg kg-1"): (1.0, 0.0),
    ("%", "1"): (1e-2, 0.0),
}


@dataclass(frozen=True)
class Conversion:
    """Linear conversion: value · factor + offset."""

    factor: float = 1.0
    offset: float = 0.0

    @property
    def is_identity(self) -> bool:
        """True if the conversion changes no value."""
        return self.factor == 1.0 and self.offset == 0.0

    def __call__(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return converted values, of any shape."""
        return values if self.is_identity else values * self.factor + self.offset


def conversion(units: str, wanted: str) -> Conversion:
    """Return the conversion from the units of a file to those of the variable table.

    Args:
        units: Units of the file ("m**2 s**-2", "Deg C", "millibars").
        wanted: Units of the table.

    Raises:
        ValueError: if the units are unknown or incompatible.
    """
    if _recognise(units) == _recognise(wanted):
        return Conversion()
    found = _CONVERSIONS.get((_recognise(units), _recognise(wanted)))
    if found is None:
        raise ValueError(f"units {units!r} cannot be converted to {wanted!r}")
    return Conversion(*found)


def _recognise(units: str) -> str:
    """Return the spelling of units in the table, or the normalised text if it has none."""
    text = re.sub(r"\*\*|\^", "", units.strip().lower()).replace("_", " ")
    text = re.sub(r"\s*/\s*([a-z]+)(\d*)", lambda m: f" {m[1]}-{m[2] or 1}", text)
    text = re.sub(r"\s+", " ", text.replace("*", " ").replace("·", " ").replace(". ", " ")).strip()
    return _UNITS.get(text, text)
