"""Heartbeat of each rank, for timeout diagnostics."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from typing import Any

_EVERY = 1.0
"""Seconds between two heartbeats."""
_SILENT = 5.0
"""Seconds without a heartbeat after which a rank counts as stopped or dead."""


class Heartbeat(threading.Thread):
    """Thread that publishes this rank's activity and reads that of the others."""

    def __init__(self, store: Any, rank: int, ranks: int) -> None:
        """Prepare; `start` begins to publish.

        Args:
            store: key-value store that all processes reach.
            rank: this process.
            ranks: number of processes.
        """
        super().__init__(name="heartbeat of the mesh", daemon=True)
        self._store, self._rank, self._ranks = store, rank, ranks
        self._place = f"{socket.gethostname()}, process {os.getpid()}"
        self._count, self._activity = 0, "start"
        self._ending = threading.Event()

    def begin(self, operation: str) -> None:
        """Record a collective operation, which all ranks count alike."""
        self._count += 1
        self._activity = operation

    def note(self, activity: str) -> None:
        """Record an activity of this rank alone."""
        self._activity = activity

    def run(self) -> None:
        """Publish until `end`."""
        while not self._ending.is_set():
            try:
                self._publish()
            except RuntimeError:  # the store is gone, and with it the job
                return
            self._ending.wait(_EVERY)

    def end(self) -> None:
        """Stop publishing."""
        self._ending.set()

    def explain(self, operation: str, error: Exception) -> str:
        """Name the ranks that are behind, and their last activity, in one sentence.

        Args:
            operation: operation in which this rank waited.
            error: error that ended it.
        """
        try:
            self._publish()
            last = {rank: self._last(rank) for rank in range(self._ranks)}
        except RuntimeError:
            last = {}
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        missing = [
            f"rank {rank} ({place}) stands at {activity!r}"
            + (f", last heard of {age:.0f} s ago" if age > _SILENT else "")
            for rank, (count, activity, age, place) in last.items()
            if rank != self._rank and (count < self._count or age > _SILENT)
        ]
        return (
            f"the mesh broke in {operation!r} on rank {self._rank} of {self._ranks}: "
            f"{'; '.join(missing) or 'no process is known to be behind'} ({reason}); what was "
            "saved is good, go on from there"
        )

    def _publish(self) -> None:
        message = json.dumps([self._count, self._activity, time.time(), self._place])
        self._store.set(f"heartbeat/{self._rank}", message)

    def _last(self, rank: int) -> tuple[int, str, float, str]:
        key = f"heartbeat/{rank}"
        if not self._store.check([key]):
            return 0, "start", 0.0, "unknown place"
        count, activity, published, place = json.loads(self._store.get(key))
        return count, activity, time.time() - published, place
