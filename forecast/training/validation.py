"""Validation of a model in training: errors of rollouts, of one forecast or an ensemble."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from configs.training import TrainingConfig
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.training.losses import EnsembleLoss, Loss
from forecast.training.precision import autocast
from forecast.training.samples.batches import Batch, Windows
from sphere_ops.parallel.mesh import current


class Validation:
    """Errors of rollouts from some states, relative to the size of the truth.

    Args:
        config: settings of the training.
        error: relative error of a forecast.
        crps: fair CRPS of an ensemble; None for a deterministic model.
    """

    def __init__(self, config: TrainingConfig, error: Loss, crps: EnsembleLoss | None) -> None:
        self.config, self.error, self.crps = config, error, crps

    @torch.no_grad()
    def __call__(
        self, forecaster: Forecaster, windows: Windows, indices: Sequence[int]
    ) -> dict[str, float]:
        """Compute the errors.

        Args:
            forecaster: model, in evaluation mode.
            windows: of the validation split; their length is that of the rollout.
            indices: the windows to use.

        Returns:
            By name: relative L2 error of the first and last step and the mean over all of them,
            and the same of persistence. Both are over the points at which the target has values;
            where the initial state has none, the value that the model sees there persists. Of an
            ensemble the error is that of its mean, and there are the fair CRPS, in units of the
            standard deviation of one-step differences, and the ratio of spread to error.
        """
        mesh, n_steps = current(), windows.n_steps
        n_values = 2 if self.crps is None else 3 + 2 * len(forecaster.channels)
        total = torch.zeros(n_steps, n_values, dtype=torch.float64)
        part, batch_size = mesh.data, -(-self.config.batch_size // mesh.data.ranks)
        own = np.asarray(indices)[part.rank :: part.ranks]
        for chosen in np.array_split(own, -(-len(own) // batch_size)) if len(own) else []:
            batch = windows.batch(chosen).to(forecaster.static.device)
            total += self._sums(forecaster, batch, n_steps).double().cpu()
        means = mesh.sum_samples(total.to(self.error.area)).cpu() / len(indices)
        columns = {"relative_l2": means[:, 0], "persistence": means[:, 1]}
        if self.crps is not None:
            m = self.crps.members
            variance, error = means[:, 3:].chunk(2, dim=1)  # (n_steps, c)
            columns["crps"] = means[:, 2]
            columns["spread_skill"] = ((m + 1) / m * variance / error).sqrt().mean(1)
        values = {}
        for name, column in columns.items():
            values[f"validation/{name}"] = column.mean().item()
            values[f"validation/{name}_step_1"] = column[0].item()
            values[f"validation/{name}_step_{n_steps}"] = column[-1].item()
        return values

    def _sums(self, forecaster: Forecaster, batch: Batch, n_steps: int) -> Tensor:
        """Sums over the samples of a batch, (n_steps, values)."""
        start, members = batch.initial, 1
        if self.crps is not None:
            members = self.crps.members
            seeds = batch.member_seeds(members, self.config.seed)
            start = forecaster.with_noise(start.repeat(members), seeds)
        with autocast(self.config.precision, forecaster.static.device):
            forcing = batch.forcing_of_steps(members)
            steps = list(rollout(forecaster, start, n_steps, forcing=forcing))
        first = forecaster.normalise(batch.initial.fields, batch.time)
        first = forecaster.fill_missing(first)
        rows = []
        for state, target in zip(steps, batch.targets.unbind(1), strict=True):
            predicted = forecaster.normalise(state.fields.float(), state.time)
            truth = forecaster.normalise(target, state.time[::members])
            mean = predicted.unflatten(0, (-1, members)).mean(1)
            # What persists is the departure from the baseline.
            row = [self.error(mean, truth), self.error(first, truth)]
            if self.crps is not None:
                variance, error = self.crps.moments(predicted, truth)
                row += [self.crps(predicted, truth), *variance.mean(0), *error.mean(0)]
            rows.append(torch.stack(row))
        return torch.stack(rows) * len(batch.starts)
