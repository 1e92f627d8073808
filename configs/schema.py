"""Schema of the configuration: frozen pydantic models without unknown keys."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from configs.gcm import GcmConfig
from configs.model import ModelConfig
from configs.section import (
    GridConfig,
    Section,
    TimeStepText,
    VariableEntry,
    VariableName,
    variable_names,
)
from configs.solvers import BarotropicData, DarcyData, DiffusionReactionData, ShallowWaterData
from configs.training import TrainingConfig
from configs.variables import BUILT_IN, VariableTable


class TimeRange(Section):
    """First and last time, inclusive; a partial date means its whole period."""

    first: str
    last: str


class SplitRanges(Section):
    """Time ranges of the three splits."""

    train: TimeRange
    validation: TimeRange
    test: TimeRange


class SplitFractions(Section):
    """Splits as fractions of the times, in this order."""

    train: float = Field(gt=0, le=1)
    validation: float = Field(ge=0, lt=1)
    test: float = Field(ge=0, lt=1)

    @model_validator(mode="after")
    def _one_whole(self) -> SplitFractions:
        total = self.train + self.validation + self.test
        if total > 1 + 1e-9:
            raise ValueError(f"the fractions sum to {total:g}; they may sum to 1 at most")
        return self


def _kind_of_splits(value: Any) -> str:
    train = value.get("train") if isinstance(value, dict) else getattr(value, "train", None)
    return "fractions" if isinstance(train, int | float) else "ranges"


Splits = Annotated[
    Annotated[SplitRanges, Tag("ranges")] | Annotated[SplitFractions, Tag("fractions")],
    Discriminator(_kind_of_splits),
]


class TimesConfig(Section):
    """Choice of the times of a store, or of the times of a store that a training run uses."""

    first: str | None = Field(
        default=None, description="first time, inclusive; a partial date means its whole period"
    )
    last: str | None = Field(default=None, description="last time, inclusive; likewise")
    hours: tuple[int, ...] = Field(default=(), description="hours of the day (UTC); default: all")
    months: tuple[int, ...] = Field(
        default=(), description="calendar months, 1 to 12; default: all"
    )
    gaps: bool = Field(
        default=False, description="allow missing times; no window of states crosses a gap"
    )


class ClimatologyConfig(Section):
    """Climatology of a store, the mean over the training split."""

    by: Literal["month", "day"] = Field(
        default="month", description="calendar month, or day of the year and hour of the day"
    )
    window: int = Field(
        default=61, ge=1, description="days of the window of a daily climatology, an odd number"
    )


class FilesData(Section):
    """Training data from gridded files."""

    source: Literal["files"] = "files"
    variables: tuple[VariableName, ...] = Field(min_length=1)
    forcing: tuple[VariableName, ...] = Field(
        default=(), description="fields of the files that are given at every time, not predicted"
    )
    static: tuple[VariableName, ...] = ()
    rename: dict[str, str] = Field(default={}, description="name in the file: short name")
    units: dict[str, str] = Field(
        default={}, description="name in the file: units, if those of the file are wrong or missing"
    )
    select: dict[str, float] = Field(
        default={}, description="dimension in the file: value to keep, for example number: 0"
    )
    dimensions: dict[str, Literal["time", "level", "latitude", "longitude", "trajectory"]] = Field(
        default={}, description="name in the file: what it is, if the file does not say it"
    )
    time_units: str | None = Field(
        default=None, description="CF units of the times, such as 'hours since 1900-01-01', if "
        "those of the file are wrong or missing",
    )  # fmt: skip
    calendar: str | None = Field(
        default=None, description="CF calendar of the times, if that of the file is missing"
    )
    accumulation: dict[str, str] = Field(
        default={}, description="name in the file: period over which each value is accumulated, "
        "such as 1h, or forecast for accumulation from the start of the forecast",
    )  # fmt: skip
    trajectories: str | None = Field(
        default=None, description="dimension in the file whose entries become trajectories, such "
        "as the ensemble members along number",
    )  # fmt: skip
    grid: GridConfig | None = Field(
        default=None, description="grid of the store; default: grid of the files"
    )
    regridding: Literal["auto", "conservative", "bilinear", "spectral"] = Field(
        default="auto", description="auto: conservative to a coarser grid, bilinear to a finer one"
    )
    interpolate_levels: bool = Field(
        default=False, description="interpolate missing pressure levels linearly in log p"
    )
    time_step: TimeStepText = "6h"
    times: TimesConfig = TimesConfig()
    mask: tuple[VariableName, ...] = Field(
        default=(), description="channels with missing values at constant points (land)"
    )
    moving_mask: tuple[VariableName, ...] = Field(
        default=(), description="channels with missing values at points that change (sea ice)"
    )
    climatology: ClimatologyConfig = ClimatologyConfig()
    row_chunks: int = Field(
        default=1, ge=1, description="chunks by rows, which the ranks of a mesh read apart"
    )
    splits: Splits | None = Field(
        default=None, description="time ranges or fractions; null for a store without training data"
    )


DataConfig = Annotated[
    ShallowWaterData | BarotropicData | DiffusionReactionData | DarcyData | FilesData,
    Field(discriminator="source"),
]
DATA_SOURCES = ("shallow_water", "barotropic", "diffusion_reaction", "darcy", "files")


class TrackingConfig(Section):
    """Tracking of a run with MLflow."""

    enabled: bool = True
    experiment: str = "sphere-forecast"
    run_name: str | None = None
    uri: str | None = Field(default=None, description="MLflow URI; default sqlite:///mlflow.db")


class RolloutConfig(Section):
    """Defaults of a forecast."""

    n_steps: int = Field(default=20, ge=1)
    split: Literal["train", "validation", "test"] = "test"
    batch_size: int = Field(default=8, ge=1, description="initial states forecast together")


class MeshConfig(Section):
    """Mesh of the processes that `torchrun` starts: data × latitude."""

    data: int = Field(default=1, ge=1, description="ranks over which a batch is sharded")
    latitude: int = Field(
        default=1, ge=1, description="ranks over which the rows of a field are sharded"
    )
    wire_dtype: Literal["float32", "bf16"] = Field(
        default="float32", description="type of the fields sent between ranks"
    )
    timeout: float = Field(default=600.0, gt=0, description="timeout of a rank, s")


class Config(Section):
    """Configuration of an experiment: variables, data, model, training and forecast."""

    variables: dict[str, VariableEntry] = Field(
        default={}, description="short name: entry, added to the table of variables or changed in "
        "it",
    )  # fmt: skip
    gcm: GcmConfig | None = Field(
        default=None, description="run of a circulation model, which makes the files of the data"
    )
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    rollout: RolloutConfig = RolloutConfig()
    tracking: TrackingConfig = TrackingConfig()
    mesh: MeshConfig = MeshConfig()

    @cached_property
    def table(self) -> VariableTable:
        """Table of variables: the built-in one, with the changes of this configuration."""
        return BUILT_IN.extended({name: entry.given for name, entry in self.variables.items()})

    @model_validator(mode="after")
    def _files_of_the_gcm(self) -> Config:
        if self.gcm is not None and self.data.source != "files":
            raise ValueError(
                f"gcm is given, but data.source is {self.data.source}; a circulation model makes "
                "files: set data.source=files, or leave gcm out"
            )
        return self

    @model_validator(mode="after")
    def _ensemble(self) -> Config:
        given = {
            "model.noise": self.model.noise is not None,
            "training.members": self.training.members is not None,
            "training.loss=crps": self.training.loss == "crps",
        }
        if len(set(given.values())) > 1:
            there = ", ".join(key for key, value in given.items() if value)
            absent = ", ".join(key for key, value in given.items() if not value)
            raise ValueError(
                f"{there} without {absent}: a model with noise is trained by the CRPS of its "
                "members; set all three of model.noise, training.members and training.loss=crps, "
                "or none"
            )
        return self

    @model_validator(mode="after")
    def _spectral_loss(self) -> Config:
        damped = self.model.persistence == "damped"
        if self.training.spectral_loss and (not damped or self.training.loss == "crps"):
            raise ValueError(
                f"training.spectral_loss is {self.training.spectral_loss:g}, with "
                f"model.persistence={self.model.persistence} and training.loss="
                f"{self.training.loss}: it compares errors with what damped persistence leaves; "
                "set model.persistence=damped, or with crps take training.spectral_crps"
            )
        return self

    @model_validator(mode="after")
    def _replay(self) -> Config:
        t = self.training
        if t.replay_steps and t.push_forward:
            raise ValueError(
                f"training.replay_steps is {t.replay_steps}, with training.push_forward="
                f"{t.push_forward}: the replay buffer holds forecasts of one step; leave out one "
                "of them"
            )
        limits = self.model.range_limit, self.model.spectral_limit
        if t.replay_free_steps and (not t.replay_steps or limits == (None, None)):
            raise ValueError(
                f"training.replay_free_steps is {t.replay_free_steps}, with training.replay_steps="
                f"{t.replay_steps}, model.range_limit={limits[0]} and model.spectral_limit="
                f"{limits[1]}: set training.replay_steps, and one of the limits to stay within"
            )
        return self

    @model_validator(mode="after")
    def _bundle(self) -> Config:
        m, t = self.model, self.training
        if m.bundle > 1 and (m.persistence == "damped" or m.noise is not None):
            other = "persistence=damped" if m.persistence == "damped" else "noise"
            raise ValueError(
                f"model.bundle is {m.bundle}, with model.{other}, which acts in every time step; "
                "leave out one of them"
            )
        for name in ("replay_steps", "replay_free_steps"):
            if (steps := getattr(t, name)) % m.bundle:
                raise ValueError(
                    f"training.{name} is {steps}, with model.bundle={m.bundle}: the replay buffer "
                    f"holds states between applications of the network; take a multiple of "
                    f"{m.bundle}"
                )
        return self

    @model_validator(mode="after")
    def _known_variables(self) -> Config:
        table = self.table
        for key, name in variable_names(self):
            try:
                table.variable(name)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
        return self
