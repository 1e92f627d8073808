"""Packages (all one needs to forecast) and training states (what a run continues from).

Tensors are safetensors, everything else JSON: nothing is ever unpickled. Whatever is written
appears whole or not at all, so that a kill or a full disk leaves the last version readable.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from configs import layout
from configs.model import ModelConfig
from configs.schema import RolloutConfig
from configs.timestep import TimeStep
from configs.variables import Variable
from data_prep.store.outputs import cannot_write, scratch_beside
from forecast.model.forecaster import BY_ROWS, Forecaster
from forecast.model.limiter import SpectralLimiter
from forecast.model.migrate import MIGRATIONS, migrate
from forecast.model.normalizer import Normalizer
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current

_TENSORS, _STATE = "tensors.safetensors", "state.json"
_BUILT_IN = RolloutConfig()


def save_package(
    forecaster: Forecaster,
    path: Path,
    *,
    rollout: RolloutConfig = _BUILT_IN,
    training: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a package; one that is there is replaced, file by file.

    In a mesh all processes take part, and the first one writes: it is the same on every mesh.

    Args:
        forecaster: what to save.
        path: folder of the package.
        rollout: defaults of its forecasts.
        training: how it was trained, as JSON can hold it.
        provenance: what it was trained on, likewise.
    """
    tensors = forecaster.whole_tensors()
    if not current().is_first:
        return
    description = {
        layout.FORMAT_VERSION: layout.PACKAGE_VERSION,
        "model": forecaster.config.model_dump(mode="json"),
        "channels": [asdict(v) for v in forecaster.channels],
        "grid": asdict(forecaster.grid),
        "time_step": forecaster.time_step.label,
        layout.ROLLOUT: rollout.model_dump(mode="json"),
        "training": dict(training or {}),
        "provenance": dict(provenance or {}),
    }
    _write_folder(path, tensors, description, layout.WEIGHTS_FILE, layout.PACKAGE_FILE)


def load_package(path: str | Path, device: torch.device | str = "cpu") -> Forecaster:
    """A forecaster from its package.

    Args:
        path: folder of a package, or of a run that holds one.
        device: where the forecaster goes.

    Raises:
        FileNotFoundError: if there is no package.
        ValueError: if it is damaged, or of a format that cannot be read any more, or not yet.
    """
    path = Path(path)
    if (path / layout.PACKAGE / layout.PACKAGE_FILE).is_file():
        path = path / layout.PACKAGE
    description, tensors = _read_package(path)
    try:
        migrate(description, tensors)
        config = ModelConfig.model_validate(description["model"])
        channels = tuple(
            Variable(**{**entry, "aliases": tuple(entry["aliases"])})
            for entry in description["channels"]
        )
        grid = Grid(**description["grid"])
        for name in BY_ROWS:
            if name in tensors:
                tensors[name] = tensors[name][..., own_rows(grid), :]
        time_step = TimeStep.parse(description["time_step"])
        normalizer = Normalizer(
            tensors["normalizer.mean"],
            tensors["normalizer.std"],
            tensors["normalizer.std_step"],
            time_step,
            tensors.get("normalizer.climatology"),
        )
        limiter = None
        if config.spectral_limit is not None:
            limiter = SpectralLimiter(grid, tensors["limiter.power"], config.spectral_limit)
        forecaster = Forecaster(
            config,
            grid,
            channels,
            time_step,
            normalizer,
            tensors["static"],
            tensors.get("mask"),
            limiter=limiter,
        )
        forecaster.load_state_dict(tensors)
    except (KeyError, TypeError, ValidationError, RuntimeError) as error:
        raise ValueError(
            f"package {path} is damaged ({str(error).splitlines()[0]}); copy it again, or take "
            "another one"
        ) from error
    return forecaster.eval().to(device)


def read_description(path: str | Path) -> dict[str, Any]:
    """The JSON part of a package.

    Raises:
        FileNotFoundError: if there is no package.
        ValueError: if it is damaged, or of a later format version.
    """
    file = Path(path) / layout.PACKAGE_FILE
    if not file.is_file():
        raise FileNotFoundError(
            f"no package at {path} (a folder with {layout.PACKAGE_FILE}); `forecast train` writes "
            "one to RUN/package"
        )
    description = _read_json(file)
    version = description.get(layout.FORMAT_VERSION)
    if not isinstance(version, int) or version < min(MIGRATIONS):
        raise ValueError(f"{file} is damaged (format version {version!r}); copy it again")
    if version > layout.PACKAGE_VERSION:
        raise ValueError(
            f"package {path} has format version {version}, this program reads up to "
            f"{layout.PACKAGE_VERSION}; install a newer sphere-forecast"
        )
    return description


def rollout_defaults(path: str | Path) -> RolloutConfig:
    """Defaults of the forecasts of a package; the built-in ones for a package of before version 4.

    Raises:
        FileNotFoundError: if there is no package.
        ValueError: if it is damaged.
    """
    values = read_description(path).get(layout.ROLLOUT, {})
    try:
        return RolloutConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError(
            f"{Path(path) / layout.PACKAGE_FILE} is damaged ({layout.ROLLOUT} holds {values}); "
            "copy it again"
        ) from error


def weights_digest(path: str | Path) -> str:
    """SHA-256 of the weights of a package, in hexadecimal."""
    return _digest(Path(path) / layout.WEIGHTS_FILE)


@dataclass
class TrainingCheckpoint:
    """A moment of a training run.

    Attributes:
        step: optimiser steps done.
        tensors: weights, moments and averages by name.
        values: everything else, as JSON can hold it.
    """

    step: int
    tensors: dict[str, Tensor]
    values: dict[str, Any]


def save_checkpoint(state: TrainingCheckpoint, run: Path, keep: int) -> None:
    """Add a state to a run, and remove all but the last `keep`; in a mesh the first process does.

    All processes of a mesh have the same one, whatever the mesh.
    """
    if not current().is_first:
        return
    folder = run / layout.CHECKPOINTS
    folder.mkdir(exist_ok=True)
    path = folder / f"{state.step:08d}"
    if path.exists():
        return  # the run was stopped at a step that it had just saved
    _write_folder(path, state.tensors, {"step": state.step, **state.values}, _TENSORS, _STATE)
    for old in sorted(_states(folder))[:-keep]:
        shutil.rmtree(old)


def load_checkpoint(run: Path) -> TrainingCheckpoint | None:
    """The last state of a run; None if it has none.

    Raises:
        ValueError: if it is damaged.
    """
    states = sorted(_states(run / layout.CHECKPOINTS))
    if not states:
        return None
    values = _read_json(states[-1] / _STATE)
    tensors = _read_tensors(states[-1] / _TENSORS, values)
    values.pop(layout.DIGESTS, None)
    return TrainingCheckpoint(values.pop("step"), tensors, values)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of an optimiser as named tensors, and the rest of it."""
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
    """Give an optimiser what `optimizer_tensors` took from one."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *values["numbers"].items()]:
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": values["groups"]})


def _states(folder: Path) -> list[Path]:
    return [path for path in folder.glob("[0-9]*") if (path / _STATE).is_file()]


def _write_folder(
    path: Path,
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Any],
    tensors_name: str,
    values_name: str,
) -> None:
    try:
        with scratch_beside(path) as scratch:
            scratch.mkdir(parents=True)
            contiguous = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
            save_file(contiguous, scratch / tensors_name)
            files = (scratch / tensors_name, path / tensors_name)
            digests = [_digest(file) for file in files if file.exists()]
            text = json.dumps({**values, layout.DIGESTS: digests}, indent=1)
            (scratch / values_name).write_text(text, encoding="utf-8")
            shutil.copymode(scratch / values_name, scratch / tensors_name)  # safetensors' is 0600
            for name in (tensors_name, values_name):
                with open(scratch / name, "rb") as file:
                    os.fsync(file.fileno())
            if path.exists():
                # In this order, since the new description allows the old tensors, too: a kill
                # between the two leaves a package that loads.
                for name in (values_name, tensors_name):
                    os.replace(scratch / name, path / name)
            else:
                os.rename(scratch, path)
    except (SafetensorError, OSError) as error:
        raise cannot_write(path, error) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is damaged ({error}); copy it again") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} is damaged (no JSON object); copy it again")
    return values


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _read_package(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors of a package, which a run may replace meanwhile."""
    description = read_description(path)
    try:
        return description, _read_tensors(path / layout.WEIGHTS_FILE, description)
    except ValueError:
        again = read_description(path)
        if again == description:
            raise
        return again, _read_tensors(path / layout.WEIGHTS_FILE, again)


def _read_tensors(file: Path, values: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of a file; the JSON beside it names their digest, unless an old program wrote it."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; copy the whole folder again")
    if layout.DIGESTS in values and _digest(file) not in values[layout.DIGESTS]:
        raise ValueError(
            f"{file} is damaged (its SHA-256 is not the one that was written down); copy the whole "
            "folder again"
        )
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged ({error}); copy it again") from error
