"""Packages: all that is needed to forecast, in one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from configs import layout
from configs.model import ModelConfig
from configs.schema import RolloutConfig
from configs.time.step import TimeStep
from configs.variables import Variable
from forecast.model.build import BuildNetwork, build_network
from forecast.model.forcing import ForcingChannels
from forecast.model.forecaster import BY_ROWS, Forecaster
from forecast.model.limiter import RangeLimiter, SpectralLimiter
from forecast.model.normalizer import Normalizer
from forecast.model.tensor_folder import file_digest, read_json, read_tensors, write_folder
from forecast.model.update import DampedUpdate
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current

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
        layout.FORCING_CHANNELS: [asdict(v) for v in forecaster.forcing_channels],
        "grid": asdict(forecaster.grid),
        "time_step": forecaster.time_step.label,
        "calendar": forecaster.time_step.calendar.name,
        layout.MOVING_MASK: list(forecaster.moving_mask),
        layout.ROLLOUT: rollout.model_dump(mode="json"),
        "training": dict(training or {}),
        "provenance": dict(provenance or {}),
    }
    write_folder(path, tensors, description, layout.WEIGHTS_FILE, layout.PACKAGE_FILE)


def load_package(
    path: str | Path, device: torch.device | str = "cpu", build: BuildNetwork = build_network
) -> Forecaster:
    """Load a forecaster from its package.

    Args:
        path: folder of a package, or of a run that holds one.
        device: where the forecaster goes.
        build: function that builds the network, the one that it was trained with.

    Raises:
        FileNotFoundError: if there is no package.
        ValueError: if it is damaged, or of a format that cannot be read any more, or not yet.
    """
    path = Path(path)
    if (path / layout.PACKAGE / layout.PACKAGE_FILE).is_file():
        path = path / layout.PACKAGE
    description, tensors = _read_package(path)
    try:
        config = ModelConfig.model_validate(description["model"])
        channels, given = (
            tuple(Variable(**{**e, "aliases": tuple(e["aliases"])}) for e in description[key])
            for key in ("channels", layout.FORCING_CHANNELS)
        )
        grid = Grid(**description["grid"])
        for name in BY_ROWS:
            if name in tensors:
                tensors[name] = tensors[name][..., own_rows(grid), :]
        time_step = TimeStep.parse(description["time_step"], description["calendar"])
        normalizer = Normalizer(
            tensors["normalizer.mean"],
            tensors["normalizer.std"],
            tensors["normalizer.std_step"],
            time_step,
            tensors.get("normalizer.climatology"),
            of_anomalies=config.baseline == "climatology",
            std_ahead=tensors.get("normalizer.std_ahead"),
        )
        forcing = None
        if given:
            mean, std = (tensors[f"forcing.{name}"] for name in ("mean", "std"))
            forcing = ForcingChannels(given, mean, std, tensors.get("forcing.mask"))
        limiter = None
        fed_back = any(v.role == "prognostic" for v in channels)
        if config.spectral_limit is not None and fed_back:
            limiter = SpectralLimiter(grid, tensors["limiter.power"], config.spectral_limit)
        range_limiter = None
        if config.range_limit is not None and fed_back:
            name = "range_limiter.bounds"
            tensors[name] = _of_all_channels(tensors[name], channels)
            range_limiter = RangeLimiter(grid, tensors[name])
        update = None
        if config.persistence == "damped":
            names = ("mean", "persistence", "innovation", "bounds")
            update = DampedUpdate(grid, *(tensors[f"update.{name}"] for name in names))
        forecaster = Forecaster(
            config,
            grid,
            channels,
            time_step,
            normalizer,
            tensors["static"],
            tensors.get("mask"),
            limiter=limiter,
            moving_mask=tuple(description[layout.MOVING_MASK]),
            forcing=forcing,
            update=update,
            build=build,
            range_limiter=range_limiter,
        )
        forecaster.load_state_dict(tensors)
    except (KeyError, TypeError, ValidationError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        if isinstance(error, KeyError):
            reason = f"it has no {error.args[0]!r}"
        raise ValueError(
            f"package {path} is damaged ({reason}); copy it again, or take another one"
        ) from error
    return forecaster.eval().to(device)


def start_from(
    forecaster: Forecaster, path: str | Path, build: BuildNetwork = build_network
) -> None:
    """Copy the weights of a package into a forecaster, in place.

    The package may lack those of the noise, which stay; with zero weights of further inputs the
    forecaster starts as that of the package. It may predict one state at a time
    (`model.bundle=1`): all states of a bundle then start with the same weights.

    Args:
        forecaster: model to be trained; its data should have about the statistics of those of the
            package, by which the weights are scaled.
        path: folder of a package, or of a run that holds one.
        build: function that builds the network of both.

    Raises:
        FileNotFoundError: if there is no package.
        ValueError: if it is that of another model.
    """
    source = load_package(path, build=build)
    own = dict(forecaster.named_parameters())
    given: dict[str, Tensor] = dict(source.named_parameters())
    noise = forecaster.config.noise
    if noise is not None and noise.into == "first" and source.config.noise is None:
        for name in ("network.encoder.weight", "network.decoder.weight"):
            # The noise is the last input.
            given[name] = nn.functional.pad(given[name], (0, noise.total_channels))
    if source.config.bundle == 1:
        for name in ("network.decoder.weight", "network.decoder.bias"):
            if name in given:  # a given network may have other names
                given[name] = torch.cat([given[name]] * forecaster.config.bundle)
    if source.noise is None:
        given |= {name: p for name, p in own.items() if name.startswith("network.modulations.")}
    same = {k: p.shape for k, p in own.items()} == {k: p.shape for k, p in given.items()}
    if not same or source.channel_names != forecaster.channel_names:
        raise ValueError(
            f"training.start_from is {path}, whose model has other channels, inputs or weights; "
            "take the settings of its section model, to which noise may be added, and model.bundle "
            f"if it is 1 there (it is {source.config.bundle})"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(given[name])


def read_description(path: str | Path) -> dict[str, Any]:
    """Read the JSON part of a package.

    Raises:
        FileNotFoundError: if there is no package.
        ValueError: if it is damaged, or of another format version.
    """
    file = Path(path) / layout.PACKAGE_FILE
    if not file.is_file():
        raise FileNotFoundError(
            f"no package at {path} (a folder with {layout.PACKAGE_FILE}); `forecast train` writes "
            "one to RUN/package"
        )
    description = read_json(file)
    version = description.get(layout.FORMAT_VERSION)
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"{file} is damaged (format version {version!r}); copy it again")
    if version < layout.PACKAGE_VERSION:
        raise ValueError(
            f"package {path} has format version {version}, and the blocks of its network are no "
            "longer known; load it with the version of sphere-forecast that wrote it, or train "
            "again"
        )
    if version > layout.PACKAGE_VERSION:
        raise ValueError(
            f"package {path} has format version {version}, this program reads up to "
            f"{layout.PACKAGE_VERSION}; install a newer sphere-forecast"
        )
    return description


def rollout_defaults(path: str | Path) -> RolloutConfig:
    """Read the defaults of a package's forecasts.

    Raises:
        FileNotFoundError: if there is no package.
        ValueError: if it is damaged.
    """
    values = read_description(path).get(layout.ROLLOUT)
    try:
        return RolloutConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError(
            f"{Path(path) / layout.PACKAGE_FILE} is damaged ({layout.ROLLOUT} holds {values}); "
            "copy it again"
        ) from error


def weights_digest(path: str | Path) -> str:
    """Return the SHA-256 of the weights of a package, in hexadecimal."""
    return file_digest(Path(path) / layout.WEIGHTS_FILE)


def _of_all_channels(bounds: Tensor, channels: Sequence[Variable]) -> Tensor:
    """Return the range of all channels; of diagnostic ones without end if they have none.

    Packages of earlier versions hold the range of prognostic channels alone.
    """
    prognostic = [i for i, v in enumerate(channels) if v.role == "prognostic"]
    if bounds.shape[1] == len(channels):
        return bounds
    whole = bounds.new_full((2, len(channels), *bounds.shape[2:]), torch.inf)
    whole[0] *= -1
    whole[:, prognostic] = bounds
    return whole


def _read_package(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors of a package, which a run may replace meanwhile."""
    description = read_description(path)
    try:
        return description, read_tensors(path / layout.WEIGHTS_FILE, description)
    except ValueError:
        again = read_description(path)
        if again == description:
            raise
        return again, read_tensors(path / layout.WEIGHTS_FILE, again)
