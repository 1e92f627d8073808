"""Memory of this process: available memory, peak memory, and settings of the allocator."""

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

_STATUS = Path("/proc/self/status")  # of Linux


def keep_freed_memory() -> bool:
    """Make glibc reuse freed memory instead of returning it to the system after every tensor.

    By default glibc maps blocks above 32 MiB anew and unmaps them when they are freed, so that
    every large tensor causes its page faults again: whole transforms took twice as long. With
    raised thresholds, freed blocks are reused. The process then keeps its peak memory until it
    ends. No result changes.

    The function also enables huge pages in torch (THP_MEM_ALLOC_ENABLE=1, unless that variable is
    set), which takes effect before torch's first allocation. They avoid TLB misses in transposing
    copies: a transform at 128×256 took 12 ms instead of 12 to 17.

    The environment variable SPHERE_OPS_KEEP_MEMORY=0 switches both settings off.

    Returns:
        True if the setting is active; False on other systems, or if it is switched off.
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
    """Return the bytes that this process can still allocate on this machine and in its limits."""
    process = psutil.Process().memory_info()
    left = [psutil.virtual_memory().available, *_left_to_the_control_group()]
    # Only Linux enforces both limits and reports the memory that counts towards the second.
    for limit, taken in (
        (resource.RLIMIT_AS, process.vms),
        (resource.RLIMIT_DATA, getattr(process, "data", None)),
    ):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY and taken is not None:
            left.append(soft - taken)
    return max(0, min(left))


def peak_memory() -> float:
    """Return the peak memory of this process in bytes: that of the GPU if it uses one."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated())
    if _STATUS.is_file():
        # Unlike `ru_maxrss`, not that of the process from which this one was forked.
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        peak = next((line for line in lines if line.startswith("VmHWM:")), None)
        if peak is not None:
            return float(peak.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts in bytes, others in KiB
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def _left_to_the_control_group() -> list[int]:
    """Return the bytes left below a container's memory limit; an empty list without a limit.

    The file cache counts as available, because the kernel releases it under memory pressure.
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
