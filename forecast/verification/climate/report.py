"""Report of a climate: a table for the terminal, and a summary in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from forecast.verification.climate.climate_file import NOTES, rows_of
from forecast.verification.climate.comparison import Row

_MOST_COLUMNS = 6


def table(data: xr.Dataset) -> str:
    """Return the ratios of all distances as text with aligned columns, and notes."""
    lines = [*headline(data), ""]
    for header, rows in grids(data):
        widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
        for row in (header, tuple("-" * w for w in widths), *rows):
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        lines.append("")
    lines.append(
        "ratio of the distance from the truth to that of another realisation; * beyond all halves "
        "of the truth"
    )
    lines += [f"note: {note}" for note in data.attrs.get(NOTES, "").splitlines()]
    return "\n".join(lines)


def markdown(data: xr.Dataset) -> str:
    """Return a summary in Markdown, with all distances in their units."""
    lines = [f"# {data.attrs['title']}", "", *(f"- {line}" for line in headline(data))]
    lines += [f"- note: {note}" for note in data.attrs.get(NOTES, "").splitlines()] + [""]
    lines.append(
        "| variable | distance | forecast to truth | another realisation | largest of halves "
        "| ratio |"
    )
    lines.append("|---|---|" + "---:|" * 4)
    for row in rows_of(data):
        numbers = [_number(x, row.units) for x in (row.distance, row.expected, row.largest)]
        lines.append("| " + " | ".join([row.quantity, row.long_name, *numbers, _ratio(row)]) + " |")
    lines += ["", data.attrs["comment"], "", f"Source: {data.attrs['source']}", ""]
    return "\n".join(lines)


def headline(data: xr.Dataset) -> list[str]:
    """Return sentences on the periods and on how many distances are those of a realisation."""
    lines = []
    for name in ("forecast", "truth"):
        runs, states = (int(data.attrs[f"{name}_{what}"]) for what in ("runs", "states"))
        lines.append(
            f"{name}: {states} states of {runs} run{'s' * (runs != 1)}, "
            f"{data.attrs[f'{name}_period']}"
        )
    known = [row for row in rows_of(data) if np.isfinite(row.ratio)]
    if not known:
        return [*lines, "no distance can be compared with the truth's own variability"]
    inside = sum(row.distance <= row.largest for row in known)
    median = np.median([row.ratio for row in known])
    lines.append(
        f"{inside} of {len(known)} distances are within those of halves of the truth; "
        f"median ratio {median:.2f}"
    )
    return lines


def grids(data: xr.Dataset) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Return header and rows of ratios: measures by quantities, a few quantities at a time."""
    rows = rows_of(data)
    measures = list(dict.fromkeys(row.measure for row in rows))
    quantities = list(dict.fromkeys(row.quantity for row in rows))
    cells = {(row.measure, row.quantity): _ratio(row) for row in rows}
    grids = []
    budgets = [q for q in quantities if q not in data.channel.values]
    channels = [q for q in quantities if q in data.channel.values]
    for group in (*_split(channels), *_split(budgets)):
        header = ("distance", *group)
        lines = [(m, *(cells.get((m, q), "") for q in group)) for m in measures]
        grids.append((header, [line for line in lines if any(line[1:])]))
    return grids


def _split(names: Sequence[str]) -> list[list[str]]:
    return [list(names[i : i + _MOST_COLUMNS]) for i in range(0, len(names), _MOST_COLUMNS)]


def _ratio(row: Row) -> str:
    """Format a ratio, with a star if the distance is beyond that of all halves of the truth.

    Quantities that forecast and truth conserve are "equal".
    """
    if row.distance == row.expected == 0:
        return "equal"
    if not np.isfinite(row.ratio):
        return "unknown"
    star = "*" if row.distance > row.largest else ""
    return (f"{row.ratio:.2f}" if row.ratio < 100 else f"{row.ratio:.3g}") + star


def _number(x: float, units: str) -> str:
    if np.isnan(x):
        return "unknown"
    return f"{x:.3g}" + ("" if units == "1" else f" {units}")
