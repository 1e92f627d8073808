"""Interleaved timing, peak memory, and the rows that benchmarks print and save."""

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
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

# glibc raises this threshold when large blocks are freed, and then keeps them. If it is set, it
# stays, so that every large tensor is returned to the system and counted.
_THRESHOLD = "MALLOC_MMAP_THRESHOLD_"
_SMALLEST_MAPPED = 1 << 17


@dataclass(frozen=True)
class Timing:
    """Minimum and median of many runs, in seconds."""

    minimum: float
    median: float


@dataclass(frozen=True)
class Row:
    """One comparison with another library, the peer.

    Attributes:
        name: Name of the measurement.
        shape: Shape of the fields.
        ours: Our value.
        peer: Value of the peer; None if there is none.
        peer_name: Name of the peer.
        ratio: `peer` over `ours`; above 1 if ours is better.
        unit: Unit of both values.
        difference: Relative L2 difference of the results.
        ours_median: Our median; `ours` is then a minimum.
        peer_median: Median of the peer.
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
        functions: Functions to time, by name.
        runs: Number of counted runs of each.
        device: Device of the computation: a GPU is timed by its events, others by the clock.
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
    """Return the peak memory of one call of `step` beyond the memory held before it, bytes.

    On a CPU it is read from the kernel's account of the process, so that allocations of all
    libraries count. glibc must return freed memory to the system: see `peak_of_process`.

    Raises:
        RuntimeError: on a CPU if glibc may keep freed memory.
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
    """Return the peak memory, MiB, that a new Python process prints as its last word.

    Its allocator is set up for `peak_memory`.

    Args:
        words: Arguments of `python`; the process prints the value of `peak_memory`.
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
    """Return the names that contain a text; end the program with an error if none does."""
    names = list(names)
    found = [name for name in names if only in name]
    if not found:
        parser.error(f"--only {only!r} is in none of the names; they are {'; '.join(names)}")
    return found


def relative_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return ‖a − b‖ / ‖b‖, in double precision."""
    wide = torch.complex128 if a.is_complex() else torch.float64
    a, b = a.detach().cpu().to(wide), b.detach().cpu().to(wide)
    return float((a - b).norm() / b.norm())


def report(
    rows: list[Row],
    title: str,
    json_file: Path | None,
    about: Mapping[str, str] | None = None,
    *,
    keep: bool = False,
) -> None:
    """Print a table and save the rows as JSON, with a description of the machine.

    Args:
        rows: Rows.
        title: Title of the table.
        json_file: File to write; None for none.
        about: Further facts that are saved with the description of the machine.
        keep: Keep the other rows of the file, and name the commits at which they were measured.
    """
    kept, commits = _kept(json_file, rows) if keep else ([], {})
    rows = [*kept, *rows]
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
        described = machine() | dict(about or {}) | commits
        content = {"machine": described, "rows": [asdict(r) for r in rows]}
        partial.write_text(json.dumps(content, indent=1) + "\n")
        partial.replace(json_file)


def _kept(json_file: Path | None, new: list[Row]) -> tuple[list[Row], dict[str, str]]:
    """Return the rows of a file that are not measured again, and the commit of each."""
    if json_file is None or not json_file.exists():
        return [], {}
    held = json.loads(json_file.read_text())
    machine, measured = held["machine"], {(row.name, row.shape) for row in new}
    rows = [Row(**r) for r in held["rows"] if (r["name"], r["shape"]) not in measured]
    keys = [f"commit of {row.name}, {row.shape}" for row in rows]
    return rows, {key: machine.get(key, machine.get("commit", "unknown")) for key in keys}


def machine() -> dict[str, str]:
    """Return a description of the machine, with the commit of the code."""
    from forecast.training.tracking.git import git_commit

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "commit": git_commit(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "threads": str(torch.get_num_threads()),
        "gpu": gpu,
        "torch": torch.__version__,
    }


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of packages."""
    return {package: version(package) for package in packages}


def _processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
