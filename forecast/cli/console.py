"""Output of a running command: a progress bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import typer

from configs import layout

_LINE_EVERY = 10.0
"""Minimum interval of progress lines, s."""


class Update(Protocol):
    """Function that a long loop calls after each step."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show the number of steps done, their total number, and a short note."""


log = logging.getLogger(__name__)


def configure(level: int) -> None:
    """Send the log to stderr.

    Other packages log from WARNING on. Python warnings are shown with DEBUG only, because they
    address programmers and this project issues none.

    Args:
        level: Level of this project's packages: logging.WARNING (quiet), INFO or DEBUG (verbose).
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        # A plain handler would write into the progress bar.
        handler = RichHandler(
            console=Console(stderr=True), show_path=False, show_level=False, markup=False
        )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in layout.LOGGERS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(
        logging.WARNING if level <= logging.DEBUG else logging.ERROR
    )


def say(text: str) -> None:
    """Print a result, once if there are several processes."""
    if os.environ.get("RANK", "0") == "0":
        typer.echo(text)


@contextmanager
def progress(label: str) -> Iterator[Update]:
    """Show the progress of a loop.

    Args:
        label: Name of the steps, in a word or two.

    Yields:
        Function for the loop to call with (done, total[, note]).
    """
    if not log.isEnabledFor(logging.INFO):
        yield lambda done, total, note="": None
    elif sys.stderr.isatty():
        with _bar(label) as update:
            yield update
    else:
        yield _lines(label)


@contextmanager
def _bar(label: str) -> Iterator[Update]:
    """Show a progress bar with the remaining time."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None, note="")

        def update(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield update


def _lines(label: str) -> Update:
    """Return a function that logs a line every few seconds, and one at the end."""
    start = last = time.monotonic()

    def update(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < _LINE_EVERY:
            return
        last = now
        remaining = (now - start) / max(done, 1) * (total - done)
        left = f", {remaining:.0f} s left" if done < total else f" in {now - start:.1f} s"
        log.info("%s %d/%d%s%s", label, done, total, left, f", {note}" if note else "")

    return update
