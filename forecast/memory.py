"""How much memory there is, how much was taken, and what to do where it does not suffice."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

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
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts in bytes, Linux in KiB
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


@contextmanager
def told_what_would_fit(config: TrainingConfig, device: torch.device) -> Iterator[None]:
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


def _left_to_the_control_group() -> list[int]:
    """What a container may still take, where it has a limit."""
    try:
        most = (_CONTROL_GROUPS / "memory.max").read_text().strip()
        now = int((_CONTROL_GROUPS / "memory.current").read_text())
    except (OSError, ValueError):
        return []
    return [] if most == "max" else [int(most) - now]
