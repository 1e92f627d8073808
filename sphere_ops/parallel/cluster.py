"""Work on the workers of a dask cluster; the only importer of dask.distributed."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sphere_ops.parallel.partition import split_evenly

Items = TypeVar("Items", bound=Sequence[Any])
Result = TypeVar("Result")

log = logging.getLogger(__name__)

_TIMEOUT = 10
"""Longest time to wait for an answer of the scheduler, s."""


def on_workers(
    address: str,
    work: Callable[[Items], Result],
    items: Items,
    *,
    runs_per_worker: int = 2,
) -> Iterator[Result]:
    """Call a function on runs of consecutive items; yield the results in the order of the items.

    Args:
        address: Address of the scheduler, such as "tcp://host:8786".
        work: Function of a run of items. It is pickled, and so are its results.
        items: Items, which are split evenly.
        runs_per_worker: Number of runs for each worker, if there are enough items.

    Raises:
        ValueError: if dask.distributed is not installed, or the scheduler cannot be reached.
        ConnectionError: if workers died while they worked on a run, or the scheduler was lost.
        Exception: the error of the first run that has one.
    """
    try:
        from distributed import CancelledError, Client, KilledWorker
    except ImportError:
        raise ValueError(
            "a scheduler needs one more package; install it with: pip install distributed"
        ) from None
    try:
        client: Any = Client(address, timeout=_TIMEOUT)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"no dask scheduler answers at {address!r} ({reason}); start one, or leave out "
            "--scheduler"
        ) from None
    with client:
        n_workers = len(client.nthreads())
        if not n_workers:
            log.warning("the dask scheduler at %s has no workers yet; waiting for some", address)
        count = min(len(items), runs_per_worker * max(1, n_workers))
        parts = split_evenly(0, len(items), count)
        waiting = deque(client.submit(work, items[part], pure=False) for part in parts)
        try:
            while waiting:
                yield waiting.popleft().result()
        except KilledWorker as error:
            raise ConnectionError(
                f"workers of the dask cluster at {address} died at their work, as they do without "
                "enough memory; see their logs, and give them more memory or fewer threads"
            ) from error
        except CancelledError as error:
            raise ConnectionError(
                f"the dask scheduler at {address} no longer answers; start it again, and repeat "
                "the command"
            ) from error
