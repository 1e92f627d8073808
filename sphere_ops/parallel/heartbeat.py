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
_LONGEST_WAIT = 10.0
"""Seconds that `end` waits for the last heartbeat."""
_SILENT = 5.0
"""Seconds without a heartbeat after which a rank counts as stopped or dead."""


class Heartbeat(threading.Thread):
    """Thread that publishes the activity of this rank, and reads that of the others.

    The store holds, for each rank, its count of collective operations, activity, time and place.
    """

    def __init__(self, store: Any, rank: int, ranks: int) -> None:
        """Prepare the thread; `start` begins to publish.

        Args:
            store: Key-value store that all ranks reach.
            rank: This rank.
            ranks: Number of ranks.
        """
        super().__init__(name="heartbeat of the mesh", daemon=True)
        self._store, self._rank, self._ranks = store, rank, ranks
        self._place = f"{socket.gethostname()}, process {os.getpid()}"
        self._count, self._activity = 0, "start"
        self._ending = threading.Event()

    def begin(self, operation: str) -> None:
        """Record the start of a collective operation; all ranks count the same ones."""
        self._count += 1
        self._activity = operation

    def note(self, activity: str) -> None:
        """Record an activity of this rank alone."""
        self._activity = activity

    def run(self) -> None:
        """Publish every second until `end`."""
        while not self._ending.is_set():
            try:
                self._publish()
            except RuntimeError:  # the store has closed because the job has ended
                return
            self._ending.wait(_EVERY)

    def end(self) -> None:
        """Stop publishing, and wait until the thread has left the store.

        A thread that is inside the store when the interpreter exits would abort the process.
        """
        self._ending.set()
        self.join(_LONGEST_WAIT)

    def explain(self, operation: str, error: Exception) -> str:
        """Return a sentence that names the ranks that are behind, and their last activity.

        Args:
            operation: Operation in which this rank waited.
            error: Error that ended the wait.
        """
        try:
            self._publish()
            last = {rank: self._last(rank) for rank in range(self._ranks)}
        except RuntimeError:
            last = {}
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        missing = [
            f"rank {rank} ({place}) was last at {activity!r}"
            + (f", heartbeat {age:.0f} s ago" if age > _SILENT else "")
            for rank, (count, activity, age, place) in last.items()
            if rank != self._rank and (count < self._count or age > _SILENT)
        ]
        return (
            f"the mesh broke in {operation!r} on rank {self._rank} of {self._ranks}: "
            f"{'; '.join(missing) or 'no rank is known to be behind'} ({reason}); saved files are "
            "intact: resume the run"
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
