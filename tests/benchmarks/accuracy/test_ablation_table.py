"""Table of the ablation: means over seeds, and the time at which each run diverges."""

import json
from pathlib import Path

from benchmarks.accuracy.ablation_table import step_costs, table


def run(name: str, error: float | None, leaves: int | None, *rms: float | None) -> dict:
    return {
        "name": name,
        "parameters": 1234,
        "errors": [0.02] * 19 + [error],
        "leaves": leaves,
        "rms": rms,
    }


def test_a_line_for_each_row_with_the_means_of_its_seeds(tmp_path: Path) -> None:
    times = tmp_path / "times.json"
    rows = [
        {"name": "training step, 16 both, second order", "ours": 99.6},
        {"name": "peak memory of a step, 16 both, second order", "ours": 120.2},
        {"name": "loader, share of the time in compute", "ours": 0.99},
    ]
    times.write_text(json.dumps({"rows": rows}))
    runs = [
        run("16 both, second order", 0.1, None, 2.04, 0.7),
        run("16 both, second order", 0.3, 869, 0.9, 12.56),
        run("64 none", 0.04, None, 1.0, 1.0),
        run("16 none", None, 9, None, 2.0),
    ]
    unchanged = [0.885, *[1.0] * 3, 1.122, *[1.2] * 14, 1.409]
    head, rule, *lines = table(runs, step_costs(times), unchanged).splitlines()
    assert head.count("|") == rule.count("|") == 11
    assert lines == [
        "| persistence |  |  |  |  | 0.885 | 1.122 | 1.409 |  |  |",
        "| 16 both, second order | 2 | 1,234 | 100 | 120 | 0.0200 | 0.0200 | 0.200 | never, 869 "
        "| 2.0 to 12.6 |",
        "| 64 none | 1 | 1,234 |  |  | 0.0200 | 0.0200 | 0.0400 | never | 1.0 |",
        "| 16 none | 1 | 1,234 |  |  | 0.0200 | 0.0200 | not finite | 9 | not finite |",
    ]
