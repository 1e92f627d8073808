"""Threads, or the workers of a cluster, that make the blocks of a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import psutil
from numpy.typing import NDArray

from data_prep.ingest.missing import ValidPoints, check_missing
from data_prep.ingest.plan import Plan
from data_prep.ingest.reading import BlockReader
from data_prep.ingest.sources import Sources
from data_prep.store.block_writer import BlockWriter
from data_prep.store.blocks import Block
from sphere_ops.memory import available_memory
from sphere_ops.parallel.cluster import on_workers

_MOST_THREADS = 4
_RUNS_PER_WORKER = 2
_COPIES = 7  # of a block in memory: read, regridded, with its statistics, and compressed


@dataclass(frozen=True)
class BlockWork:
    """Reading, checking and writing of blocks.

    Attributes:
        plan: Plan of the store.
        mask: Mask of its channels, or None.
        writer: Writer of its blocks.
        valid: Record of the points of moving masks that have values.
        first: Number of earlier times of a store that is extended, which the indices of blocks
            count too.
    """

    plan: Plan
    mask: NDArray[np.bool_] | None
    writer: BlockWriter
    valid: ValidPoints
    first: int = 0

    def write(self, reader: BlockReader, block: Block) -> Block:
        """Make one block, and return it."""
        own = self.of_plan(block)
        fields = reader.read(own)
        check_missing(fields, self.mask, self.plan, own)
        self.valid.record(block, fields)
        self.writer.write(block, fields)
        return block

    def of_plan(self, block: Block) -> Block:
        """Return a block with the indices of the plan, which has no earlier times."""
        return Block(block.trajectory, block.start - self.first, block.stop - self.first)

    def write_run(self, words: Sequence[str], blocks: Sequence[Block]) -> Sequence[Block]:
        """Make consecutive blocks in a process of its own, and return them."""
        with Sources(words, self.plan.config) as sources:
            reader = BlockReader(self.plan, sources)
            reader.expect([self.of_plan(block) for block in blocks])
            return [self.write(reader, block) for block in blocks]


def memory_for_blocks(memory: int | None) -> int:
    """Return the bytes that blocks and chunks may take.

    Args:
        memory: Bytes that the process may take in all; by default half of what is available is
            added to what it has.
    """
    if memory is None:
        return available_memory() // 2
    return max(0, memory - psutil.Process().memory_info().rss)


def blocks_at_once(plan: Plan, memory: int) -> int:
    """Return the number of blocks that processors and memory allow to make at once.

    Args:
        plan: Plan of the store.
        memory: Bytes for all blocks.
    """
    block = 4 * plan.block_times * len(plan.inputs) * plan.grid.nlat * plan.grid.nlon
    return max(1, min(_MOST_THREADS, os.cpu_count() or 1, memory // max(1, _COPIES * block)))


def in_threads(
    work: Callable[[Block], Block], blocks: Sequence[Block], threads: int
) -> Iterator[Block]:
    """Yield blocks as they are made by threads, a few at a time in the order of the sequence."""
    waiting = iter(blocks)
    with ThreadPoolExecutor(threads) as pool:
        running = {pool.submit(work, block) for block in islice(waiting, threads)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                running |= {pool.submit(work, block) for block in islice(waiting, len(done))}
        except BaseException:
            for future in running:
                future.cancel()
            raise


def in_cluster(
    address: str, work: BlockWork, words: Sequence[str], blocks: Sequence[Block]
) -> Iterator[Block]:
    """Yield blocks as they are made by the workers of a dask cluster, in runs of consecutive ones.

    The workers need the sources and the folder of the store under the same paths.

    Args:
        address: Address of the scheduler, such as "tcp://host:8786".
        work: Work on a block.
        words: Sources, see `Sources`.
        blocks: Blocks to make.

    Raises:
        ValueError: if dask.distributed is not installed, or the scheduler cannot be reached.
        ConnectionError: if workers died.
    """
    work_on_run = partial(work.write_run, words)
    for run in on_workers(address, work_on_run, blocks, runs_per_worker=_RUNS_PER_WORKER):
        yield from run
