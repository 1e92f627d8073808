"""Error against time per training step in the ablation, from saved results.

    python -m benchmarks.accuracy.ablation_figure --errors JSON --times JSON --out PNG

Errors are means over the seeds in the results of `benchmarks.accuracy.ablation`; times are those of
`benchmarks.speed.training`. Rows that are in one of the two files only are left out, as are errors
that are not finite.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchmarks.accuracy.ablation import LEADS
from benchmarks.accuracy.ablation_table import Costs, step_costs
from configs.style import BLUE, GREY, OLIVE, RED, new_figure, picture_style

_COLOURS = {"16": RED, "32": OLIVE, "64": BLUE}
_MARKERS = {"none": "o", "integral": "s", "differential": "^", "both": "D"}

Errors = dict[str, list[float]]


def mean_errors(path: Path) -> dict[str, Errors]:
    """Return the finite errors of all seeds, by row and lead time in steps."""
    errors: dict[str, Errors] = defaultdict(lambda: {str(lead): [] for lead in LEADS})
    for run in json.loads(path.read_text())["runs"]:
        for lead in LEADS:
            value = run["errors"][lead - 1]
            if value is not None:
                errors[run["name"]][str(lead)].append(value)
    return dict(errors)


@picture_style()
def draw(path: Path, errors: dict[str, Errors], costs: Costs) -> list[str]:
    """Draw a panel for each lead time.

    Returns:
        Names of the rows in the figure.
    """
    figure = new_figure(10.5, 4.2)
    panels = figure.subplots(1, len(LEADS), sharex=True, sharey=True)
    shown = [name for name in errors if name in costs]
    for ax, lead in zip(panels, LEADS, strict=True):
        for name in shown:
            _point(ax, name, costs[name]["time"], errors[name][str(lead)])
        ax.set(title=f"after {lead} step{'s' if lead > 1 else ''}", yscale="log")
        ax.set_xlabel("time of a training step [ms]")
    panels[0].set_ylabel("relative L2 error")
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", label=f"{lmax} degrees")
        for lmax, colour in _COLOURS.items()
    ] + [
        Line2D([], [], color=GREY, marker=marker, linestyle="", label=f"local: {branches}")
        for branches, marker in _MARKERS.items()
    ]
    grey: dict[str, Any] = {"color": GREY, "marker": "D", "linestyle": ""}
    handles += [
        Line2D([], [], label="second derivatives", markerfacecolor="none", **grey),
        Line2D([], [], label="small: 16 channels for 32", markersize=4, **grey),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=-(-len(handles) // 2),
                  handletextpad=0.2, columnspacing=1.2)  # fmt: skip
    figure.savefig(path, dpi=90)
    return shown


def _point(ax: Axes, name: str, time: float, values: list[float]) -> None:
    if values:
        row, *variation = name.split(", ")
        lmax, branches = row.split(" ")
        ax.plot(time, fmean(values), _MARKERS[branches], color=_COLOURS[lmax],
                markersize=5 if "4×16" in variation else 8,
                markerfacecolor="none" if "second order" in variation else None)  # fmt: skip


def main() -> None:
    """Draw the figure and print the names of its rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--errors", type=Path, required=True, help="results of ablation")
    parser.add_argument("--times", type=Path, required=True, help="results of speed.training")
    parser.add_argument("--out", type=Path, required=True, help="the picture")
    arguments = parser.parse_args()
    shown = draw(arguments.out, mean_errors(arguments.errors), step_costs(arguments.times))
    print(f"{arguments.out}: {', '.join(shown)}")


if __name__ == "__main__":
    main()
