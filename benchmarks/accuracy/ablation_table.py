"""Table of the ablation in Markdown, from saved results.

    python -m benchmarks.accuracy.ablation_table --errors ABLATION.json --times TRAINING.json

One line for persistence and for each row in the results of `benchmarks.accuracy.ablation`: means of
the errors over the seeds, and for each seed the step at which its long rollout leaves the range of
the truth. Time and peak memory of a training step are added for rows of
`benchmarks.speed.training`.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.accuracy.ablation import LEADS

_HEAD = "| spectral, local branches | seeds | parameters | time | memory | "
_HEAD += " | ".join(f"{lead} step{'s' * (lead > 1)}" for lead in LEADS)
_HEAD += " | leaves at step | size |"

Costs = dict[str, dict[str, float]]


def table(runs: Sequence[dict[str, Any]], costs: Costs, persistence: Sequence[float] = ()) -> str:
    """Return the lines of the table.

    Args:
        runs: Runs as `benchmarks.accuracy.ablation` saves them.
        costs: `time` in ms and `memory` in MiB of each row.
        persistence: Errors of persistence after each step; empty for a table without it.
    """
    seeds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        seeds[run["name"]].append(run)
    lines = [_HEAD, "|---" * 2 + "|---:" * (_HEAD.count("|") - 5) + "|---|---|"]
    if persistence:
        errors = [_error([persistence[lead - 1]]) for lead in LEADS]
        lines.append(f"| {' | '.join(['persistence', *[''] * 4, *errors, '', ''])} |")
    for name, of in seeds.items():
        cost = [costs.get(name, {}).get(kind) for kind in ("time", "memory")]
        cells = [name, str(len(of)), f"{of[0]['parameters']:,}"]
        cells += ["" if value is None else f"{value:.0f}" for value in cost]
        cells += [_error([run["errors"][lead - 1] for run in of]) for lead in LEADS]
        cells += [_leaves([run["leaves"] for run in of]), _size([run["rms"] for run in of])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def step_costs(path: Path) -> Costs:
    """Return time and memory of a training step, by row of `benchmarks.speed.training`."""
    costs: Costs = defaultdict(dict)
    for row in json.loads(path.read_text())["rows"]:
        kind, _, name = row["name"].partition(", ")
        what = {"training step": "time", "peak memory of a step": "memory"}.get(kind)
        if what is not None:
            costs[name][what] = row["ours"]
    return dict(costs)


def _error(values: list[float | None]) -> str:
    finite = [value for value in values if value is not None]
    if len(finite) < len(values):
        return "not finite"
    mean = fmean(finite)
    return f"{mean:.4f}" if mean < 0.1 else f"{mean:.3f}"


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
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--errors", type=Path, required=True, help="results of ablation")
    parser.add_argument("--times", type=Path, required=True, help="results of speed.training")
    arguments = parser.parse_args()
    saved = json.loads(arguments.errors.read_text())
    print(table(saved["runs"], step_costs(arguments.times), saved["persistence"]))


if __name__ == "__main__":
    main()
