"""The books of training steps that changed nothing, since their loss was not finite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from forecast.training.trainer import StepResult

NON_FINITE_FILE = "non_finite.jsonl"


def record_skipped(run: Path, step: int, result: StepResult, batch: Sequence[str]) -> None:
    """Add a line.

    Args:
        run: its folder.
        step: which one it was.
        result: what came of it.
        batch: the windows of all processes, in words.
    """
    report = {
        "step": step,
        "loss": str(result.loss),
        "gradient_norm": str(result.gradient_norm),
        "learning_rate": result.learning_rate,
        "batch": batch,
    }
    with (run / NON_FINITE_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(report) + "\n")
