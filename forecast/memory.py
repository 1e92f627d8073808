"""How much memory there is, how much was taken, and what to do where it does not suffice."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from configs.model import ModelConfig
from configs.schema import TrainingConfig

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_ALLOCATION_FAILED = ("allocate memory", "bad_alloc", "MemoryError")


def available_memory() -> int:
    """Bytes that this process may still take: what the machine has, and what its limits leave."""
    process = psutil.Process().memory_info()
    left = [psutil.virtual_memory().available, *_left_to_the_control_group()]
    # Only Linux accounts for both, and tells the second.
    for limit, taken in (
        (resource.RLIMIT_AS, process.vms),
        (resource.RLIMIT_DATA, getattr(process, "data", None)),
    ):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY and taken is not None:
            left.append(soft - taken)
    return max(0, min(left))


def peak_memory() -> float:
    """Largest memory of this process so far in bytes: of the GPU where there is one."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated())
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


@contextmanager
def told_what_would_fit(config: TrainingConfig, device: torch.device) -> Iterator[None]:
    """Turn a failed allocation inside the block into words.

    Raises:
        ValueError: if a batch does not fit in memory; it says what would.
    """
    with _out_of_memory(what_would_fit(config, device)):
        yield


@contextmanager
def model_that_fits(config: ModelConfig, device: torch.device) -> Iterator[None]:
    """Turn a failed allocation inside the block, which builds a model, into words.

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
    """Whether an error is that of a failed allocation."""
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


def _left_to_the_control_group() -> list[int]:
    """What a container may still take, where it has a limit.

    The cache of files that were read counts as taken, though it is given back when it is wanted.
    """
    try:
        most = (_CONTROL_GROUPS / "memory.max").read_text().strip()
        now = int((_CONTROL_GROUPS / "memory.current").read_text())
        taken = dict(
            line.split() for line in (_CONTROL_GROUPS / "memory.stat").read_text().splitlines()
        )
    except (OSError, ValueError):
        return []
    cache = int(taken.get("inactive_file", 0)) + int(taken.get("active_file", 0))
    return [] if most == "max" else [int(most) - now + cache]
