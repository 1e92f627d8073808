"""Figure of a study: error of each row against the time of a training step, or its parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from benchmarks.accuracy.peers import PEERS
from benchmarks.accuracy.study.rows import LOCAL
from benchmarks.accuracy.study.summary import Costs, Line, Results, interval
from configs.style import BLUE, GREY, INK, OLIVE, RED, new_figure, picture_style

_COLOURS = {"16": RED, "32": OLIVE, "64": BLUE, "0": GREY}
_MARKERS = dict(zip(LOCAL, "os^D", strict=True)) | dict(zip(PEERS, "PX", strict=True))
_SMALLEST = 1e-4
"""Error below which a reference is the truth itself, computed again, and not shown."""
_DASHES: Any = ("-", "--", ":", "-.")


@picture_style()
def draw(path: Path, results: Results, costs: Costs) -> list[str]:
    """Draw a panel for each lead time.

    Args:
        path: Picture to write.
        results: References, which become lines, and rows, which become points with intervals.
        costs: `time` of a training step of each row; rows without one are left out, unless no row
            has one: then the numbers of parameters take their place.

    Returns:
        Names of the rows in the figure.
    """
    timed = any("time" in costs.get(row.name, {}) for row in results.rows)
    shown = [row for row in results.rows if not timed or "time" in costs.get(row.name, {})]
    figure = new_figure(3.5 * len(results.leads), 4.6)
    panels = figure.subplots(1, len(results.leads), sharex=True, sharey=True, squeeze=False)[0]
    for ax, lead in zip(panels, results.leads, strict=True):
        for reference, dashes in zip(_shown(results), _DASHES, strict=False):
            ax.axhline(reference.errors(lead).mean(), color=INK, linewidth=0.9, linestyle=dashes)
        for row in shown:
            place = costs[row.name]["time"] if timed else row.runs[0]["parameters"]
            _point(ax, row, place, row.errors(lead))
        ax.set(title=f"after {lead} step{'s' if lead > 1 else ''}", yscale="log")
        ax.set_xlabel("time of a training step [ms]" if timed else "parameters")
        ax.margins(x=0.12)
        if not timed:
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
            ax.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("relative L2 error")
    handles = _legend(results, shown)
    figure.legend(handles=handles, loc="outside lower center", ncols=-(-len(handles) // 3),
                  handletextpad=0.4, columnspacing=1.2)  # fmt: skip
    figure.savefig(path, dpi=90)
    return [row.name for row in shown]


def _kind(row: Line) -> tuple[str, str, str]:
    """Return the key of the colour, that of the marker, and the options of a row."""
    first, _, options = row.name.partition(", ")
    truncation, _, local = first.partition(" ")
    return (truncation, local, options) if local else ("", first, options)


def _point(ax: Axes, row: Line, place: float, errors: np.ndarray[Any, Any]) -> None:
    if not np.isfinite(errors).all():
        return
    truncation, marker, options = _kind(row)
    colour = _COLOURS.get(truncation, INK)
    ends = interval(errors)
    if ends is not None:
        ax.plot([place, place], ends, color=colour, linewidth=1)
    ax.plot(place, errors.mean(), _MARKERS[marker], color=colour, markersize=7,
            markerfacecolor="none" if options else None)  # fmt: skip
    ax.annotate(options.replace(", ", "\n"), (place, errors.mean()), (0, -6), fontsize=6,
                textcoords="offset points", va="top", ha="center")  # fmt: skip


def _legend(results: Results, shown: list[Line]) -> list[Line2D]:
    kinds = [_kind(row) for row in shown]
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", label=f"{degrees} degrees")
        for degrees, colour in _COLOURS.items()
        if degrees in {truncation for truncation, _, _ in kinds}
    ]
    for marker, shape in _MARKERS.items():
        if marker in {local for _, local, _ in kinds}:
            label = marker.upper() if marker in PEERS else f"local: {marker}"
            handles.append(Line2D([], [], color=GREY, marker=shape, linestyle="", label=label))
    return handles + [
        Line2D([], [], color=INK, linewidth=0.9, linestyle=dashes, label=reference.name)
        for reference, dashes in zip(_shown(results), _DASHES, strict=False)
    ]


def _shown(results: Results) -> list[Line]:
    """Return the references that become lines."""
    first = results.leads[0]
    return [row for row in results.references if row.errors(first).mean() > _SMALLEST]
