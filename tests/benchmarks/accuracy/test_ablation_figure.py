"""Figure of the ablation: errors and times are those of the files that the benchmarks save."""

import json
from pathlib import Path

import pytest

from benchmarks.accuracy.ablation_figure import draw, mean_errors
from benchmarks.accuracy.ablation_table import step_costs


def test_errors_are_means_over_seeds_and_rows_without_a_time_are_left_out(tmp_path: Path) -> None:
    errors, times = tmp_path / "errors.json", tmp_path / "times.json"
    runs = [
        {"name": "16 both", "errors": [0.1] * 20},
        {"name": "16 both", "errors": [0.3] * 20},
        {"name": "32 none", "errors": [0.2] * 20},
        {"name": "64 none", "errors": [0.5] * 19 + [None]},
        {"name": "16 both, second order", "errors": [0.1] * 20},
    ]
    errors.write_text(json.dumps({"runs": runs}))
    rows = [
        {"name": f"training step, {name}", "ours": 100.0, "peer": 400.0, "peer_name": "LSNO"}
        for name in ("16 both", "64 none", "16 both, second order")
    ]
    rows.append({"name": "peak memory of a step, 16 both", "ours": 7.0, "peer": 9.0})
    times.write_text(json.dumps({"rows": rows}))

    costs = step_costs(times)
    assert costs == {
        "16 both": {"time": 100.0, "memory": 7.0},
        "64 none": {"time": 100.0},
        "16 both, second order": {"time": 100.0},
    }
    found = mean_errors(errors)
    assert found["16 both"]["5"] == pytest.approx([0.1, 0.3])
    assert found["64 none"]["20"] == []
    picture = tmp_path / "figure.png"
    shown = draw(picture, found, costs)
    assert shown == ["16 both", "64 none", "16 both, second order"]
    assert picture.read_bytes().startswith(b"\x89PNG")
