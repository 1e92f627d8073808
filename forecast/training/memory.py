"""Advice for a batch that does not fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from configs.schema import TrainingConfig

_ALLOCATION_FAILED = ("allocate memory", "bad_alloc", "MemoryError")


@contextmanager
def explain_out_of_memory(config: TrainingConfig, device: torch.device) -> Iterator[None]:
    """Turn a failed allocation inside the block into words.

    Raises:
        ValueError: if a batch does not fit in memory; it says what would.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # The CPU's allocator raises a plain RuntimeError, and so does a failed reader.
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(words in str(error) for words in _ALLOCATION_FAILED):
            raise
        raise ValueError(_way_out(config, device)) from error


def _way_out(config: TrainingConfig, device: torch.device) -> str:
    if config.batch_size > 1:
        half = -(-config.batch_size // 2)
        way_out = (
            f"training.batch_size={half} training.accumulate={2 * config.accumulate} trains "
            "nearly the same in half of it"
        )
    else:
        way_out = "set training.checkpoint_blocks=true training.checkpoint_steps=true"
    return (
        f"a batch of {config.batch_size} windows does not fit in the memory of {device}; {way_out}"
    )
