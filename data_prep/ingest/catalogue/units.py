"""Units of files: their usual spellings, and conversions between them.

The parser knows the grammar of UDUNITS as far as files use it, and the spellings of archives that
UDUNITS refuses ("millibars", "Deg C", "m of water equivalent", "(0 - 1)"). Libraries of units would
not replace either table: the names need the same preparation for them, and none relates a depth of
water to its mass or a height to a geopotential.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STANDARD_GRAVITY = 9.80665  # m s-2, turns geopotential height into geopotential
WATER_DENSITY = 1000.0  # kg m-3, turns a depth of water into mass per area

Powers = tuple[int, int, int, int]
"""Exponents of metre, kilogram, second and kelvin."""

_NUMBER: Powers = (0, 0, 0, 0)
_METRE: Powers = (1, 0, 0, 0)
_SECOND: Powers = (0, 0, 1, 0)
_SYMBOLS: dict[str, tuple[float, Powers]] = {
    "m": (1.0, _METRE),
    "mm": (1e-3, _METRE),
    "cm": (1e-2, _METRE),
    "km": (1e3, _METRE),
    "gpm": (1.0, _METRE),
    "dam": (10.0, _METRE),
    "gpdm": (10.0, _METRE),
    "g": (1e-3, (0, 1, 0, 0)),
    "kg": (1.0, (0, 1, 0, 0)),
    "mg": (1e-6, (0, 1, 0, 0)),
    "s": (1.0, _SECOND),
    "sec": (1.0, _SECOND),
    "min": (60.0, _SECOND),
    "h": (3600.0, _SECOND),
    "hr": (3600.0, _SECOND),
    "d": (86400.0, _SECOND),
    "day": (86400.0, _SECOND),
    "K": (1.0, (0, 0, 0, 1)),
    "Pa": (1.0, (-1, 1, -2, 0)),
    "hPa": (1e2, (-1, 1, -2, 0)),
    "kPa": (1e3, (-1, 1, -2, 0)),
    "mb": (1e2, (-1, 1, -2, 0)),
    "N": (1.0, (1, 1, -2, 0)),
    "J": (1.0, (2, 1, -2, 0)),
    "kJ": (1e3, (2, 1, -2, 0)),
    "MJ": (1e6, (2, 1, -2, 0)),
    "W": (1.0, (2, 1, -3, 0)),
    "kt": (1852 / 3600, (1, 0, -1, 0)),
    "PVU": (1e-6, (2, -1, -1, 1)),
    "DU": (2.1415e-5, (-2, 1, 0, 0)),  # of ozone
    "%": (1e-2, _NUMBER),
    "rad": (1.0, _NUMBER),
    "degree": (math.pi / 180, _NUMBER),
}
"""Factor to SI units, and their powers. A number may have any sense, as in UDUNITS."""
_LOWER = {symbol.lower(): symbol for symbol in _SYMBOLS if symbol not in ("MJ", "mg")}
"""Symbols by their lower case, except those whose case tells mega from milli."""

_WORDS = {
    "m": ("meter", "meters", "metre", "metres"),
    "mm": ("millimeter", "millimeters", "millimetre", "millimetres"),
    "gpm": ("geopotential meters", "geopotential metres", "geopotential meter",
            "geopotential metre"),
    "s": ("second", "seconds"),
    "h": ("hour", "hours", "hrs"),
    "day": ("days",),
    "K": ("kelvin", "kelvins", "degk", "deg k", "degrees k", "degree kelvin", "degrees kelvin"),
    "degC": ("degc", "deg c", "degrees c", "c", "celsius", "degree celsius", "degrees celsius",
             "°c"),
    "degF": ("degf", "deg f", "degrees f", "f", "fahrenheit", "degree fahrenheit",
             "degrees fahrenheit", "°f"),
    "Pa": ("pascal", "pascals"),
    "hPa": ("mbar", "millibar", "millibars", "hectopascal", "hectopascals"),
    "W": ("watt", "watts"),
    "J": ("joule", "joules"),
    "kt": ("knot", "knots", "kts"),
    "DU": ("dobson", "dobsons", "dobson unit", "dobson units"),
    "%": ("percent", "per cent"),
    "rad": ("radian", "radians"),
    "degree": ("degrees", "deg", "degree true", "degrees true", "°"),
    "1": ("fraction", "dimensionless", "proportion", "none", "numeric", "(0 - 1)", "(0-1)", "0-1",
          "0 - 1", "~"),
}  # fmt: skip
_NAMES = {word: symbol for symbol, words in _WORDS.items() for word in words}
_TO_KELVIN = {"degC": (1.0, 273.15), "degF": (5 / 9, 459.67 * 5 / 9)}
"""Factor and offset to K of temperatures that count from another zero."""
_CODES = re.compile(r"\(?code table \(?[\d.]+\)?")
_WATER = re.compile(r"\s*\(?(of )?(liquid )?water( equivalent)?\)?|\s*\bwe\b", re.IGNORECASE)


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
        if self.factor != 1.0:
            values = values * self.factor
        return values if self.offset == 0.0 else values + self.offset


def conversion(units: str, wanted: str) -> Conversion:
    """Return the conversion from the units of a file to those of the variable table.

    A depth of water is converted to its mass per area, and a height to its geopotential.

    Args:
        units: Units of the file ("m**2 s**-2", "Deg C", "millibars").
        wanted: Units of the table.

    Raises:
        ValueError: if the units are unknown or incompatible.
    """
    return _between(units, wanted, {_NUMBER: 1.0})


def amount_rate_conversion(units: str, wanted: str, seconds: float) -> Conversion:
    """Return the conversion from an amount over a period to its mean rate, or the other way round.

    Args:
        units: Units of the file: of the amount ("J m-2"), or of the rate ("kg m-2 s-1").
        wanted: Units of the rate ("W m-2"), or of the amount ("m").
        seconds: Length of the period.

    Raises:
        ValueError: if one is not a rate of the other.
    """
    try:
        return _between(units, wanted, {_SECOND: seconds, (0, 0, -1, 0): 1 / seconds})
    except ValueError:
        raise ValueError(
            f"units {units!r} and {wanted!r} are not those of an amount and its rate"
        ) from None


def _between(units: str, wanted: str, times: dict[Powers, float]) -> Conversion:
    """Return the conversion between units that differ by one of some quantities, given in SI."""
    if _plain(units) == _plain(wanted) and _NUMBER in times:
        return Conversion()
    found, target = _parse(units), _parse(wanted)
    if found is not None and target is not None:
        missing = _quotient(target[1], found[1])
        for powers, size in times.items():
            extra = _bridge(_quotient(missing, powers), found[1])
            if extra is not None:
                factor = found[0].factor * size * extra / target[0].factor
                offset = (found[0].offset - target[0].offset) / target[0].factor
                # Products such as 1e-3 · 1000 may miss 1 by a rounding error.
                return Conversion(1.0 if math.isclose(factor, 1, rel_tol=1e-12) else factor, offset)
    raise ValueError(f"units {units!r} cannot be converted to {wanted!r}")


def _quotient(a: Powers, b: Powers, power: int = 1) -> Powers:
    """Return the powers of the quotient a / b**power."""
    m, kg, s, kelvin = (x - power * y for x, y in zip(a, b, strict=True))
    return m, kg, s, kelvin


def _bridge(missing: Powers, have: Powers) -> float | None:
    """Return the constant with the missing powers; None if there is none.

    Density belongs to depths of water and their rates, and gravity to heights.
    """
    constants = {_NUMBER: 1.0}
    if have[:2] in ((1, 0), (-2, 1)) and have[2:] in ((0, 0), (-1, 0)):
        constants |= {(-3, 1, 0, 0): WATER_DENSITY, (3, -1, 0, 0): 1 / WATER_DENSITY}
    if have in (_METRE, (2, 0, -2, 0)):
        constants |= {(1, 0, -2, 0): STANDARD_GRAVITY, (-1, 0, 2, 0): 1 / STANDARD_GRAVITY}
    return constants.get(missing)


def _parse(units: str) -> tuple[Conversion, Powers] | None:
    """Return the conversion of units to SI and their powers; None if they are unknown."""
    text = _plain(units)
    if text in _TO_KELVIN:
        return Conversion(*_TO_KELVIN[text]), (0, 0, 0, 1)
    factor, powers, known = 1.0, _NUMBER, bool(text)
    for name, power in _tokens(text):
        symbol = _symbol(name)
        if symbol in _SYMBOLS:
            size, own = _SYMBOLS[symbol]
            factor *= size**power
            powers = _quotient(powers, own, -power)
        elif re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", name):
            factor *= float(name) ** power
        else:
            known = False
    return (Conversion(factor), powers) if known and factor else None


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Yield the units of a product and their exponents."""
    for slash, part in re.findall(r"(/?)\s*([^\s/]+)", text):
        sign = -1 if slash else 1
        match = re.fullmatch(r"([^\W\d_]+|%)(-?\d+)?", part)
        yield (match[1], sign * int(match[2] or 1)) if match else (part, sign)


def _plain(units: str) -> str:
    """Return units without the differences in spelling: `m**2/s**2` becomes `m2/s2`."""
    text = re.sub(r"\*\*|\^", "", units.strip()).replace("_", " ")
    text = re.sub(r"\s+", " ", text)
    if _CODES.fullmatch(text.lower()):
        return "1"
    text = _WATER.sub("", text)
    text = re.sub(r"[*·]|\.(?=\s|[a-zA-Z])", " ", text)
    text = re.sub(r"\bper (?!cent)", "/", text, flags=re.IGNORECASE)
    text = re.sub(r"\s+", " ", text).strip()
    return _NAMES.get(text.lower(), text)


def _symbol(name: str) -> str:
    """Return the symbol of a unit from its name in any case."""
    if name in _SYMBOLS:
        return name
    return _NAMES.get(name.lower()) or _LOWER.get(name.lower(), name)
