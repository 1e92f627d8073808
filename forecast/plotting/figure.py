"""What all pictures share: how they are saved, units and colours."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from data_prep.store.output_paths import check_output, remove

SUFFIXES = (".png", ".pdf", ".svg")
INK = "#222222"
FAINT = "#d9d9d9"
COLOURS = {"model": "#0b6e99", "persistence": "#c1592b", "climatology": "#7a7a7a"}

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SIGNED = ("wind", "vorticity", "divergence", "tendency", "anomaly")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that no window will ever show.

    Args:
        width: in inches.
        height: in inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, out: str | Path) -> None:
    """Write a picture beside its path and rename it.

    Raises:
        ValueError: for a suffix that is no picture's.
        FileExistsError: if it is there.
        FileNotFoundError: if its folder is not.
    """
    path = check_output(out, SUFFIXES)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        figure.savefig(partial, format=path.suffix[1:], dpi=150, facecolor="white")
        partial.rename(path)
    finally:
        remove(partial)


def pretty_units(units: str) -> str:
    """UDUNITS as a person writes them: "m2 s-2" is "m² s⁻²"."""
    if units in ("degC", "celsius", "Celsius", "deg_C"):
        return "°C"
    if units == "1":
        return ""
    return re.sub(
        r"(?<=[A-Za-z])\^?(-?\d+)", lambda power: power[1].translate(_SUPERSCRIPTS), units
    )


def with_units(name: str, units: str, power: int = 0) -> str:
    """A label: the name, and in brackets the power of ten and the units if there are any."""
    factor = f"10{str(power).translate(_SUPERSCRIPTS)}" if power else ""
    inside = " ".join(part for part in (factor, pretty_units(units)) if part)
    return f"{name} [{inside}]" if inside else name


def power_of_ten(largest: float) -> int:
    """The power, a multiple of 3, that a label takes from very large or small numbers.

    Args:
        largest: absolute value of the largest number at the axis.
    """
    if not np.isfinite(largest) or largest == 0 or 1e-2 <= largest < 1e5:
        return 0
    return int(3 * np.floor(np.log10(largest) / 3))


def numbers(power: int) -> FuncFormatter:
    """Ticks without the power of ten that stands in the label."""
    return FuncFormatter(lambda value, _: f"{value / 10.0**power:g}".replace("-", "−"))


def is_signed(standard_name: str, values: NDArray[np.floating]) -> bool:
    """Whether zero is the middle of a field's colours.

    Args:
        standard_name: of the variable; decides where it is known.
        values: of the field; decide otherwise, by how much of both signs there is.
    """
    if standard_name:
        return any(word in standard_name for word in _SIGNED)
    low, high = np.nanmin(values), np.nanmax(values)
    return bool(low < 0 < high and min(-low, high) > 0.25 * max(-low, high))


def colour_range(values: list[NDArray[np.floating]], signed: bool) -> tuple[float, float, str]:
    """Limits that leave out the farthest half per cent at each end of the last field.

    Args:
        values: the fields that share the colours, that which sets the limits last.
        signed: whether zero is in the middle.

    Returns:
        Lower and upper limit, and at which ends values lie beyond ("neither", "min", "max",
        "both").
    """
    finite = values[-1][np.isfinite(values[-1])]
    if not len(finite):
        return 0.0, 1.0, "neither"
    low, high = np.percentile(finite, [0.5, 99.5])
    if signed:
        high = float(np.percentile(np.abs(finite), 99.5)) or 1.0
        low = -high
    elif high <= low:  # a constant field
        low, high = low - 0.5, high + 0.5
    below = min(np.nanmin(v) for v in values) < low
    above = max(np.nanmax(v) for v in values) > high
    return (
        float(low),
        float(high),
        {
            (False, False): "neither",
            (True, False): "min",
            (False, True): "max",
            (True, True): "both",
        }[bool(below), bool(above)],
    )
