"""Interleaved timing, peak memory, and the rows that every benchmark prints and saves."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

# glibc raises its threshold when large blocks are freed, and then keeps them. One that is set
# stays, so that every large tensor is given back and counted.
_THRESHOLD = "MALLOC_MMAP_THRESHOLD_"
_SMALLEST_MAPPED = 1 << 17


@dataclass(frozen=True)
class Timing:
    """Minimum and median of many runs, in seconds."""

    minimum: float
    median: float


@dataclass(frozen=True)
class Row:
    """One comparison: `ratio` is peer over ours, above 1 where we are better.

    Attributes:
        name: what was measured.
        shape: of the fields.
        ours: our figure.
        peer: the peer's figure, None where there is none.
        peer_name: the peer.
        ratio: peer over ours.
        unit: of both figures.
        difference: relative L2 difference of the results.
        ours_median: our median, beside the minimum in `ours`.
        peer_median: the peer's.
    """

    name: str
    shape: str
    ours: float
    peer: float | None
    peer_name: str
    ratio: float | None
    unit: str
    difference: float | None = None
    ours_median: float | None = None
    peer_median: float | None = None


def interleaved(
    functions: Mapping[str, Callable[[], object]], runs: int, device: torch.device
) -> dict[str, Timing]:
    """Time functions in turn, A B C A B C …, after a warm-up of each.

    Args:
        functions: what to time, by name.
        runs: counted runs of each.
        device: on a GPU its own events tell the time, elsewhere the process's clock.
    """
    clock = _device_seconds if device.type == "cuda" else _seconds
    times: dict[str, list[float]] = {name: [] for name in functions}
    for counted in (False, False, *([True] * runs)):
        for name, function in functions.items():
            elapsed = clock(function)
            if counted:
                times[name].append(elapsed)
    return {name: Timing(min(t), statistics.median(t)) for name, t in times.items()}


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _device_seconds(function: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    function()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3


def peak_memory(step: Callable[[], object], device: torch.device) -> float:
    """Bytes that one call of `step` needs at its peak, beyond what is held before it.

    On a CPU it is read from the kernel's account of the process, so that it holds whatever the
    libraries allocate. glibc must give back what is freed: see `peak_of_process`.

    Raises:
        RuntimeError: on a CPU if glibc may keep what is freed.
    """
    if device.type != "cuda" and _THRESHOLD not in os.environ:
        raise RuntimeError(
            f"{_THRESHOLD} is not set, so that freed memory may not be given back; expected a "
            "process that peak_of_process starts"
        )
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device) - before)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    step()
    return float(_status("VmHWM") - before)


def peak_of_process(*words: str) -> float:
    """Peak memory, MiB, that a process of `python` prints last, with the allocator as it must be.

    Args:
        words: of the command line; the process prints what `peak_memory` returns.
    """
    environment = {**os.environ, _THRESHOLD: str(_SMALLEST_MAPPED)}
    command = [sys.executable, *words]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(out.stdout.split()[-1]) / 2**20


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{field} is not in /proc/self/status")


def selected(parser: argparse.ArgumentParser, only: str, names: Iterable[str]) -> list[str]:
    """Names that contain a text; the parser ends the program with an error if none does."""
    names = list(names)
    found = [name for name in names if only in name]
    if not found:
        parser.error(f"--only {only!r} is in none of the names; they are {'; '.join(names)}")
    return found


def relative_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """‖a − b‖ / ‖b‖, in double precision."""
    wide = torch.complex128 if a.is_complex() else torch.float64
    a, b = a.detach().cpu().to(wide), b.detach().cpu().to(wide)
    return float((a - b).norm() / b.norm())


def report(rows: list[Row], title: str, json_file: Path | None) -> None:
    """Print a table and save the rows as JSON, with the machine that they come from."""
    table = Table(title=title)
    for column in ("operation", "shape", "ours", "peer", "ratio", "medians", "difference", "peer"):
        table.add_column(column, justify="left" if column in ("operation", "shape") else "right")
    for r in rows:
        table.add_row(
            r.name,
            r.shape,
            f"{r.ours:.4g} {r.unit}",
            "" if r.peer is None else f"{r.peer:.4g} {r.unit}",
            "" if r.ratio is None else f"{r.ratio:.2f}",
            "" if r.ours_median is None else f"{r.ours_median:.4g} / {r.peer_median or 0:.4g}",
            "" if r.difference is None else f"{r.difference:.1e}",
            r.peer_name,
        )
    Console(width=150).print(table)
    if json_file is not None:
        partial = json_file.with_name(f".{json_file.name}.partial")
        content = {"machine": machine(), "rows": [asdict(r) for r in rows]}
        partial.write_text(json.dumps(content, indent=1) + "\n")
        partial.replace(json_file)


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": str(torch.get_num_threads()),
        "gpu": gpu,
        "torch": torch.__version__,
    }
