"""Background thread that writes while the next steps are computed."""

from __future__ import annotations

from collections.abc import Callable
from queue import Queue
from threading import Thread

Task = Callable[[], None]


class BackgroundThread:
    """Thread that runs tasks in their order; one runs and one waits, a third one blocks the caller.

    After a task has failed the others are dropped, and its error is raised where the next task is
    submitted, or at the end.
    """

    def __init__(self) -> None:
        """Start nothing: the thread starts with the first task."""
        self._tasks: Queue[Task | None] = Queue(maxsize=1)
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def submit(self, task: Task) -> None:
        """Add a task, as soon as at most one other waits or runs.

        Raises:
            BaseException: error of an earlier task.
        """
        self._check()
        if self._thread is None:
            self._thread = Thread(target=self._run, name="forecast writer", daemon=True)
            self._thread.start()
        self._tasks.put(task)

    def finish(self) -> None:
        """Wait for all tasks.

        Raises:
            BaseException: error of a task.
        """
        self._join()
        self._check()

    def stop(self) -> None:
        """Wait for all tasks after an error elsewhere; their own errors are not raised."""
        self._join()

    def _join(self) -> None:
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join()
            self._thread = None

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._error is None:
                try:
                    task()
                except BaseException as error:  # raised again in the caller's thread
                    self._error = error
            del task  # and with it the block that it holds
