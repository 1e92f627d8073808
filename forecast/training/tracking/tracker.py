"""Interface of the service that records a training run.

Every back end is one class with the methods of `Tracker`; MLflow's is in `mlflow_tracker.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class RunDescription:
    """Description of a run for a tracker.

    Attributes:
        experiment: name of the experiment.
        name: name of the run.
        parameters: the configuration, nested.
        tags: short facts, as the git commit.
        dataset: path of the store that it trains on.
        provenance: JSON of what the store was made from.
    """

    experiment: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    dataset: str = ""
    provenance: str = "{}"


class Tracker(Protocol):
    """A service that keeps runs. Any method may raise anything: the caller tries again later."""

    def start(self, run: RunDescription, run_id: str | None) -> str:
        """Begin a run, or go on with the one of `run_id`; returns its id."""

    def metrics(self, run_id: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Take records: `step`, `time` (s since 1970), and values by name; repeats are harmless."""

    def artifact(self, run_id: str, path: Path, folder: str) -> None:
        """Take a file, or the files of a folder, into a folder of the run."""

    def model(self, run_id: str, package: Path) -> None:
        """Take a package as the model of the run."""

    def finish(self, run_id: str, completed: bool) -> None:
        """End the run."""
