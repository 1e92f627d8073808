"""Tables in Markdown and figure of a study, from its summary file.

    python -m benchmarks.accuracy.study.summary FILE [--times TRAINING.json] [--figure PNG]

The first table has a line for each reference and each row: errors are means over trajectories and
seeds, with an interval of 95 % by a bootstrap over the trajectories; then, for each seed, the step
at which its long rollout leaves the range of the truth, and the size of the states at its end
relative to the truth, for the channel where it is largest; `s per day` is the time to compute a day
of one trajectory in a batch of all; `correlation` is that of vorticity over the area, at the last
lead time. The second table has the ratio of the
errors to those of the best row with the global branch alone, with intervals by the same bootstrap.
Time and peak memory of a training step are added for rows of `benchmarks.speed.training`.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.markdown import markdown_table
from forecast.verification.significance import bootstrap

Costs = dict[str, dict[str, float]]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """Row of a table: the runs of all seeds, or a reference.

    Attributes:
        name: Name of the row.
        runs: Results of its seeds; of a reference one.
    """

    name: str
    runs: list[dict[str, Any]]

    def errors(self, lead: int) -> Array:
        """Return the errors after some steps, mean over the seeds, (trajectory,).

        Files of published results have the mean over the trajectories only, shape (1,).
        """
        seeds = [np.atleast_1d(np.array(r["errors"][lead - 1], dtype=float)) for r in self.runs]
        return np.mean(seeds, axis=0)

    def correlation(self, lead: int) -> str:
        """Return the mean correlation of vorticity after some steps; "" if it is not known."""
        name = "vorticity_correlation"
        known = [np.array(r[name][lead - 1], dtype=float) for r in self.runs if name in r]
        return f"{np.mean(known):.3f}" if known else ""


@dataclass(frozen=True)
class Results:
    """Content of a summary file.

    Attributes:
        leads: Lead times of the tables, steps.
        references: References that were computed.
        rows: Rows, in the order of the file.
    """

    leads: tuple[int, ...]
    references: list[Line]
    rows: list[Line]

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read a summary file."""
        saved = json.loads(path.read_text())
        seeds: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for run in saved["runs"]:
            seeds[run["name"]].append(run)
        references = [Line(name, [of]) for name, of in saved["references"].items()]
        rows = [Line(name, runs) for name, runs in seeds.items()]
        return cls(tuple(saved["leads"]), references, rows)

    @property
    def has_correlations(self) -> bool:
        """True if the file has correlations of vorticity."""
        return any(line.correlation(self.leads[-1]) for line in (*self.references, *self.rows))

    @property
    def best_global(self) -> Line | None:
        """Row with the global branch alone that has the least error after one step, if any."""
        alone = [row for row in self.rows if row.name.split(",")[0].endswith(" none")]
        alone = [row for row in alone if np.isfinite(row.errors(self.leads[0])).all()]
        return min(alone, key=lambda row: row.errors(self.leads[0]).mean(), default=None)


def table(results: Results, costs: Costs) -> str:
    """Return the lines of the table of errors.

    Args:
        results: References and rows.
        costs: `time` in ms and `memory` in MiB of a training step of each row.
    """
    head = ["network", "seeds", "parameters", "time", "memory", "s per day"]
    head += [*map(_steps, results.leads)]
    last = [results.leads[-1]] if results.has_correlations else []
    head += [f"correlation, {_steps(lead)}" for lead in last]
    rows = []
    for reference in results.references:
        cells = [reference.name, *[""] * 4, _cost(reference)]
        cells += [_cell(reference.errors(lead)) for lead in results.leads]
        rows.append([*cells, *map(reference.correlation, last), "", ""])
    for row in results.rows:
        of = costs.get(row.name, {})
        cells = [row.name, str(len(row.runs)), f"{row.runs[0]['parameters']:,}"]
        cells += [f"{of[kind]:.0f}" if kind in of else "" for kind in ("time", "memory")]
        cells += [_cost(row), *(_cell(row.errors(lead)) for lead in results.leads)]
        cells += map(row.correlation, last)
        cells += [_leaves([r["leaves"] for r in row.runs]), _size([r["rms"] for r in row.runs])]
        rows.append(cells)
    return markdown_table([*head, "leaves at step", "size"], rows)


def claim(results: Results) -> str:
    """Return the lines of the table of ratios; empty without a row of the global branch alone."""
    best = results.best_global
    if best is None:
        return ""
    head = [f"over {best.name}", *map(_steps, results.leads)]
    rows = []
    for row in results.rows:
        if row is best:
            continue
        cells = [_cell(row.errors(lead), best.errors(lead)) for lead in results.leads]
        rows.append([row.name, *cells])
    return markdown_table(head, rows)


def step_costs(path: Path) -> Costs:
    """Return time and memory of a training step, by row of `benchmarks.speed.training`."""
    costs: Costs = defaultdict(dict)
    for row in json.loads(path.read_text())["rows"]:
        kind, _, name = row["name"].partition(", ")
        what = {"training step": "time", "peak memory of a step": "memory"}.get(kind)
        if what is not None:
            costs[name][what] = row["ours"]
    return dict(costs)


def interval(errors: Array, over: Array | None = None) -> tuple[float, float] | None:
    """Return the interval of 95 % of a mean, or of a ratio of means; None of few trajectories.

    Args:
        errors: Error of each trajectory.
        over: Errors of another row on the same trajectories, by which the mean is divided.
    """
    if over is None:
        found = bootstrap([errors], lambda mean: mean, block_length=1)
    else:
        found = bootstrap([errors, over], lambda mean, of: mean / of, block_length=1)
    ends = float(found.lower), float(found.upper)
    return ends if np.isfinite(ends).all() else None


def _cell(errors: Array, over: Array | None = None) -> str:
    """Return a mean or a ratio of means with its interval."""
    ratio = errors.mean() if over is None else errors.mean() / over.mean()
    if not np.isfinite(ratio):
        return "not finite"
    ends = interval(errors, over)
    return _number(ratio) + (f" ({_number(ends[0])} to {_number(ends[1])})" if ends else "")


def _cost(row: Line) -> str:
    """Return the least time over the seeds to compute a day of one trajectory, if it is known."""
    known = [run["seconds_per_day"] for run in row.runs if "seconds_per_day" in run]
    return f"{min(known):.2g}" if known else ""


def _number(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}"


def _steps(lead: int) -> str:
    return f"{lead} step{'s' * (lead > 1)}"


def _leaves(steps: list[int | None]) -> str:
    if all(step is None for step in steps):
        return "never"
    return ", ".join("never" if step is None else str(step) for step in steps)


def _size(ratios: list[list[float | None]]) -> str:
    """Return the smallest and largest value over seeds of the maximum over channels."""
    if any(value is None for seed in ratios for value in seed):
        return "not finite"
    largest = sorted(max(value for value in seed if value is not None) for seed in ratios)
    low, high = (f"{value:.1f}" for value in (largest[0], largest[-1]))
    return low if low == high else f"{low} to {high}"


def main() -> None:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="summary of benchmarks.accuracy.study")
    parser.add_argument("--times", type=Path, help="results of benchmarks.speed.training")
    parser.add_argument("--figure", type=Path, help="picture to draw")
    args = parser.parse_args()
    results, costs = Results.read(args.file), step_costs(args.times) if args.times else {}
    print(*filter(None, (table(results, costs), claim(results))), sep="\n\n")
    if args.figure is not None:
        from benchmarks.accuracy.study.figure import draw

        draw(args.figure, results, costs)


if __name__ == "__main__":
    main()
