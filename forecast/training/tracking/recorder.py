"""The record of a run: a local file first, and from there to the tracker in the background.

Training writes a line and goes on. A thread reads the file and sends what is new, remembers how
far it got, and tries again when the tracker fails: a server that is down, slow or gone for good
costs training nothing, and what it missed is sent when it is back, or when the run is resumed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs import layout
from data_prep.store.outputs import cannot_write, written_beside
from forecast.training.tracking.tracker import RunDescription, Tracker

log = logging.getLogger(__name__)

_SENT_FILE = "tracking.json"
_EVERY = 5.0
"""Seconds between two uploads."""
_LONGEST_PAUSE = 60.0
_PATIENCE = 30.0
"""Seconds that the end of a run waits for the tracker."""
_LINES_PER_UPLOAD = 200


class MetricsFile:
    """Metrics as lines of JSON: `step`, `time` (s since 1970) and values by name."""

    def __init__(self, path: Path) -> None:
        """Open the file to append; a half line that a kill left is removed.

        Args:
            path: of the file.
        """
        self.path = path
        self.last_step = -1
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)
            self.last_step = max((r["step"] for r in read_metrics(path)), default=-1)
        self._file = path.open("ab", buffering=0)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line; steps that a resumed run repeats are there already and left out.

        Raises:
            OSError: if the disk is full.
        """
        if step <= self.last_step:
            return
        finite = {k: float(v) if math.isfinite(v) else None for k, v in values.items()}
        line = json.dumps({"step": step, "time": time.time(), **finite}) + "\n"
        try:
            self._file.write(line.encode())
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.last_step = step

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics file, oldest first."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


class MetricsUploader(threading.Thread):
    """Sends the metrics file, and at the end the artifacts, to a tracker."""

    def __init__(self, run: Path, tracker: Tracker, description: RunDescription) -> None:
        """Prepare; `start` begins to send.

        Args:
            run: folder of the run.
            tracker: where to send.
            description: of the run, for a tracker that does not know it yet.
        """
        super().__init__(name="upload to the tracker", daemon=True)
        self.run_folder, self.tracker, self.description = run, tracker, description
        self.failure = ""
        self._sent = _read_sent(run)
        self._started_run = False
        self._ending = threading.Event()
        self._artifacts: Sequence[tuple[Path, str]] = ()
        self._completed = False
        self._package: Path | None = None

    @property
    def run_id(self) -> str | None:
        """Identifier of the run in the tracker; None until it has answered."""
        return self._sent.get("run_id")

    def end(
        self, artifacts: Sequence[tuple[Path, str]], completed: bool, package: Path | None = None
    ) -> bool:
        """Send what is left, for a limited time.

        Args:
            artifacts: files or folders, and the folder of the run in which they go.
            completed: whether the run reached its last step.
            package: of the run's model.

        Returns:
            Whether the tracker has everything.
        """
        self._artifacts, self._completed, self._package = artifacts, completed, package
        self._ending.set()
        self.join(_PATIENCE)
        return not self.is_alive() and not self.failure

    def run(self) -> None:
        """Send until the end."""
        pause = _EVERY
        while True:
            ending = self._ending.is_set()
            try:
                self._upload()
                if ending:
                    self._conclude()
                self.failure, pause = "", _EVERY
            except Exception as error:  # a tracker may raise anything; training goes on
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                if not self.failure:
                    log.warning("the tracker does not answer, trying again later: %s", reason)
                self.failure = reason
                pause = min(2 * pause, _LONGEST_PAUSE)
            if ending:
                return
            self._ending.wait(pause)

    def _upload(self) -> None:
        if not self._started_run:
            run_id = self.tracker.start(self.description, self._sent.get("run_id"))
            self._remember(run_id=run_id)
            self._started_run = True
        while True:
            records, position = self._new_records()
            if not records:
                return
            self.tracker.metrics(self._sent["run_id"], records)
            self._remember(position=position)

    def _new_records(self) -> tuple[list[dict[str, Any]], int]:
        """Whole lines that were not sent yet, and the position in the file after them."""
        position = self._sent.get("position", 0)
        records: list[dict[str, Any]] = []
        with (self.run_folder / layout.METRICS_FILE).open("rb") as file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n") or len(records) == _LINES_PER_UPLOAD:
                    break
                records.append(json.loads(line))
                position += len(line)
        return records, position

    def _conclude(self) -> None:
        run_id = self._sent["run_id"]
        for path, folder in self._artifacts:
            if path.exists():
                self.tracker.artifact(run_id, path, folder)
        if self._package is not None:
            self.tracker.model(run_id, self._package)
        self.tracker.finish(run_id, self._completed)

    def _remember(self, **news: Any) -> None:
        self._sent |= news
        with written_beside(self.run_folder / _SENT_FILE, replace=True) as scratch:
            scratch.write_text(json.dumps(self._sent), encoding="utf-8")


def tracked_run_id(run: Path) -> str | None:
    """Return the identifier in the tracker of the run of a folder; None if it has none."""
    return _read_sent(run).get("run_id")


def _read_sent(run: Path) -> dict[str, Any]:
    """Read the record of what an earlier process of this run has sent."""
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        return dict(json.loads((run / _SENT_FILE).read_text(encoding="utf-8")))
    return {}


def system_metrics() -> dict[str, float]:
    """Load of this machine, under the names by which MLflow shows it."""
    import psutil
    import torch

    memory = psutil.virtual_memory()
    values = {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_percentage": memory.percent,
        "system/process_memory_usage_megabytes": psutil.Process().memory_info().rss / 1e6,
    }
    if torch.cuda.is_available():
        values["system/gpu_0_memory_usage_megabytes"] = torch.cuda.max_memory_allocated() / 1e6
    return values
