"""Peak memory, the choice of the parts of a benchmark, and the rows that are saved."""

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.accuracy.shallow_water import __main__ as shallow_water
from benchmarks.speed import training
from benchmarks.speed.ingest import __main__ as ingest
from benchmarks.speed.measure import Row, peak_memory, peak_of_process, report
from benchmarks.speed.sphere_ops import __main__ as sphere_ops

MAIN = {
    "ingest": ingest.main,
    "sphere_ops": sphere_ops.main,
    "training": training.main,
    "shallow_water": shallow_water.main,
}
STEP = """
import torch
from benchmarks.speed.measure import peak_memory

def step():
    torch.ones(1 << 23)
    for _ in range(8):
        torch.ones(1 << 22)

print(peak_memory(step, torch.device("cpu")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read from Linux's accounts")
def test_peak_memory_is_that_of_the_tensors_that_are_held_together() -> None:
    assert peak_of_process("-c", STEP) == pytest.approx(32, abs=1)  # MiB


def test_memory_is_not_measured_where_freed_memory_may_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    with pytest.raises(RuntimeError, match="MALLOC_MMAP_THRESHOLD_ is not set"):
        peak_memory(lambda: None, torch.device("cpu"))


@pytest.mark.parametrize("name", MAIN)
def test_a_name_that_matches_nothing_is_refused_with_those_that_there_are(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [name, "--only", "nothing of this name"])
    with pytest.raises(SystemExit) as caught:
        MAIN[name]()
    assert caught.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "--only 'nothing of this name' is in none of the names; they are " in message


def test_rows_that_are_not_measured_again_stay_with_their_commit(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    old = [Row("a", "1", 1.0, None, "", None, "s"), Row("a", "2", 1.0, None, "", None, "s")]
    report(old, "before", file)
    content = json.loads(file.read_text())
    content["machine"]["commit"] = "before"
    file.write_text(json.dumps(content))
    new = Row("a", "2", 2.0, None, "", None, "s")
    report([new], "after", file, keep=True)
    saved = json.loads(file.read_text())
    assert [(row["shape"], row["ours"]) for row in saved["rows"]] == [("1", 1.0), ("2", 2.0)]
    assert saved["machine"]["commit of a, 1"] == "before" != saved["machine"]["commit"]
    assert "commit of a, 2" not in saved["machine"]
    report([new], "alone", file)
    assert len(json.loads(file.read_text())["rows"]) == 1
