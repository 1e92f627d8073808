"""Iterators that run in threads, merged into one iterator."""

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
    """End of a thread, with or without an error."""

    error: BaseException | None = None


def run_in_threads(
    jobs: Iterable[Iterable[T]], n: int, stopped: threading.Event | None = None
) -> Generator[T]:
    """Run iterables in n threads, and yield their items as they come.

    Each thread gets an equal share of torch's intra-op threads, which do not scale for small
    tensors and leave cores idle between operations.

    Args:
        jobs: Iterables. One thread runs an iterable, in its order.
        n: Number of threads.
        stopped: Event that is set when no more items are wanted. A job that computes long between
            items should check it and end.

    Yields:
        Items of all jobs. Threads wait until their items are taken.

    Raises:
        BaseException: the first error of a job, after the other threads have ended.
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
        torch.set_num_threads(all_threads)  # also for threads that start later
