"""Saving of pictures, and ranges of their colours."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from configs.style import picture_style
from data_prep.store.outputs import cannot_write, check_output, written_beside

SUFFIXES = (".png", ".pdf", ".svg")

_SIGNED = ("wind", "vorticity", "divergence", "tendency", "anomaly")


@picture_style()  # ticks are made while the figure is drawn
def save(figure: Figure, out: str | Path) -> None:
    """Write a picture beside its path and rename it.

    Raises:
        ValueError: For a suffix that is no picture's.
        FileExistsError: If it is there.
        FileNotFoundError: If its folder is not.
        OSError: If it cannot be written.
    """
    path = check_output(out, SUFFIXES)
    with written_beside(path) as scratch:
        try:
            figure.savefig(scratch, format=path.suffix[1:])
        except OSError as error:
            raise cannot_write(path, error) from error


@picture_style()
def png(figure: Figure, dpi: float = 100) -> bytes:
    """Return a figure as a PNG file in memory, such as for a page that embeds it."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


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


def colour_range(
    values: list[NDArray[np.floating]],
    signed: bool,
    limits: tuple[float, float] | None = None,
) -> tuple[float, float, str]:
    """Return limits of the colours that leave out 0.5 % of the last field at each end.

    Args:
        values: Fields that share the colours; the last one sets the limits.
        signed: True if zero is in the middle.
        limits: Limits to take in place of those of the last field.

    Returns:
        Lower limit, upper limit, and the limits that values exceed: "neither", "min", "max" or
        "both".
    """
    fields = [v[np.isfinite(v)] for v in values]
    if limits is not None:
        low, high = limits
    elif not len(fields[-1]):
        return 0.0, 1.0, "neither"
    elif signed:
        high = float(np.percentile(np.abs(fields[-1]), 99.5)) or 1.0
        low = -high
    else:
        low, high = (float(x) for x in np.percentile(fields[-1], [0.5, 99.5]))
        if high <= low:  # a constant field
            low, high = low - 0.5, high + 0.5
    below = any((v < low).any() for v in fields)
    above = any((v > high).any() for v in fields)
    extend = {(True, False): "min", (False, True): "max", (True, True): "both"}
    return float(low), float(high), extend.get((below, above), "neither")
