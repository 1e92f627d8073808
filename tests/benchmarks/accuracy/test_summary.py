"""Tables of a study: means over seeds, intervals over trajectories, ratios to the best row."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.study.figure import draw
from benchmarks.accuracy.study.summary import Results, claim, interval, step_costs, table


def run(name: str, last: list | float | None, leaves: int | None, *rms: float | None) -> dict:
    return {
        "name": name,
        "parameters": 1234,
        "errors": [0.02, *[0.03] * 18, last],
        "leaves": leaves,
        "rms": rms,
    }


def results(tmp_path: Path, runs: list[dict], **references: list) -> Results:
    path = tmp_path / "results.json"
    content = {"leads": [1, 20], "references": {}, "runs": runs}
    content["references"] = {name: {"errors": errors} for name, errors in references.items()}
    path.write_text(json.dumps(content))
    return Results.read(path)


def times(tmp_path: Path) -> Path:
    path = tmp_path / "times.json"
    rows = [
        {"name": "training step, 16 both, second order", "ours": 99.6},
        {"name": "peak memory of a step, 16 both, second order", "ours": 120.2},
        {"name": "loader, share of the time in compute", "ours": 0.99},
    ]
    path.write_text(json.dumps({"rows": rows}))
    return path


def test_a_line_for_each_row_with_the_means_of_its_seeds(tmp_path: Path) -> None:
    runs = [
        run("16 both, second order", 0.1, None, 2.04, 0.7),
        run("16 both, second order", 0.3, 869, 0.9, 12.56),
        run("64 none", 0.04, None, 1.0, 1.0),
        run("16 none", None, 9, None, 2.0),
    ]
    runs[0]["seconds_per_day"], runs[1]["seconds_per_day"] = 0.512, 0.7
    found = results(tmp_path, runs, persistence=[0.885, *[1.0] * 18, 1.409])
    head, rule, *lines = table(found, step_costs(times(tmp_path))).splitlines()
    assert head.count("|") == rule.count("|") == 11
    assert lines == [
        "| persistence |  |  |  |  |  | 0.885 | 1.409 |  |  |",
        "| 16 both, second order | 2 | 1,234 | 100 | 120 | 0.51 | 0.0200 | 0.200 | never, 869 "
        "| 2.0 to 12.6 |",
        "| 64 none | 1 | 1,234 |  |  |  | 0.0200 | 0.0400 | never | 1.0 |",
        "| 16 none | 1 | 1,234 |  |  |  | 0.0200 | not finite | 9 | not finite |",
    ]


def test_intervals_are_over_trajectories_and_ratios_are_paired(tmp_path: Path) -> None:
    errors = np.random.default_rng(0).uniform(0.1, 0.3, 24)
    low, high = interval(errors) or (0, 0)
    assert low < errors.mean() < high
    half_width = 2.07 * errors.std(ddof=1) / 24**0.5  # Student's distribution
    assert (high - low) / 2 == pytest.approx(half_width, rel=0.15)
    runs = [
        run("64 none, complex", errors.tolist(), None, 1.0),
        run("64 both", (0.2 * errors).tolist(), None, 1.0),
        run("64 both", (0.4 * errors).tolist(), None, 1.0),
        run("64 none", (3 * errors).tolist(), None, 1.0),
    ]
    runs[3]["errors"][0] = 0.5
    found = results(tmp_path, runs)
    head, _, *lines = claim(found).splitlines()
    assert head == "| over 64 none, complex | 1 step | 20 steps |"
    assert lines == [
        "| 64 both | 1.000 | 0.300 (0.300 to 0.300) |",
        "| 64 none | 25.000 | 3.000 (3.000 to 3.000) |",
    ]
    assert f"| {errors.mean():.3f} ({low:.3f} to {high:.3f}) |" in table(found, {})


def test_rows_without_a_time_are_left_out_of_a_figure_over_time(tmp_path: Path) -> None:
    runs = [run(n, 0.1, None, 1.0) for n in ("16 both, second order", "sfno, equal time")]
    found, picture = results(tmp_path, runs, linear=[0.2] * 20), tmp_path / "figure.png"
    assert draw(picture, found, step_costs(times(tmp_path))) == ["16 both, second order"]
    assert draw(picture, found, {}) == ["16 both, second order", "sfno, equal time"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert step_costs(times(tmp_path))["16 both, second order"] == {"time": 99.6, "memory": 120.2}


def test_the_published_results_have_their_table() -> None:
    for name, rows in (("ablation", 19), ("ablation_half", 6), ("ablation_stability", 7)):
        found = Results.read(Path(__file__).parents[3] / f"benchmarks/results/{name}.json")
        assert len(found.rows) == rows
        assert table(found, {}).count("\n") == 1 + rows + len(found.references)
