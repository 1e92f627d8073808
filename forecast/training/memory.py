"""Advice for a batch that does not fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from configs.model import ModelConfig
from configs.training import TrainingConfig

_ALLOCATION_FAILED = ("allocate memory", "bad_alloc", "MemoryError")


@contextmanager
def explain_out_of_memory(config: TrainingConfig, device: torch.device) -> Iterator[None]:
    """Re-raise an out-of-memory error of the block with a suggestion.

    Raises:
        ValueError: if a batch does not fit in memory; it says what would.
    """
    with _out_of_memory(what_would_fit(config, device)):
        yield


@contextmanager
def model_that_fits(config: ModelConfig, device: torch.device) -> Iterator[None]:
    """Re-raise an out-of-memory error of a block that builds a model with a suggestion.

    Raises:
        ValueError: if the model does not fit in memory; it says what decides on its size.
    """
    with _out_of_memory(
        f"a model with model.channels {config.channels} and model.blocks {config.blocks} does not "
        f"fit in the memory of {device}; make one of them smaller"
    ):
        yield


@contextmanager
def _out_of_memory(message: str) -> Iterator[None]:
    """Raise a ValueError with this message in place of an error of an allocation."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(message) from error


def is_out_of_memory(error: Exception) -> bool:
    """Return True for the error of a failed allocation."""
    # The CPU's allocator raises a plain RuntimeError, and so does a failed reader.
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(words in str(error) for words in _ALLOCATION_FAILED)


def what_would_fit(config: TrainingConfig, device: torch.device) -> str:
    """Message for a batch that does not fit in the memory of a device."""
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
