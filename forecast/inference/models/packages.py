"""Packages of a rollout, as a user names them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch

from configs import layout
from configs.model import ModelConfig
from configs.schema import RolloutConfig
from configs.time.step import TimeStep
from forecast.inference.models.agreement import check_agree
from forecast.inference.models.cascade import Cascade
from forecast.inference.reading.lead_times import in_steps
from forecast.model.forecaster import Forecaster
from forecast.model.package import (
    load_package,
    read_description,
    rollout_defaults,
    weights_digest,
)
from forecast.model.resampling import ResamplingForecaster

Package = str | Path | Forecaster
"""Folder of a package or of a run that holds one; a text may name a cascade; or a model itself."""


class PackageSpec:
    """Package of a model, or the packages of a cascade.

    Attributes:
        packages: packages in the order of lead time.
        until: lead times at which each but the last ends, such as `1d`.
    """

    def __init__(self, package: Package) -> None:
        """Divide the text of a cascade, such as `short/best,1d,long/best`.

        Raises:
            ValueError: if a package or lead time is absent.
        """
        parts: list[Package] = [package]
        if isinstance(package, str) and not Path(package).exists():
            parts = [part.strip() for part in package.split(",")]
        self.packages, self.until = parts[::2], [str(text) for text in parts[1::2]]
        if len(self.packages) == len(self.until) or "" in parts:
            raise ValueError(
                f"{package} is no cascade; expected packages with a lead time between them, at "
                "which the next one goes on, such as short/best,1d,long/best"
            )

    @property
    def first(self) -> Package:
        """Package of the first model, whose settings are those of the rollout."""
        return self.packages[0]

    @property
    def name(self) -> str:
        """Short name."""
        return ",".join(self.with_ends([_name(package) for package in self.packages]))

    def load(
        self,
        device: str = "cpu",
        *,
        limiter: bool = True,
        fit: Callable[[Forecaster], Forecaster | ResamplingForecaster] | None = None,
    ) -> Cascade:
        """Load the models.

        Args:
            device: where they compute.
            limiter: False to leave out their limits.
            fit: function that takes a model to the grid of the initial states.

        Raises:
            FileNotFoundError: if a package is not there.
            ValueError: if the models of a cascade differ in what they have to share, draw noise, or
                a lead time is not a whole number of steps later than the one before.
        """
        models = [_load(package, device, limiter) for package in self.packages]
        fitted = models if fit is None else [fit(model) for model in models]
        check_agree(fitted, [_name(package) for package in self.packages], "parts of one cascade")
        if self.until and any(model.noise is not None for model in models):
            raise ValueError(
                f"{self.name}: a model of this cascade draws noise (model.noise), which a cascade "
                "does not carry on; forecast with each model on its own"
            )
        return Cascade(fitted, self._ends(models[0].time_step))

    def n_history(self, time_step: TimeStep) -> int:
        """Return the length of the history that forecasts of packages need; see `Cascade`.

        Args:
            time_step: interval of one step of the models.
        """
        folders = [package_folder(Path(str(package))) for package in self.packages]
        models = [ModelConfig.model_validate(read_description(f)["model"]) for f in folders]
        begins = zip(models, (0, *self._ends(time_step)), strict=True)
        return max(model.n_history - begin for model, begin in begins)

    def digest(self, cascade: Cascade) -> str:
        """Return the SHA-256 of the tensors of each model, with the lead times between them."""
        loaded = zip(self.packages, cascade.models, strict=True)
        first, *others = (_digest(*pair) for pair in loaded)
        after = zip(cascade.ends, others, strict=True)
        return ",".join([first, *(f"{end},{digest}" for end, digest in after)])

    def described(self, digest: str) -> list[str]:
        """Return the packages for the attribute `source` of a file; models have none."""
        ends = [*(f" until {text}" for text in self.until), ""]
        return [
            f"package {_name(package)} (sha256 {of[:16]}){end}"
            for package, of, end in zip(self.packages, digest.split(",")[::2], ends, strict=True)
            if isinstance(package, str | Path)
        ]

    def with_ends(self, texts: list[str]) -> list[str]:
        """Return texts of the packages with the lead times between them."""
        first, *others = texts
        return [first, *(text for pair in zip(self.until, others, strict=True) for text in pair)]

    def settings(self) -> RolloutConfig:
        """Defaults of the first package; the built-in ones for a forecaster without a package."""
        if isinstance(self.first, str | Path):
            return rollout_defaults(package_folder(Path(self.first)))
        return RolloutConfig()

    def _ends(self, time_step: TimeStep) -> list[int]:
        """Return the number of the last step of each model but the last."""
        ends: list[int] = []
        for text in self.until:
            end = in_steps(text, time_step)
            if end is None:
                raise ValueError(
                    f"{self.name}: {text!r} is no lead time of models with steps of "
                    f"{time_step.label}; expected a multiple of that, written as 12h, 2d or 3mo"
                )
            if end <= max(ends, default=0):
                raise ValueError(
                    f"{self.name}: the lead time {text} is not after "
                    f"{self.until[len(ends) - 1] if ends else 'the start'}; lead times increase"
                )
            ends.append(end)
        return ends


def package_folder(path: Path) -> Path:
    """Return the folder of a package, also where the run that holds it was given."""
    inside = path / layout.PACKAGE
    return inside if (inside / layout.PACKAGE_FILE).is_file() else path


def _load(package: Package, device: str, limiter: bool) -> Forecaster:
    """Load the forecaster of a package, with or without its limiter."""
    if isinstance(package, str | Path):
        forecaster = load_package(package, device)
    else:
        forecaster = (package if limiter else deepcopy(package)).eval().to(device)
    if not limiter:
        forecaster.remove_limiters()
    return forecaster


def _digest(package: Package, forecaster: Forecaster | ResamplingForecaster) -> str:
    """Return the SHA-256 of the tensors of a model."""
    if isinstance(package, str | Path):
        return weights_digest(package_folder(Path(package)))
    found = hashlib.sha256()
    for name, tensor in forecaster.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def _name(package: Package) -> str:
    """Return a short name of a package."""
    if isinstance(package, str | Path):
        return "/".join(Path(package).absolute().parts[-2:])
    return type(package).__name__
