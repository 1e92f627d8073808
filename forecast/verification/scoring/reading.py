"""States of a forecast file in pieces, read while earlier ones are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from forecast.verification.truth import Truth

_BLOCK_BYTES = 16 * 2**20
"""Size of a piece. That of an ensemble holds one channel of all members, and as many lead times."""

Array = NDArray[np.floating[Any]]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Piece:
    """Fields of a forecast at some lead times.

    Attributes:
        forecast_index: Index of the forecast.
        positions: Positions of the lead times, (k,); may be empty at the start of a forecast.
        channels: Channels of the piece; all of them for single forecasts, else one.
        fields: Fields (m, k, c, p), row by row; one member for single forecasts.
        is_last: True for the last piece at these lead times.
    """

    forecast_index: int
    positions: NDArray[np.int64]
    channels: slice
    fields: Array
    is_last: bool


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items of an iterator, of which a thread makes the next one in the meantime."""
    end = object()
    with ThreadPoolExecutor(1, "read_ahead") as thread:
        following = thread.submit(next, items, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, items, end)
            yield item  # type: ignore[misc]


def pieces(truth: Truth, forecast_indices: Iterable[int]) -> Iterator[Piece]:
    """Read forecasts at the lead times that have a truth, in their order.

    Raises:
        ValueError: If a forecast did not start from the store, or the file is damaged.
    """
    file = truth.file
    n_points, n_channels = file.grid.nlat * file.grid.nlon, len(file.channel_names)
    at_once = max(1, _BLOCK_BYTES // (4 * n_points * max(n_channels, file.n_members)))
    for i in forecast_indices:
        for first in range(0, len(file.steps), at_once):
            known = truth.known(i, slice(first, first + at_once))
            if first and not len(known):
                continue
            span = slice(first, int(known[-1]) + 1 if len(known) else first + 1)
            truth.read_ahead(i, known)
            read = _channels if file.n_members > 1 else _states
            yield from read(truth, i, known, span)


def _states(truth: Truth, i: int, known: NDArray[np.int64], span: slice) -> Iterator[Piece]:
    """Read all channels of a single forecast."""
    states = truth.file.states(i, span)
    if span.start == 0:
        truth.check_start(i, states[0])
        truth.file.check_initial(states[0], i)
    yield Piece(i, known, slice(None), _at(states[None], known - span.start), True)


def _channels(truth: Truth, i: int, known: NDArray[np.int64], span: slice) -> Iterator[Piece]:
    """Read the channels of an ensemble, one after the other."""
    file = truth.file
    if span.start == 0:
        truth.check_start(i, may_differ=True)  # members may start from perturbed states
        file.check_initial(file.states(i, slice(0, 1))[0], i)
    for c, name in enumerate(file.channel_names):
        fields = _at(file.members(name, i, span)[:, :, None], known - span.start)
        is_last = c == len(file.channel_names) - 1
        yield Piece(i, known, slice(c, c + 1), fields, is_last)


def _at(states: Array, places: NDArray[np.int64]) -> Array:
    """Return states (m, k, c, p) at some places of (m, k, c, nlat, nlon)."""
    kept = states if len(places) == states.shape[1] else states[:, places]
    return kept.reshape(*kept.shape[:-2], kept.shape[-2] * kept.shape[-1])
