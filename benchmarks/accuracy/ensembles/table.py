"""Table in Markdown of the comparison of ensembles, from its summary.

    python -m benchmarks.accuracy.ensembles.table FILE

Means over channels and seeds; for day 5 also the smallest and largest ratio of a seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.accuracy.ensembles.runs import VARIANTS
from benchmarks.accuracy.markdown import markdown_table
from benchmarks.accuracy.records import read

DAYS = (1, 2, 3, 5, 7, 10)


def table(summary: Mapping[str, Any]) -> str:
    """Return the table of a summary: scores against lead times.

    Args:
        summary: Content of the file, see `runs.study`.
    """
    days = [day for day in DAYS if day in summary["days"]]
    places = [summary["days"].index(day) for day in days]
    variants = [name for name in VARIANTS if name in summary]
    deterministic = [name for name in variants if name != "noise"]

    def row(label: str, values: list[float], digits: int) -> list[str]:
        return [label, *(f"{values[k]:.{digits}f}" for k in places)]

    rows = [row(f"`{name}`, CRPS", summary[name]["mean_crps"], 4) for name in variants]
    for name in variants:
        rows.append(row(f"`{name}`, spread over error", summary[name]["spread_skill"], 2))
    for name in deterministic:
        if f"noise_over_{name}" in summary:
            label = f"CRPS of `noise` over `{name}`"
            rows.append(row(label, summary[f"noise_over_{name}"], 2))
    return markdown_table([f"`{summary['flow']}`, day", *map(str, days)], rows)


def ranges(summary: Mapping[str, Any], day: int = 5) -> list[str]:
    """Return lines with the ratios of each seed and the ranges over channels, days and seeds.

    Args:
        summary: Content of the file.
        day: Lead time of the ratios.
    """
    lines = []
    k = summary["days"].index(day)
    crps = {(r["variant"], r["seed"]): r["mean_crps"][k] for r in summary["runs"]}
    for name in (name for name in VARIANTS if name in summary):
        of = summary[name]
        low, high = of["spread_skill_range"]
        share = next(key for key in of if "where_share" in key)
        line = (
            f"{name}: seeds {', '.join(map(str, of['seeds']))}; spread over error {low:.2f} to "
            f"{high:.2f}; largest factor of power {of['largest_factor_of_power']:.2f}, of degrees "
            f"with power {of[share]:.2f}"
        )
        pairs = [(crps["noise", s], crps[name, s]) for s in of["seeds"] if ("noise", s) in crps]
        if name != "noise" and pairs:
            ratios = ", ".join(f"{ours / other:.3f}" for ours, other in pairs)
            line += f"; CRPS of noise over this on day {day}: {ratios}"
        lines.append(line)
    return lines


def main() -> None:
    """Print the table and the ranges."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    summary = read(parser.parse_args().file)
    print(table(summary), "", *ranges(summary), sep="\n")


if __name__ == "__main__":
    main()
