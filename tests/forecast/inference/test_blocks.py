"""Blocks of lead times of a forecast file."""

from __future__ import annotations

import numpy as np

from forecast.inference.writing.blocks import Block, BlockBuffer

SHAPE = (2, 4, 8)


def full(buffer: BlockBuffer, rows: list[int], value: float) -> Block:
    """Fill the two lead times of a block."""
    fields = np.full((len(rows), *SHAPE), value, dtype=np.float32)
    assert not list(buffer.add(rows, 0, fields))
    (block,) = buffer.add(rows, 1, fields)
    return block


def test_the_array_of_a_written_block_is_used_again_without_its_values():
    buffer = BlockBuffer(2, 2)
    first = full(buffer, [0, 1], 1.0)
    buffer.reuse(first)
    assert not list(buffer.add([3], 0, np.full((1, *SHAPE), 2.0)))  # its forecast alone
    (other,) = buffer.take()
    assert other.values.shape == (1, 2, *SHAPE)
    assert not np.shares_memory(other.values, first.values)
    assert np.isnan(other.values[:, 1]).all()

    buffer.reuse(second := full(buffer, [4, 5], 3.0))
    third = buffer.empty(slice(6, 8), 0, SHAPE)
    assert np.shares_memory(third.values, second.values)
    assert np.isnan(third.values).all()


def test_a_block_that_is_not_written_yet_keeps_its_values():
    buffer = BlockBuffer(2, 2)
    first = full(buffer, [0], 1.0)
    full(buffer, [1], 2.0)
    assert (first.values == 1.0).all()


def test_copies_of_an_incomplete_block_take_no_further_memory():
    buffer = BlockBuffer(2, 2)
    arrays = set()
    for k in range(5):  # as many saved states in one block
        assert not list(buffer.add([0], 0, np.full((1, *SHAPE), k, dtype=np.float32)))
        copied = buffer.copy()
        assert (copied.values[:, 0] == k).all() and np.isnan(copied.values[:, 1]).all()
        arrays.add(copied.values.ctypes.data)
        buffer.reuse(copied)
    assert len(arrays) == 1
    assert BlockBuffer(2, 2).copy() is None
