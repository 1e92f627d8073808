"""SIGTERM and SIGINT as values, so that a loop can end where it is safe."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def interrupts() -> Iterator[list[signal.Signals]]:
    """SIGTERM and SIGINT end up in the list that this yields; a second one has its usual effect."""
    received: list[signal.Signals] = []
    previous: dict[signal.Signals, Any] = {}

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        for kind, handler in previous.items():
            signal.signal(kind, handler)

    with contextlib.suppress(ValueError):  # only the main thread may set handlers
        for kind in (signal.SIGTERM, signal.SIGINT):
            previous[kind] = signal.signal(kind, receive)
    try:
        yield received
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)
