"""Saving of pictures, and ranges of their colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from data_prep.store.outputs import check_output, written_beside

SUFFIXES = (".png", ".pdf", ".svg")

_SIGNED = ("wind", "vorticity", "divergence", "tendency", "anomaly")


def save(figure: Figure, out: str | Path) -> None:
    """Write a picture beside its path and rename it.

    Raises:
        ValueError: For a suffix that is no picture's.
        FileExistsError: If it is there.
        FileNotFoundError: If its folder is not.
    """
    path = check_output(out, SUFFIXES)
    with written_beside(path) as scratch:
        figure.savefig(scratch, format=path.suffix[1:])


def is_signed(standard_name: str, values: NDArray[np.floating]) -> bool:
    """Return True if zero is in the middle of the colours of a field.

    Args:
        standard_name: CF standard name of the variable, which decides if it is not empty.
        values: Field that decides otherwise, by its range on both sides of zero.
    """
    if standard_name:
        return any(word in standard_name for word in _SIGNED)
    low, high = np.nanmin(values), np.nanmax(values)
    return bool(low < 0 < high and min(-low, high) > 0.25 * max(-low, high))


def colour_range(values: list[NDArray[np.floating]], signed: bool) -> tuple[float, float, str]:
    """Return limits of the colours that leave out 0.5 % of the last field at each end.

    Args:
        values: Fields that share the colours; the last one sets the limits.
        signed: True if zero is in the middle.

    Returns:
        Lower limit, upper limit, and the limits that values exceed: "neither", "min", "max" or
        "both".
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
