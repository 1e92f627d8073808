"""Section of the training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from configs.section import Section


class TrainingConfig(Section):
    """Training of a model."""

    steps: int = Field(default=1500, ge=1, description="optimiser steps")
    batch_size: int = Field(default=4, ge=1, description="windows per batch")
    accumulate: int = Field(default=1, ge=1, description="batches per optimiser step")
    learning_rate: float = Field(
        default=2e-3,
        gt=0,
        description="largest rate; weights of an integral branch with k filters get 1/k of it",
    )
    warmup: float = Field(
        default=0.05, ge=0, lt=1, description="fraction of the steps with a growing learning rate"
    )
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0, description="maximum norm of the gradient")
    loss: Literal["relative-l2", "relative-l1", "relative-h1", "mse", "crps"] = Field(
        default="relative-l2", description="crps: almost fair CRPS of the members of an ensemble"
    )
    members: int | None = Field(
        default=None, ge=2, description="members of the ensemble that loss crps compares with the "
        "truth",
    )  # fmt: skip
    crps_alpha: float = Field(
        default=0.95, ge=0, le=1, description="weight of the fair CRPS in the almost fair one"
    )
    spectral_crps: float = Field(
        default=0.0, ge=0, description="weight of the CRPS of spherical-harmonic coefficients, "
        "in which all degrees count alike, relative to that of the values at points",
    )  # fmt: skip
    spectral_loss: float = Field(
        default=0.0, ge=0, description="weight of the error in degrees, in which all degrees count "
        "alike, relative to that of the values at points; for model.persistence=damped without a "
        "CRPS",
    )  # fmt: skip
    start_from: str | None = Field(
        default=None, description="package whose weights the training starts from; it may lack "
        "those of the noise; one with model.bundle=1 may start a model with a larger bundle",
    )  # fmt: skip
    channel_weights: dict[str, float] = Field(
        default={}, description="weights of channels in the loss; default 1"
    )
    change_weight: float = Field(
        default=0.0, ge=0, le=1, description="exponent of further weights of channels: the size of "
        "a channel over the size of its change in a step. 0: errors count in units of the size; 1: "
        "of the change, so that temperature counts as much as wind; crps has 1",
    )  # fmt: skip
    rollout_steps: int = Field(
        default=1, ge=1, description="applications of the network in the loss"
    )
    rollout_from: float = Field(
        default=0.0, ge=0, lt=1, description="fraction of the training with one of them; "
        "then the number grows evenly to rollout_steps",
    )  # fmt: skip
    push_forward: int = Field(
        default=0, ge=0, description="maximum number of applications without gradient before "
        "those of the loss, drawn for each batch",
    )  # fmt: skip
    replay_steps: int = Field(
        default=0, ge=0, description="time steps of the rollouts in the replay buffer: a part of "
        "each batch goes on from states that were predicted in earlier batches; 0: no buffer",
    )  # fmt: skip
    replay_free_steps: int = Field(
        default=0, ge=0, description="further steps of these rollouts, of which the loss asks only "
        "that they stay within the limits of the model",
    )  # fmt: skip
    replay_share: float = Field(
        default=0.5, gt=0, le=1, description="share of a batch that belongs to the replay buffer"
    )
    replay_from: float = Field(
        default=0.5, ge=0, lt=1, description="fraction of the training without the replay buffer"
    )
    ema_decay: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay of the moving average of the weights, which the package holds",
    )
    optimizer: Literal["muon", "adamw", "apex-adam", "apex-lamb"] = "muon"
    shard_optimizer: bool = Field(
        default=False, description="shard the state of the optimiser over the processes of the mesh"
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
        default=250,
        ge=1,
        description="optimiser steps between validations; each also saves a checkpoint",
    )
    validation_rollout: int = Field(default=5, ge=1, description="steps of a validation rollout")
    validation_states: int = Field(
        default=32, ge=1, description="number of initial states, evenly spaced"
    )
    keep_checkpoints: int = Field(default=2, ge=1)
    log_every: int = Field(
        default=10, ge=1, description="optimiser steps between lines of the metrics"
    )
    max_skipped: int = Field(
        default=10, ge=0, description="maximum number of steps skipped for a non-finite loss",
    )  # fmt: skip
    workers: int = Field(
        default=2, ge=0, description="processes that read a store that does not fit in memory"
    )
    device: str = Field(default="auto", description="auto: cuda if available, else cpu")
    seed: int = 0
