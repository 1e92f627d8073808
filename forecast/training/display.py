"""Display of a training run: a live table on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sphere_ops.memory import peak_memory

if TYPE_CHECKING:
    from rich.table import Table

log = logging.getLogger(__name__)

_LINE_EVERY = 15.0
"""Least interval of the log lines that stand for the table, in s."""


class Display:
    """The state of a run in rows of a name and a value."""

    def __init__(self, steps: int, first: int, live: bool) -> None:
        """Start the clock.

        Args:
            steps: optimiser steps of the whole run.
            first: steps that were done before this process.
            live: whether a table shows it, instead of log lines.
        """
        self.steps, self.first, self.live = steps, first, live
        self.rows: dict[str, str] = {"step": f"{first}/{steps}"}
        self._start = self._last = time.monotonic()

    def step(self, done: int, loss: float, samples_per_second: float) -> None:
        """Show a step.

        Args:
            done: optimiser steps done.
            loss: mean of the last steps.
            samples_per_second: likewise.
        """
        elapsed = time.monotonic() - self._start
        left = elapsed / max(1, done - self.first) * (self.steps - done)
        self.rows |= {
            "step": f"{done}/{self.steps}",
            "loss": f"{loss:.4g}",
            "samples per second": f"{samples_per_second:.3g}",
            "time left": duration(left),
            "memory": f"{peak_memory() / 1e9:.2f} GB",
        }
        if time.monotonic() - self._last >= _LINE_EVERY:
            self.line()

    def validation(self, values: Mapping[str, float]) -> None:
        """Show a validation, as `Trainer.validate` returns it."""
        for name, value in values.items():
            if "relative_l2_step" in name:
                lead = name.rpartition("_")[2]
                persistence = values[name.replace("relative_l2", "persistence")]
                key = f"relative L2, {lead} step" + "s" * (lead != "1")
                self.rows[key] = f"{value:.4g} (persistence {persistence:.4g})"
            elif "crps_step" in name:
                lead = name.rpartition("_")[2]
                ratio = values[name.replace("crps", "spread_skill")]
                key = f"fair CRPS, {lead} step" + "s" * (lead != "1")
                self.rows[key] = f"{value:.4g} (spread over error {ratio:.3g})"
        self.line()

    def __rich__(self) -> Table:
        """The table, drawn again several times a second."""
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for name, value in self.rows.items():
            table.add_row(name, value)
        return table

    def line(self) -> None:
        """Log the rows in one line, unless a table shows them."""
        self._last = time.monotonic()
        if not self.live:
            log.info(", ".join(f"{name} {value}" for name, value in self.rows.items()))


@contextmanager
def display(steps: int, first: int) -> Iterator[Display]:
    """Show a run while the block lasts; see `Display`."""
    live = sys.stderr.isatty() and log.isEnabledFor(logging.INFO)
    shown = Display(steps, first, live)
    if not live:
        yield shown
        return
    from rich.console import Console
    from rich.live import Live

    with Live(shown, console=Console(stderr=True), refresh_per_second=4):
        yield shown


def dry_run_report(counts: Mapping[str, int], seconds: float, facts: Mapping[str, Any]) -> str:
    """Report of `--dry-run`.

    Args:
        counts: parameters by kind of branch.
        seconds: wall time of one optimiser step.
        facts: further rows.
    """
    rows: dict[str, str] = {f"parameters, {kind}": f"{n:,}" for kind, n in counts.items()}
    rows["parameters"] = f"{sum(counts.values()):,}"
    rows["time per step"] = f"{seconds * 1000:.0f} ms"
    rows["peak memory"] = f"{peak_memory() / 1e9:.2f} GB"
    rows |= {name: str(value) for name, value in facts.items()}
    width = max(len(name) for name in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def duration(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
