"""Blocks of lead times, in which a forecast file is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PIECE_BYTES, _BLOCK_BYTES = 2**20, 32 * 2**20


@dataclass(frozen=True)
class Block:
    """Fields of some rows at consecutive lead times.

    Attributes:
        rows: rows of forecasts and members.
        first: position of the first lead time.
        values: (rows, lead times, variable, nlat, nlon), NaN where nothing is written.
    """

    rows: slice
    first: int
    values: NDArray[np.float32]


def block_steps(n_steps: int, n_variables: int, n_rows: int, field_points: int) -> int:
    """Return the number of lead times of a block.

    A variable of one forecast takes about 1 MiB in it, and the block at most 32 MiB. Both limits
    are independent of the number of lead times.

    Args:
        n_steps: lead times of the file.
        n_variables: variables of the file.
        n_rows: largest number of forecasts and members that are written together.
        field_points: points of a field.
    """
    field = 4 * field_points
    most = min(_PIECE_BYTES // field, _BLOCK_BYTES // (field * n_variables * n_rows))
    return min(n_steps, max(1, most))


class BlockBuffer:
    """Buffer of the block that is being filled.

    Arrays of blocks that are written are used again: the page faults of a new array take longer
    than writing it.
    """

    def __init__(self, n_positions: int, held: int) -> None:
        """Create an empty buffer.

        Args:
            n_positions: lead times of the file.
            held: lead times of a block.
        """
        self._n_positions, self._held = n_positions, held
        self._block: Block | None = None
        self._spare: list[NDArray[np.float32]] = []

    def add(self, rows: Sequence[int], position: int, fields: NDArray[Any]) -> Iterator[Block]:
        """Add the fields of some rows at one lead time, and yield the blocks that are complete.

        Args:
            rows: rows of forecasts and members, increasing.
            position: position of the lead time.
            fields: (rows, variable, nlat, nlon).
        """
        span = slice(int(rows[0]), int(rows[-1]) + 1)
        first = position // self._held * self._held
        held = self._block
        inside = held is not None and held.rows.start <= span.start and span.stop <= held.rows.stop
        if held is None or held.first != first or not inside:
            yield from self.take()
            held = self._block = self.empty(span, position, fields.shape[1:])
        own = slice(span.start - held.rows.start, span.stop - held.rows.start)
        if len(rows) == own.stop - own.start:
            held.values[own, position - first] = fields
        else:
            held.values[np.asarray(rows) - held.rows.start, position - first] = fields
        if position + 1 == first + held.values.shape[1]:
            yield from self.take()

    def take(self) -> Iterator[Block]:
        """Yield the block, complete or not, unless there is none, and empty the buffer."""
        if self._block is not None:
            block, self._block = self._block, None
            yield block

    def put(self, block: Block) -> None:
        """Continue with an incomplete block."""
        self._block = block

    def copy(self) -> Block | None:
        """Return a copy of the incomplete block; None without one."""
        if self._block is None:
            return None
        values = self._array(self._block.values.shape)
        values[...] = self._block.values
        return replace(self._block, values=values)

    def empty(self, rows: slice, position: int, shape: tuple[int, ...]) -> Block:
        """Return an empty block.

        Args:
            rows: its rows.
            position: position of one of its lead times.
            shape: (variable, nlat, nlon).
        """
        first = position // self._held * self._held
        count = min(self._held, self._n_positions - first)
        whole = (rows.stop - rows.start, count, *shape)
        values = self._array(whole)
        values.fill(np.nan)
        return Block(rows, first, values)

    def reuse(self, block: Block) -> None:
        """Take back the array of a block that is written; another thread may call it."""
        self._spare.append(block.values)

    def _array(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return an array with any values, used again if there is one of this shape."""
        if self._spare and (spare := self._spare.pop()).shape == shape:
            return spare
        self._spare.clear()
        return np.empty(shape, dtype=np.float32)
