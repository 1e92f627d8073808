"""Processes that a command was started in, one or those of torchrun, and their signals."""

from __future__ import annotations

import hashlib
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from types import FrameType
from typing import Any

import torch

from configs import layout
from configs.load import dump_config
from configs.schema import Config
from sphere_ops.parallel.launch import started, world
from sphere_ops.parallel.mesh import Mesh

_PACKAGES = ("sphere-forecast", "torch", "torch-harmonics")


@contextmanager
def training_mesh(config: Config, device: torch.device) -> Iterator[Mesh]:
    """Start the mesh of a training run, as configured, for the block."""
    digest = hashlib.sha256(dump_config(config).encode()).hexdigest()[:16]
    with started(
        config.mesh.data,
        config.mesh.latitude,
        device_type=device.type,
        wire_dtype=config.mesh.wire_dtype,
        timeout=config.mesh.timeout,
        must_match=_versions() | {"the configuration (digest)": digest},
    ) as mesh:
        _quiet_unless_first(mesh)
        yield mesh


@contextmanager
def all_processes(latitude: int | None = None) -> Iterator[Mesh]:
    """Start a mesh of all processes for the block.

    Args:
        latitude: processes that share the rows of a forecast, all if not given; the others share
            the forecasts.

    Raises:
        ValueError: if it does not divide the number of processes.
    """
    device_type = "cuda" if torch.cuda.is_available() else "cpu"
    latitude = latitude or world()
    if world() % latitude:
        raise ValueError(
            f"--latitude {latitude} does not divide the {world()} processes that there are"
        )
    data = world() // latitude
    with started(data, latitude, device_type=device_type, must_match=_versions()) as mesh:
        _quiet_unless_first(mesh)
        yield mesh


@contextmanager
def interrupts() -> Iterator[list[signal.Signals]]:
    """Collect SIGTERM and SIGINT in a list, so that a loop can end where it is safe.

    A second signal has its usual effect.
    """
    received: list[signal.Signals] = []
    previous: dict[signal.Signals, Any] = {}

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        for kind, handler in previous.items():
            signal.signal(kind, handler)

    with suppress(ValueError):  # only the main thread may set handlers
        for kind in (signal.SIGTERM, signal.SIGINT):
            previous[kind] = signal.signal(kind, receive)
    try:
        yield received
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)


def _versions() -> dict[str, str]:
    return {f"the version of {name}": version(name) for name in _PACKAGES}


def _quiet_unless_first(mesh: Mesh) -> None:
    """Silence the log of all processes but the first."""
    if not mesh.is_first:
        for name in layout.LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
