"""Memory of this process: available, peak, and the allocator's setting for large tensors."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

import psutil
import torch

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_SWITCH = "SPHERE_OPS_KEEP_MEMORY"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # of torch, which reads it at its first allocation


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory instead of giving it back to the system after every tensor.

    By default glibc maps blocks above 32 MiB afresh and unmaps them when freed, so that every large
    tensor pays its page faults again: whole transforms took twice as long. With the thresholds
    raised, freed blocks are used again; the process keeps its peak memory until it ends, and no
    result changes. torch is also asked for huge pages (THP_MEM_ALLOC_ENABLE=1, unless that variable
    is set), as long as it has not allocated: transposing copies then miss no page table entries,
    a transform at 128×256 took 12 ms instead of 12 to 17. Set the environment variable
    SPHERE_OPS_KEEP_MEMORY=0 to leave all of it alone.

    Returns:
        Whether the setting is active: False on other systems, or if switched off.
    """
    if os.environ.get(_SWITCH, "1") == "0" or not sys.platform.startswith("linux"):
        return False
    os.environ.setdefault(_HUGE_PAGES, "1")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # a C library without it, such as musl
        return False
    largest = 2**31 - 1
    return bool(mallopt(_M_MMAP_THRESHOLD, largest) and mallopt(_M_TRIM_THRESHOLD, largest))


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


def _left_to_the_control_group() -> list[int]:
    """Memory left to a container that has a limit."""
    try:
        most = (_CONTROL_GROUPS / "memory.max").read_text().strip()
        now = int((_CONTROL_GROUPS / "memory.current").read_text())
    except (OSError, ValueError):
        return []
    return [] if most == "max" else [int(most) - now]
