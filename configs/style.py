"""Style of all pictures: fonts, lines, colours by role, and labels with units."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, StrMethodFormatter

INK = "#222222"
"""Colour of text, axes, coastlines and reference lines."""
FAINT = "#d9d9d9"
"""Colour of grid lines behind curves."""
MISSING = "#949494"
"""Colour of missing values on a map, different from all colours of the colour maps."""
BLUE, RED, OLIVE, GREY = "#0b6e99", "#c1592b", "#8a8d2a", "#7a7a7a"
"""Colours of curves."""
COLOURS = {"model": BLUE, "persistence": RED, "climatology": GREY}
"""Colours of curves of forecasts by name."""
SEQUENCE = "viridis"
"""Colour map of curves in an order, from early to late."""


class MapStyle(NamedTuple):
    """Name of the colour map of a map, and a colour of the graticule that contrasts with it."""

    colours: str
    graticule: str


GRATICULE: Any = {"linewidth": 0.5, "linestyle": (0, (5, 4))}
"""Line style of a graticule."""
VALUES = MapStyle("viridis", "#ffffff")
SIGNED = MapStyle("RdBu_r", "#444444")
ERRORS = MapStyle("PuOr_r", "#444444")
SPREAD = MapStyle("plasma", "#ffffff")
GRATICULE_ON_WHITE = "#b5b5b5"
"""Colour of a graticule on a map without colours."""
CONTOURS = (BLUE, RED, OLIVE)
"""Colours of the contour levels of a map, from the lowest on."""

_SETTINGS: Any = {
    "font.size": 10,
    "figure.titlesize": 12,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=[BLUE, RED, OLIVE]),
    "savefig.dpi": 150,
    "savefig.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@contextmanager
def picture_style() -> Iterator[None]:
    """Apply the style of all pictures while they are drawn and saved; a context or a decorator."""
    with rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure without a window.

    Args:
        width: Width, inches.
        height: Height, inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def pretty_units(units: str) -> str:
    """Return UDUNITS in typographic form: "m2 s-2" is "m² s⁻²"."""
    if units in ("degC", "celsius", "Celsius", "deg_C"):
        return "°C"
    if units == "1":
        return ""
    return re.sub(
        r"(?<=[A-Za-z])\^?(-?\d+)", lambda power: power[1].translate(_SUPERSCRIPTS), units
    )


def power_of_ten(largest: float) -> int:
    """Return the power of ten, a multiple of 3, in the label of an axis.

    It is 0 unless the numbers are very large or very small.

    Args:
        largest: Largest absolute value on the axis.
    """
    if not math.isfinite(largest) or largest == 0 or 1e-2 <= largest < 1e5:
        return 0
    return 3 * math.floor(math.log10(largest) / 3)


def with_units(name: str, units: str, power: int = 0) -> str:
    """Return a label: the name, then in brackets the power of ten and the units, if any."""
    inside = " ".join(part for part in (_factor(power), pretty_units(units)) if part)
    return f"{name} [{inside}]" if inside else name


def quantity(value: float, units: str, power: int = 0) -> str:
    """Return a number of three digits, with a power of ten and units: "63.2 × 10⁻⁹ s⁻¹"."""
    rounded = float(f"{value / 10.0**power:.3g}")
    digits = np.format_float_positional(rounded, trim="-").replace("-", "−")
    number = f"{digits} × {_factor(power)}" if power else digits
    return f"{number} {pretty_units(units)}".strip()


def numbers(power: int) -> FuncFormatter:
    """Return a formatter of ticks without the power of ten of the label."""
    return FuncFormatter(lambda value, _: f"{value / 10.0**power:g}".replace("-", "−"))


def graticule(axes: Axes, style: MapStyle) -> None:
    """Draw a graticule over a field in longitude and latitude."""
    axes.grid(color=style.graticule, **GRATICULE)
    axes.set_axisbelow(False)


def plain_log_ticks(axis: Axis) -> None:
    """Set ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def _factor(power: int) -> str:
    return f"10{str(power).translate(_SUPERSCRIPTS)}" if power else ""
