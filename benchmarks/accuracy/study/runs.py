"""Study of an experiment: trains its rows, and measures them and the references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.accuracy.records import digest, finite, read, saved, write
from benchmarks.accuracy.study.errors import (
    RelativeL2,
    Truth,
    forecast_errors,
    long_rollout,
    model_steps,
    transfer,
    truth_of,
)
from benchmarks.accuracy.study.experiments import Experiment, prepare
from benchmarks.accuracy.study.references import reference_rows
from benchmarks.accuracy.study.rows import OTHER_GRIDS, Row, row
from benchmarks.accuracy.study.sizes import equal_channels, parameters
from benchmarks.speed.measure import machine, versions
from configs import layout
from configs.load import load_config
from configs.schema import Config
from data_prep.store.reader import Store
from forecast.model.package import load_package, read_description
from forecast.training.train import train

_VALIDATION = "validation/relative_l2"


class Study:
    """Runs of an experiment in a folder.

    Args:
        experiment: Experiment.
        out: Folder, made if absent.
        split: Split on which errors are measured, "validation" or "test".
        seeds: Seeds of the weights and of the order of the batches; choices are made by the first.
        rates: Learning rates to choose from for all rows, instead of their own.

    Raises:
        ValueError: if the experiment has no such split.
    """

    def __init__(
        self,
        experiment: Experiment,
        out: Path,
        *,
        split: str = "validation",
        seeds: Sequence[int] = (0, 1, 2),
        rates: Sequence[float] = (),
    ) -> None:
        self.experiment, self.out, self.split = experiment, out, split
        self.seeds, self.rates = tuple(seeds), tuple(rates)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if not getattr(experiment, split):
            raise ValueError(
                f"experiment {experiment.name} has no {split} trajectories; measure it on the "
                "other split, by --split"
            )
        self.store = cache(self._store)
        self.digest = cache(lambda part: digest(self.store(part)))
        out.mkdir(parents=True, exist_ok=True)

    def run(self, names: Sequence[str]) -> dict[str, Any]:
        """Do all that is not done yet, write the summary and return it."""
        rows = [row(name) for name in names]
        folder = self.out / self.split
        references = saved(folder / "references.json", self._references)
        self._check_data(references, folder / "references.json")
        for seed in self.seeds:
            for of in rows:
                path = folder / f"{_slug(of.name)}-{seed}.json"
                config = self.config(of, seed)
                record = saved(path, partial(self._measured, of, config))
                self._check_data(record, path)
                if record["configuration"] != _configuration(config):
                    raise ValueError(
                        f"{path} was measured with another configuration; delete it to measure "
                        "the row again, on a test set with another seed, or take another folder"
                    )
                print(line(record, self.experiment), flush=True)
        runs = [read(path) for path in sorted(folder.glob("*-[0-9]*.json"))]
        summary = {
            "experiment": asdict(self.experiment),
            "split": self.split,
            "leads": self.experiment.leads,
            "data": {part: self.digest(part) for part in _parts(self.split)},
            "machine": machine(),
            "choices": {p.stem: read(p) for p in sorted((self.out / "choices").glob("*.json"))},
            "references": references["rows"],
            "runs": runs,
        }
        path = self.out / f"{self.split}.json"
        write(path, summary)
        return read(path)

    def config(self, of: Row, seed: int) -> Config:
        """Return the configuration of a run, with learning rate and size chosen."""
        channels = saved(
            self.out / "choices" / f"{_slug(of.name)}-channels.json",
            lambda: {"channels": equal_channels(of, self.experiment, self.device),
                     "machine": machine()},
        )["channels"]  # fmt: skip
        rates, rate = self.rates or of.rates, None
        if rates:
            rate = rates[0] if len(rates) == 1 else self._chosen_rate(of, rates, channels)
        return of.config(self.experiment, seed, rate, channels)

    def _chosen_rate(self, of: Row, rates: Sequence[float], channels: int | None) -> float:
        """Return the learning rate with the least validation error of the first seed."""
        if not self.experiment.validation:
            raise ValueError(
                f"experiment {self.experiment.name} has no validation trajectories to choose a "
                f"learning rate of {of.name!r} by; give one, by --rates, or take weak or strong"
            )
        path = self.out / "choices" / f"{_slug(of.name)}-rate.json"

        def tried() -> dict[str, Any]:
            errors = {
                str(rate): self._validation_error(
                    of, of.config(self.experiment, self.seeds[0], rate, channels)
                )
                for rate in rates
            }
            chosen = min(errors, key=lambda rate: errors[rate])
            at_edge = float(chosen) in (min(rates), max(rates))
            return {"errors": errors, "rate": float(chosen), "at_edge": at_edge}

        choice = saved(path, tried)
        if sorted(map(float, choice["errors"])) != sorted(rates):
            raise ValueError(f"{path} is a choice among {', '.join(choice['errors'])}, not among "
                f"{', '.join(map(str, rates))}; give these, or delete it")  # fmt: skip
        return float(choice["rate"])

    def _validation_error(self, of: Row, config: Config) -> float:
        """Return the error of the best package of a run; infinite if the training diverged."""
        try:
            folder = self._trained(of, config)
        except ValueError as error:
            if "not finite" not in str(error):
                raise
            return math.inf
        value = read_description(folder / "best")["training"]["validation"][_VALIDATION]
        return value if math.isfinite(value) else math.inf

    def _trained(self, of: Row, config: Config) -> Path:
        """Return the folder of a completed training."""
        training = config.training
        name = f"{_slug(of.name)}-{training.learning_rate:g}-{training.seed}"
        folder = self.out / "runs" / name
        self.store("train")
        before = folder / layout.CONFIG_FILE
        if before.exists() and load_config(before).model_dump() != config.model_dump():
            raise ValueError(
                f"{folder} was trained with another configuration; delete it to train again, or "
                "take another folder"
            )
        result = train(config, self.out / "train.zarr", folder, resume=True, build=of.build)
        if result.stopped_by is not None:
            raise SystemExit(f"{folder} was stopped at step {result.step}; start again to go on")
        return folder

    def _measured(self, of: Row, config: Config) -> dict[str, Any]:
        """Train a row and measure it."""
        folder = self._trained(of, config)
        forecaster = load_package(folder / "best", self.device, of.build)
        store, error = self.store(self.split), RelativeL2.from_store(self.store("train"))
        truth = self._truth()
        steps = model_steps(forecaster, truth, truth.n_steps)
        record = {
            "name": of.name,
            "seed": config.training.seed,
            "configuration": _configuration(config),
            "parameters": parameters(of, self.experiment, config.model.channels),
            "validation": read_description(folder / "best")["training"]["validation"],
            **forecast_errors(steps, truth.scored, error, self.experiment),
            **long_rollout(
                forecaster, self.store(f"{self.split}-long"), self.split, error, self.experiment
            ),
        }
        if OTHER_GRIDS in of.options:
            record["transfer"] = transfer(forecaster, store, self.split)
        return record | self._about(*_parts(self.split))

    def _references(self) -> dict[str, Any]:
        error = RelativeL2.from_store(self.store("train"))
        rows = reference_rows(self.experiment, self._truth(), self.store("train"), error)
        return {"rows": rows} | self._about("train", self.split)

    def _truth(self) -> Truth:
        experiment = self.experiment
        return truth_of(
            self.store(self.split),
            self.split,
            experiment.leads[-1],
            first=experiment.first,
            every=experiment.starts_every,
        )

    def _about(self, *parts: str) -> dict[str, Any]:
        """Return the machine with versions and commit, and the digests of some stores."""
        of = machine() | versions("torch-harmonics", "numpy")
        return {"machine": of, "data": {part: self.digest(part) for part in parts}}

    def _check_data(self, record: dict[str, Any], path: Path) -> None:
        """Raise a ValueError if a record is of other data."""
        for part, found in record["data"].items():
            if found != self.digest(part):
                raise ValueError(
                    f"{path} was measured with other data than {self.out / part}.zarr (SHA-256 "
                    f"{found[:12]}, now {self.digest(part)[:12]}); take another folder"
                )

    def _store(self, part: str) -> Store:
        return prepare(self.experiment, part, self.out)


def line(record: dict[str, Any], experiment: Experiment) -> str:
    """Return one line about a run."""
    means = [_mean(record["errors"][lead - 1]) for lead in experiment.leads]
    text = " ".join(f"{value:.4f}" for value in means)
    return (
        f"{record['name']:32} seed {record['seed']} {record['parameters']:9,d} parameters, errors "
        f"{text}, leaves {record['leaves']}"
    )


def _mean(values: Sequence[float | None]) -> float:
    return sum(math.nan if v is None else v for v in values) / len(values)


def _configuration(config: Config) -> dict[str, Any]:
    return finite(config.model_dump(mode="json", include={"data", "model", "training"}))


def _parts(split: str) -> tuple[str, ...]:
    """Return the stores that the runs of a split read."""
    return "train", split, f"{split}-long"


def _slug(name: str) -> str:
    return name.replace(", ", "_").replace(" ", "-").replace("×", "x")
