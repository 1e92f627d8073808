"""Interleaved timing, peak memory, and the rows that every benchmark prints and saves."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table


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
    libraries allocate; glibc's allocator must give back what is freed then: start the process with
    MALLOC_MMAP_THRESHOLD_ set.
    """
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


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{field} is not in /proc/self/status")


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
