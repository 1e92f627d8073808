"""States of a forecast file in blocks, read while earlier ones are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from forecast.verification.truth import Truth

_BLOCK_BYTES = 16 * 2**20

Array = NDArray[np.floating[Any]]
Item = TypeVar("Item")


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items of an iterator, of which a thread makes the next one in the meantime."""
    end = object()
    with ThreadPoolExecutor(1, "read_ahead") as thread:
        following = thread.submit(next, items, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, items, end)
            yield item  # type: ignore[misc]


def blocks(
    truth: Truth, forecast_indices: Iterable[int]
) -> Iterator[tuple[int, NDArray[np.int64], Array]]:
    """Read the states of forecasts at the lead times that have a truth, in their order.

    Yields:
        Index of the forecast, positions of lead times (k,), and states (k, c, nlat, nlon). The last
        block of a forecast may be empty.

    Raises:
        ValueError: If a forecast did not start from the store, or the file is damaged.
    """
    file = truth.file
    n_positions, n_channels = len(file.steps), len(file.channel_names)
    at_once = max(1, _BLOCK_BYTES // (4 * n_channels * file.grid.nlat * file.grid.nlon))
    for i in forecast_indices:
        for first in range(0, n_positions, at_once):
            known = truth.known(i, slice(first, first + at_once))
            if first and not len(known):
                continue
            last = int(known[-1]) if len(known) else first
            states = file.states(i, slice(first, last + 1))
            if first == 0:
                truth.check_start(i, states[0])
                file.check_initial(states[0], i)
            whole = len(known) == len(states)
            yield i, known, states if whole else states[known - first]
