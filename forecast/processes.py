"""The processes that a command was started in: one, or those of torchrun."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Literal

import torch

from configs.load import dump_config
from configs.schema import Config
from sphere_ops.launch import started, world
from sphere_ops.mesh import Mesh

_PACKAGES = ("sphere-forecast", "torch", "torch-harmonics")


@contextmanager
def training_mesh(config: Config, device: torch.device) -> Iterator[Mesh]:
    """The mesh of a training run, as configured, while the block lasts."""
    digest = hashlib.sha256(dump_config(config).encode()).hexdigest()[:16]
    with started(
        config.mesh.data,
        config.mesh.latitude,
        device_type=device.type,
        payload=config.mesh.payload,
        chunks=config.mesh.chunks,
        timeout=config.mesh.timeout,
        facts=_versions() | {"the configuration (digest)": digest},
    ) as mesh:
        _quiet_unless_first(mesh)
        yield mesh


@contextmanager
def all_processes(along: Literal["data", "latitude"]) -> Iterator[Mesh]:
    """A mesh of all processes along one axis, while the block lasts."""
    device_type = "cuda" if torch.cuda.is_available() else "cpu"
    data, latitude = (world(), 1) if along == "data" else (1, world())
    with started(data, latitude, device_type=device_type, facts=_versions()) as mesh:
        _quiet_unless_first(mesh)
        yield mesh


def _versions() -> dict[str, str]:
    return {f"the version of {name}": version(name) for name in _PACKAGES}


def _quiet_unless_first(mesh: Mesh) -> None:
    """What all would say, the first process says."""
    if not mesh.is_first:
        logging.getLogger("forecast").setLevel(logging.ERROR)
