"""Everything that can be configured: frozen pydantic models, unknown keys refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from configs.model import ModelConfig
from configs.section import GridConfig, Section, TimeStepText, VariableName

# --- data ---------------------------------------------------------------------------------------


class SplitCounts(Section):
    """Number of trajectories of each split."""

    train: int = Field(ge=1)
    validation: int = Field(ge=0)
    test: int = Field(ge=0)


class CaseConfig(Section):
    """One initial (and forced) case of the shallow-water solver, and its share in a mix."""

    name: str = "random"
    weight: float = Field(default=1.0, gt=0)
    parameters: dict[str, float] = {}
    orography: str | None = Field(
        default=None, description="file with the height of the surface, m; the sea counts as 0"
    )


class ShallowWaterData(Section):
    """Training data from the shallow-water solver."""

    source: Literal["shallow_water"] = "shallow_water"
    grid: GridConfig = GridConfig(nlat=64, nlon=128)
    lmax: int = Field(
        default=43, ge=3, description="truncation of the solver, exclusive (T42 = 43)"
    )
    cases: tuple[CaseConfig, ...] = (CaseConfig(),)
    variables: tuple[VariableName, ...] = ("geopotential", "vorticity", "divergence")
    trajectories: SplitCounts = SplitCounts(train=64, validation=8, test=8)
    n_steps: int = Field(default=20, ge=1, description="steps per trajectory; one more state")
    time_step: TimeStepText = Field(default="1h", description="interval between stored states")
    spin_up: str = Field(default="0h", description="time solved before the first stored state")
    solver_dt: float | None = Field(default=None, gt=0, description="s; chosen if not given")
    start_time: str = "2000-01-01"
    dtype: Literal["float32", "float64"] = "float64"
    batch_size: int = Field(default=32, ge=1, description="trajectories solved together")
    seed: int = 0


class TimeRange(Section):
    """First and last time, both included; a partial date means its whole period."""

    first: str
    last: str


class SplitRanges(Section):
    """The time ranges of the three splits."""

    train: TimeRange
    validation: TimeRange
    test: TimeRange


class SplitFractions(Section):
    """The three splits as fractions of the times, in this order."""

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


class FilesData(Section):
    """Training data from ERA5-style gridded files."""

    source: Literal["files"] = "files"
    variables: tuple[VariableName, ...] = Field(min_length=1)
    static: tuple[VariableName, ...] = ()
    rename: dict[str, str] = Field(default={}, description="name in the file: our short name")
    units: dict[str, str] = Field(
        default={}, description="name in the file: its units, where the file's are wrong or missing"
    )
    select: dict[str, float] = Field(
        default={}, description="dimension in the file: value to keep, as number: 0 of an ensemble"
    )
    grid: GridConfig | None = Field(
        default=None, description="regrid to this; None keeps the file's"
    )
    time_step: TimeStepText = "6h"
    mask: tuple[VariableName, ...] = Field(
        default=(), description="channels whose missing values are a mask"
    )
    splits: Splits | None = Field(
        default=None, description="times or fractions; None makes a store to start forecasts from"
    )


DataConfig = Annotated[ShallowWaterData | FilesData, Field(discriminator="source")]


# --- training -----------------------------------------------------------------------------------


class TrainingConfig(Section):
    """How a model is trained."""

    steps: int = Field(default=1500, ge=1, description="optimiser steps")
    batch_size: int = Field(default=4, ge=1, description="windows that are computed together")
    accumulate: int = Field(default=1, ge=1, description="batches per optimiser step")
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup: float = Field(default=0.05, ge=0, lt=1, description="fraction of the steps")
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    loss: Literal["relative-l2", "relative-l1", "relative-h1", "mse"] = "relative-l2"
    channel_weights: dict[str, float] = Field(
        default={}, description="weight in the loss of the channels that are named; others 1"
    )
    rollout_steps: int = Field(default=1, ge=1, description="autoregressive steps in the loss")
    rollout_from: float = Field(
        default=0.0, ge=0, lt=1, description="fraction of the steps trained with one step; "
        "then their number grows evenly to rollout_steps",
    )  # fmt: skip
    push_forward: int = Field(
        default=0, ge=0, description="up to so many steps, drawn for each batch, go before the "
        "loss and have no gradient",
    )  # fmt: skip
    ema_decay: float | None = Field(
        default=None, gt=0, lt=1, description="average the weights; the package holds the average"
    )
    optimizer: Literal["adamw", "apex-adam", "apex-lamb"] = "adamw"
    shard_optimizer: bool = Field(
        default=False, description="deal the optimiser's state to the processes of the mesh"
    )
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    compile: bool = False
    checkpoint_blocks: bool = Field(
        default=False, description="recompute the blocks in the backward pass to save memory"
    )
    checkpoint_steps: bool = Field(
        default=False, description="recompute each rollout step in the backward pass"
    )
    validate_every: int = Field(
        default=250, ge=1, description="optimiser steps between validations, which also save"
    )
    validation_rollout: int = Field(default=5, ge=1, description="steps of a validation rollout")
    validation_states: int = Field(default=32, ge=1, description="initial states, evenly spread")
    keep_checkpoints: int = Field(default=2, ge=1)
    log_every: int = Field(default=10, ge=1, description="optimiser steps per line of the metrics")
    max_skipped: int = Field(
        default=10, ge=0, description="steps with a non-finite loss that are skipped before the "
        "run stops",
    )  # fmt: skip
    workers: int = Field(
        default=2, ge=0, description="processes that read a store too large for memory"
    )
    device: str = Field(default="auto", description="auto: cuda where there is one, else cpu")
    seed: int = 0


class TrackingConfig(Section):
    """Where a run is recorded."""

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
    """Layout of the processes that `torchrun` starts: data × latitude."""

    data: int = Field(default=1, ge=1, description="processes that share a batch")
    latitude: int = Field(default=1, ge=1, description="processes that share the rows of a field")
    wire_dtype: Literal["float32", "bf16"] = Field(
        default="float32", description="type in which processes send each other fields"
    )
    timeout: float = Field(
        default=600.0, gt=0, description="s after which a process that does not answer ends the job"
    )


class Config(Section):
    """A whole experiment: its data, model, training and forecast."""

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    rollout: RolloutConfig = RolloutConfig()
    tracking: TrackingConfig = TrackingConfig()
    mesh: MeshConfig = MeshConfig()
