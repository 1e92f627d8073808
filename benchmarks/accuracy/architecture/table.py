"""Tables in Markdown of the comparison of architectures, from its file.

    python -m benchmarks.accuracy.architecture.table FILE

For each problem with several learning rates there is a table of the validation errors at each rate.
The next table has the validation errors of all rows with seed 0, at the learning rate that is best
for the row; a value within 10 % of the best of its problem is bold. The last one has the test
errors of rows that were measured on it, means over their seeds, over those of the best row with the
global branch alone, with an interval of 95 % by a bootstrap over trajectories, or over years of
observations.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.markdown import markdown_table
from benchmarks.accuracy.records import read

Runs = Sequence[Mapping[str, Any]]
_ERROR = "relative_l2"
_NEAR = 1.1
_SAMPLES = 4000


def table_of_validation(runs: Runs) -> str:
    """Return the table of validation errors: rows against problems."""
    best: dict[tuple[str, str], float] = {}
    for run in runs:
        if run["seed"] == 0:
            key = run["row"], run["problem"]
            value = run.get("validation", {}).get(f"validation/{_ERROR}", np.inf)
            best[key] = min(best.get(key, np.inf), value)
    problems = list(dict.fromkeys(problem for _, problem in best))
    least = {p: min(v for (_, problem), v in best.items() if problem == p) for p in problems}
    rows = dict.fromkeys(row for row, _ in best)
    return markdown_table(
        ["row", *problems],
        [[row, *(_cell(best.get((row, p)), least[p]) for p in problems)] for row in rows],
    )


def table_of_rates(runs: Runs, problem: str) -> str:
    """Return the table of validation errors of a problem: rows against learning rates."""
    found = {
        (run["row"], run["rate"]): run.get("validation", {}).get(f"validation/{_ERROR}", np.inf)
        for run in runs
        if (run["problem"], run["seed"]) == (problem, 0)
    }
    rates = sorted({rate for _, rate in found})
    least = min(found.values())
    rows = dict.fromkeys(row for row, _ in found)
    return markdown_table(
        [f"{problem}, learning rate", *(f"{rate:g}" for rate in rates)],
        [[row, *(_cell(found.get((row, rate)), least) for rate in rates)] for row in rows],
    )


def table_of_test(runs: Runs) -> str:
    """Return the table of test errors relative to the best row without local branches."""
    found: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        found[run["problem"]][run["row"]].append(run["test"][_ERROR])
    lines = []
    for problem, rows in found.items():
        means = {row: np.mean(of, axis=0) for row, of in rows.items()}  # (trajectory,)
        base = min(
            (row for row in means if ", global" in row),
            key=lambda row: float(means[row].mean()),
            default=None,
        )
        for row, values in means.items():
            seeds = [float(np.mean(of)) for of in rows[row]]
            cells = [problem, row, str(len(seeds)), f"{values.mean():.4f}",
                     f"{min(seeds):.4f} to {max(seeds):.4f}"]  # fmt: skip
            if base is None or row == base:
                cells.append("")
            else:
                low, high = _interval(values, means[base])
                ratio = values.mean() / means[base].mean()
                cells.append(f"{ratio:.2f} ({low:.2f} to {high:.2f})")
            lines.append(cells)
    head = ["problem", "row", "seeds", "error", "of the seeds", "over the best global row"]
    return markdown_table(head, lines)


def _cell(value: float | None, least: float) -> str:
    """Return the text of an error, bold if it is near the least one."""
    if value is None:
        return ""
    text = f"{value:.4f}" if np.isfinite(value) else "diverges"
    return f"**{text}**" if value <= _NEAR * least else text


def _interval(values: NDArray[np.float64], base: NDArray[np.float64]) -> tuple[float, float]:
    """Return an interval of 95 % of the ratio of two means over the same trajectories."""
    n = len(values)
    chosen = np.random.default_rng(0).integers(n, size=(_SAMPLES, n))
    ratios = values[chosen].mean(1) / base[chosen].mean(1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    content = read(parser.parse_args().file)
    rates: dict[str, set[float]] = defaultdict(set)
    for run in content["validation"]:
        rates[run["problem"]].add(run["rate"])
    for problem in (problem for problem, of in rates.items() if len(of) > 1):
        print(f"{table_of_rates(content['validation'], problem)}\n")
    print(table_of_validation(content["validation"]))
    if content["test"]:
        print(f"\n{table_of_test(content['test'])}")


if __name__ == "__main__":
    main()
