"""Trainer: one optimiser step and one validation, which a training run repeats."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from configs.time.step import TimeStep
from configs.training import TrainingConfig
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.state import State
from forecast.training.checkpoint import (
    TrainingCheckpoint,
    load_optimizer,
    optimizer_tensors,
    strip_prefix,
)
from forecast.training.losses import EnsembleLoss, Loss, SpectralError, channel_weights
from forecast.training.memory import explain_out_of_memory
from forecast.training.optimizer import (
    RATE_FACTOR,
    WeightAverage,
    learning_rate_factor,
    make_optimizer,
)
from forecast.training.precision import autocast, grad_scaler
from forecast.training.samples.batches import Batch, Windows
from forecast.training.samples.replay import ReplayBuffer, ReplayPlan
from forecast.training.validation import Validation
from sphere_ops.parallel.mesh import current

_EXPLODED = 1e6
"""Loss above which a step counts as not finite: the target has norm one."""
_STRAYED = 0.01
"""Share of values out of range from which a rollout of the replay buffer begins anew."""

_Ages = NDArray[np.int64]


@dataclass(frozen=True)
class StepResult:
    """Result of one optimiser step.

    Attributes:
        loss: mean over its batches and rollout steps.
        gradient_norm: before clipping.
        learning_rate: of the step.
        taken: False for a step that is skipped, since its loss or gradient is not finite. An
            overflow of the gradient in fp16 also changes nothing, but its scaler deals with it.
        seconds: wall time.
    """

    loss: float
    gradient_norm: float
    learning_rate: float
    taken: bool
    seconds: float


class Trainer:
    """Forecaster in training, with its loss, optimiser and weight average."""

    def __init__(self, forecaster: Forecaster, config: TrainingConfig) -> None:
        """Make the loss, the optimiser and the weight average.

        Args:
            forecaster: what is trained, on its device.
            config: how.
        """
        self.forecaster, self.config = forecaster, config
        self.device = forecaster.static.device
        weights = channel_weights(forecaster.channel_names, config.channel_weights)
        grid, points = forecaster.grid, (forecaster.mask, forecaster.moving)
        self.error = Loss("relative-l2", grid, weights, *points).to(self.device)
        self.loss: Loss | EnsembleLoss
        self.members, crps = config.members or 1, None
        if config.loss == "crps":
            common = self.members, grid, weights, forecaster.change_scale[0].flatten(), *points
            spectral = config.spectral_crps
            self.loss = EnsembleLoss(*common, alpha=config.crps_alpha, spectral=spectral)
            crps = EnsembleLoss(*common, alpha=1.0).to(self.device)
        else:
            scale = forecaster.normalizer.step_scale.flatten().to(weights.device)
            power = config.change_weight * (2 if config.loss == "mse" else 1)
            self.loss = Loss(config.loss, grid, weights / scale**power, *points)
        self.loss.to(self.device)
        self.spectral: SpectralError | None = None
        if config.spectral_loss:
            update = forecaster.update
            assert update is not None
            self.spectral = SpectralError(grid, weights, update.innovation).to(self.device)
        self.validation = Validation(config, self.error, crps)
        self.optimizer, self.choice = make_optimizer(
            config.optimizer,
            forecaster,
            config.learning_rate,
            config.weight_decay,
            sharded=config.shard_optimizer,
        )
        self.scaler = grad_scaler(config.precision, self.device)
        self.mesh = current()
        self.replay = ReplayBuffer(len(self._replayed), self.members)
        self.gradients = self.mesh.gradient_mean(forecaster.parameters())
        self.average = (
            WeightAverage(forecaster, config.ema_decay) if config.ema_decay is not None else None
        )
        self.step_count = 0
        if config.compile:
            forecaster.network.compile()

    def step(self, batches: Sequence[Batch], n_steps: int) -> StepResult:
        """Take one optimiser step over `accumulate` batches.

        Args:
            batches: windows of at least `n_steps + 1` states; what is longer is pushed forward.
            n_steps: time steps of the loss, whole applications of the network.

        Raises:
            ValueError: if a batch does not fit in memory; it says what would.
        """
        with explain_out_of_memory(self.config, self.device):
            return self._step(batches, n_steps)

    def _step(self, batches: Sequence[Batch], n_steps: int) -> StepResult:
        start = time.perf_counter()
        self.forecaster.train()
        rate = self.config.learning_rate * learning_rate_factor(
            self.step_count, self.config.steps, self.config.warmup
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(RATE_FACTOR, 1.0)  # earlier versions had none
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for i, batch in enumerate(batches, start=1):
            with autocast(self.config.precision, self.device):
                loss = self.rollout_loss(batch, n_steps) / len(batches)
            with self.gradients.averaged() if i == len(batches) else nullcontext():
                self.scaler.scale(loss).backward()
            total += loss.detach()
        total = self.mesh.mean_samples(total)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.forecaster.parameters(), self.config.gradient_clip)
        value, norm_value = total.item(), norm.item()
        # An fp16 scaler that is too large overflows the gradient: it skips that by itself.
        overflow = self.scaler.is_enabled() and value < _EXPLODED and not np.isfinite(norm_value)
        taken = bool(value < _EXPLODED and np.isfinite(norm_value))
        if not taken:
            self.replay.drop(batch.replayed for batch in batches)
        if taken or overflow:
            self.scaler.step(self.optimizer)
        self.scaler.update()
        if taken and self.average is not None:
            self.average.update(self.forecaster)
        self.step_count += 1
        seconds = time.perf_counter() - start
        return StepResult(value, norm_value, rate, taken or overflow, seconds)

    def rollout_loss(self, batch: Batch, n_steps: int) -> Tensor:
        """Return the mean loss over the last `n_steps` of the windows, with its gradient."""
        batch = batch.to(self.device)
        state, age = self._initial(batch)
        targets = batch.targets.unbind(1)
        pushed = len(targets) - n_steps
        forcing = batch.forcing_of_steps(self.members)
        for following in rollout(self.forecaster, state, pushed, forcing=forcing[:pushed]):
            state = following
        checkpointed = self.config.checkpoint_steps
        kept, strayed = state, np.zeros(len(batch.time), dtype=bool)
        model = _Recomputed(self.forecaster) if checkpointed else self.forecaster
        normalise, total = self.forecaster.normalise, torch.zeros((), device=self.device)
        predictions = rollout(model, state, n_steps, forcing=forcing[pushed:], grad=True)
        bundle = self.forecaster.config.bundle
        for n, (predicted, target) in enumerate(
            zip(predictions, targets[pushed:], strict=True), start=1
        ):
            truth = normalise(target, predicted.time[:: self.members])
            found = normalise(predicted.fields, predicted.time)
            free, within = np.zeros(len(truth), bool), found
            if batch.replayed is not None and (n <= bundle or self.config.replay_free_steps):
                limited, out = self._within_limits(predicted, state)
                kept = kept.advance(limited.fields, limited.time, limited.noise)
                strayed |= out
                if n == bundle:
                    self.replay.keep(kept, batch.replayed, np.where(strayed, 0, age + bundle))
                free = age + (n - 1) >= self.config.replay_steps
                if free.any():
                    within = normalise(limited.fields, limited.time)
                if n % bundle == 0:
                    state = predicted
            total = total + self._loss(found, truth, within, free)
        return total / n_steps

    @torch.no_grad()
    def _within_limits(self, predicted: State, before: State) -> tuple[State, NDArray[np.bool_]]:
        """Return states as a rollout goes on from them, and which samples have strayed, (b,).

        A sample has strayed with any of its members.
        """
        limited, share = self.forecaster.within_limits(predicted, before)
        return limited, (share > _STRAYED).unflatten(0, (-1, self.members)).any(1).cpu().numpy()

    def _loss(
        self, found: Tensor, truth: Tensor, within: Tensor, free: NDArray[np.bool_]
    ) -> Tensor:
        """Return the mean loss of the samples of a batch, in normalised units.

        States of the replay buffer that are too old to be compared with the truth are compared
        with themselves within the limits: that costs nothing until they stray.

        Args:
            found: predicted states, (b · members, c, nlat, nlon).
            truth: true states, (b, c, nlat, nlon).
            within: the predicted states within the limits, without gradients.
            free: samples that are too old, (b,).
        """
        if not free.any():
            return self._error(found, truth)
        chosen = torch.from_numpy(free).to(found.device)
        members = chosen.repeat_interleave(self.members)
        own, strays = found[members], within[members]
        if isinstance(self.loss, EnsembleLoss):
            total = self.loss.distance(own, strays)
        else:
            total = self._error(own, strays)
        share = float(free.mean())
        if share == 1:
            return total
        return share * total + (1 - share) * self._error(found[~members], truth[~chosen])

    def _error(self, found: Tensor, target: Tensor) -> Tensor:
        """Return the loss of predicted states, with that of their spectra if it counts."""
        error: Tensor = self.loss(found, target)
        if self.spectral is not None:
            error = error + self.config.spectral_loss * self.spectral(found, target)
        return error

    def _initial(self, batch: Batch) -> tuple[State, _Ages]:
        """Return the initial states of a batch, and the number of steps since the truth of each.

        Those of an ensemble have their members one after another; from the replay buffer each goes
        on with its own state and noise.
        """
        state = batch.initial
        if self.config.loss == "crps":
            seeds = batch.member_seeds(self.members, self.config.seed, self.step_count)
            state = self.forecaster.with_noise(state.repeat(self.members), seeds)
        return self.replay.start(state, batch.replayed)

    def replay_plan(self, windows: Windows, n_steps: int) -> ReplayPlan | None:
        """Return the choice of samples for the replay buffer in a phase; None without a buffer.

        Args:
            windows: training windows of the phase.
            n_steps: time steps of the loss.
        """
        if not self.config.replay_steps:
            return None
        seed = [self.config.seed, n_steps, 2]
        longest = self.config.replay_steps + self.config.replay_free_steps
        stride = self.forecaster.config.bundle
        return ReplayPlan(windows.followed(stride), self._replayed, longest, seed, stride)

    @property
    def _replayed(self) -> range:
        """Places of the last samples of a batch, of this process, that belong to the buffer."""
        size, data = self.config.batch_size, self.mesh.data
        first = size - max(round(self.config.replay_share * size), 1)
        return range(first + (data.rank - first) % data.ranks, size, data.ranks)

    @property
    def _is_alone(self) -> bool:
        return self.mesh.data.ranks * self.mesh.latitude.ranks == 1

    def validate(self, windows: Windows, indices: Sequence[int]) -> dict[str, float]:
        """Compute errors of rollouts of the averaged weights; see `Validation`."""
        return self.validation(self.averaged().eval(), windows, indices)

    def averaged(self) -> Forecaster:
        """Return the forecaster with the weights that a package gets."""
        if self.average is None:
            return self.forecaster
        module = self.average.applied_to(self.forecaster)
        assert isinstance(module, Forecaster)
        return module

    def checkpoint(self) -> TrainingCheckpoint:
        """Return everything that the next step depends on."""
        moments, numbers = optimizer_tensors(self.optimizer)
        tensors: dict[str, Tensor] = {}
        tensors |= {f"model.{k}": v for k, v in self.forecaster.named_parameters()}
        tensors |= {f"optimizer.{k}": v for k, v in moments.items()}
        tensors["random"] = torch.get_rng_state()
        values: dict[str, Any] = {"optimizer": numbers, "scaler": self.scaler.state_dict()}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.average.items()}
            values["average_updates"] = self.average.updates
        if self._is_alone:  # else each process has its own buffer, and the first one saves
            tensors |= {f"replay.{k}": v for k, v in self.replay.tensors().items()}
        return TrainingCheckpoint(self.step_count, tensors, values)

    def restore(self, checkpoint: TrainingCheckpoint) -> None:
        """Go back to a checkpoint.

        Raises:
            ValueError: if it is that of another model, or of an earlier version.
        """
        own = dict(self.forecaster.named_parameters())
        saved = strip_prefix("model.", checkpoint.tensors)
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in saved.items()}:
            raise ValueError(
                "the run was started with another model; resume with its own configuration, or "
                "train to another folder"
            )
        kinds = [
            [(len(group["params"]), group.get("matrices")) for group in groups]
            for groups in (checkpoint.values["optimizer"]["groups"], self.optimizer.param_groups)
        ]
        if kinds[0] != kinds[1]:
            raise ValueError(
                "the run was started with another optimiser, or by an earlier version; resume with "
                "its own training.optimizer (of earlier versions adamw), or train to another "
                "folder, from its weights by training.start_from"
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(saved[name])
        load_optimizer(
            self.optimizer,
            strip_prefix("optimizer.", checkpoint.tensors),
            checkpoint.values["optimizer"],
        )
        self.scaler.load_state_dict(checkpoint.values["scaler"])
        if self.average is not None and "average_updates" in checkpoint.values:
            averages = strip_prefix("average.", checkpoint.tensors)
            self.average.average = {k: v.to(self.device) for k, v in averages.items()}
            self.average.updates = checkpoint.values["average_updates"]
        held = strip_prefix("replay.", checkpoint.tensors)
        self.replay.restore(held if self._is_alone else {}, self.device)
        torch.set_rng_state(checkpoint.tensors["random"])
        self.step_count = checkpoint.step


class _Recomputed:
    """Forecaster whose steps are computed again in the backward pass, which saves memory."""

    def __init__(self, forecaster: Forecaster) -> None:
        self.forecaster = forecaster
        self.time_step: TimeStep = forecaster.time_step

    def step(self, state: State, forcing: Tensor | None = None) -> State:
        # Noise depends on the seeds in the state, so that no generator has to be restored.
        return recomputed(
            self.forecaster.step, state, forcing, use_reentrant=False, preserve_rng_state=False
        )
