"""Checkpoints of a training run: everything that it continues from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs import layout
from forecast.model.tensor_folder import read_json, read_tensors, write_folder
from sphere_ops.parallel.mesh import current

_TENSORS, _VALUES = "tensors.safetensors", "state.json"


@dataclass
class TrainingCheckpoint:
    """State of a training run after a step.

    Attributes:
        step: optimiser steps done.
        tensors: weights, moments and averages by name.
        values: everything else, as JSON can hold it.
    """

    step: int
    tensors: dict[str, Tensor]
    values: dict[str, Any]


def save_checkpoint(checkpoint: TrainingCheckpoint, run: Path, keep: int) -> None:
    """Add a checkpoint to a run, and remove all but the last `keep`.

    In a mesh the first process writes; checkpoints do not depend on the mesh.
    """
    if not current().is_first:
        return
    folder = run / layout.CHECKPOINTS
    folder.mkdir(exist_ok=True)
    path = folder / f"{checkpoint.step:08d}"
    if path.exists():
        return  # the run was stopped at a step that it had just saved
    values = {"step": checkpoint.step, **checkpoint.values}
    write_folder(path, checkpoint.tensors, values, _TENSORS, _VALUES)
    for old in _complete(folder)[:-keep]:
        shutil.rmtree(old)


def load_checkpoint(run: Path) -> TrainingCheckpoint | None:
    """Read the last checkpoint of a run; None if it has none.

    Raises:
        ValueError: if it is damaged.
    """
    complete = _complete(run / layout.CHECKPOINTS)
    if not complete:
        return None
    values = read_json(complete[-1] / _VALUES)
    tensors = read_tensors(complete[-1] / _TENSORS, values)
    values.pop(layout.DIGESTS, None)
    return TrainingCheckpoint(values.pop("step"), tensors, values)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of an optimiser's state by name, and the rest of it."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, entry in state["state"].items():
        for key, value in entry.items():
            target = tensors if isinstance(value, Tensor) else numbers
            target[f"{index}.{key}"] = value
    return tensors, {"numbers": numbers, "groups": state["param_groups"]}


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Restore the state of an optimiser that `optimizer_tensors` returned."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *values["numbers"].items()]:
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": values["groups"]})


def strip_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of the name."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _complete(folder: Path) -> list[Path]:
    """Folders of the complete checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob("[0-9]*") if (path / _VALUES).is_file())
