"""What a person sees of a command that runs: a bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import typer

OUR_PACKAGES = ("forecast", "data_prep", "sphere_ops", "configs")
_LINE_EVERY = 10.0
"""Least interval of log lines that stand for a bar, in s."""


class Update(Protocol):
    """What a long loop calls as it goes."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Take the steps that are done, those there are, and a few words."""


log = logging.getLogger(__name__)


def configure(level: int) -> None:
    """Send the log to stderr.

    Other packages log from WARNING on. Their Python warnings are shown with DEBUG only: they
    address programmers, and nothing of ours warns in that way.

    Args:
        level: Level of our own packages: logging.WARNING (quiet), INFO or DEBUG (verbose).
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        # A rich handler, since a plain one would write into the bar.
        handler = RichHandler(
            console=Console(stderr=True), show_path=False, show_level=False, markup=False
        )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in OUR_PACKAGES:
        logging.getLogger(package).setLevel(level)
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
    """Show how far a loop is.

    Args:
        label: what is being done, in a word or two.

    Yields:
        The function that the loop calls with (done, total[, note]).
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
    """A bar with the time that is left."""
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
    """A log line every few seconds, and one at the end."""
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
