"""Iterators that threads work off side by side, as one."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from queue import Queue
from typing import TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class _Ended:
    """A thread has ended, with or without an error."""

    error: BaseException | None = None


def run_in_threads(
    jobs: Iterable[Iterable[T]], n: int, stopped: threading.Event | None = None
) -> Generator[T]:
    """What some iterables yield, n of them at a time, each in a thread with its share of torch's.

    Small tensors give torch's own threads little to share, while the code between its calls, and
    whoever takes what comes out of here, leave cores idle.

    Args:
        jobs: iterables; each is worked off by one thread, in its order.
        n: number of threads.
        stopped: set when no more items are wanted; a job that takes long to its next item looks at
            it, and ends.

    Yields:
        What they yield, as it comes; little is made in advance of what is taken.

    Raises:
        BaseException: the first error of a job, after the others have come to their next item.
    """
    waiting, taking = iter(jobs), threading.Lock()
    stopped = stopped or threading.Event()
    ready: Queue[T | _Ended] = Queue(maxsize=1)
    all_threads = torch.get_num_threads()

    def work() -> None:
        ended = _Ended()
        try:
            torch.set_num_threads(max(1, all_threads // n))
            while not stopped.is_set():
                with taking:
                    job = next(waiting, None)
                if job is None:
                    break
                for item in job:
                    ready.put(item)
                    if stopped.is_set():
                        break
        except BaseException as error:
            ended = _Ended(error)
        ready.put(ended)

    for _ in range(n):
        threading.Thread(target=work, daemon=True).start()
    running = n
    try:
        while running:
            item = ready.get()
            if not isinstance(item, _Ended):
                yield item
                continue
            running -= 1
            if item.error is not None:
                raise item.error
    finally:
        stopped.set()
        while running:
            running -= isinstance(ready.get(), _Ended)
        torch.set_num_threads(all_threads)  # of threads that are yet to come, too
