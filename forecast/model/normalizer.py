"""Scaling of fields to order one, for the network."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from configs import layout
from configs.time.calendar import Times
from configs.time.step import TimeStep
from data_prep.store.climatology import Climatology, without_gaps
from data_prep.store.gather.moments import Moments, block_statistics
from data_prep.store.reader import Store
from data_prep.store.selection.over_rows import over_rows
from sphere_ops.harmonics.fill import SmoothFill
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current

Baseline = Literal["mean", "climatology"]

_PAIRS = 500
"""Largest number of pairs of states that the size of changes over several steps is taken from."""


class Normalizer(nn.Module):
    """Subtracts a baseline from each channel and divides by a standard deviation.

    Attributes:
        mean: time mean per channel, physical units, (c,).
        std: standard deviation about the baseline, physical units, (c,).
        std_step: standard deviation of the one-step difference of what is left, (c,).
        std_ahead: the same of the differences over two, three, ... steps, (n, c), up to the longest
            one that the model sees or predicts.
        climatology: mean by calendar month, (12, c, nlat, nlon), in a mesh own rows; None if it is
            neither the baseline nor an input of the network.
        of_anomalies: True if the baseline is the climatology, False if it is the mean.
    """

    mean: Tensor
    std: Tensor
    std_step: Tensor
    std_ahead: Tensor
    climatology: Tensor | None
    _climatology_scale: Tensor | None

    def __init__(
        self,
        mean: Tensor,
        std: Tensor,
        std_step: Tensor,
        time_step: TimeStep,
        climatology: Tensor | None = None,
        *,
        of_anomalies: bool | None = None,
        std_ahead: Tensor | None = None,
    ) -> None:
        """Hold the statistics; see the attributes. A climatology is the baseline unless told."""
        super().__init__()
        self.time_step = time_step
        self.of_anomalies = climatology is not None if of_anomalies is None else of_anomalies
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.register_buffer("std_step", std_step)
        persistent = std_ahead is not None
        if std_ahead is None:
            std_ahead = std_step.new_zeros((0, len(std_step)))
        self.register_buffer("std_ahead", std_ahead, persistent=persistent)
        self.register_buffer("climatology", climatology)
        scale = None
        if climatology is not None:
            scale = torch.stack(current().std_mean(climatology, dim=(0, 2, 3)))
        self.register_buffer("_climatology_scale", scale, persistent=False)

    @classmethod
    def from_store(
        cls, store: Store, baseline: Baseline, *, climatology_input: bool = False, longest: int = 1
    ) -> Normalizer:
        """Read the statistics of a store's training split.

        Args:
            store: training data.
            baseline: what is subtracted.
            climatology_input: True to hold the climatology also if it is not the baseline.
            longest: number of time steps of the longest change that the model sees or predicts.

        Raises:
            ValueError: if the climatology is asked for and the store has none, or if a channel has
                no standard deviation or does not vary.
        """
        of = store.statistics
        names = (layout.MEAN, layout.STD, layout.STD_STEP)
        climatology = None
        if layout.MEAN not in of:
            raise ValueError(
                f"{store.path} has no training split, and so no mean to scale by; ingest the files "
                "again with data.splits"
            )
        of_anomalies = baseline == "climatology"
        if of_anomalies or climatology_input:
            if layout.CLIMATOLOGY not in of:
                asked, instead = ("baseline is climatology", "baseline=mean")
                if not of_anomalies:
                    asked, instead = ("climatology_input is true", "climatology_input=false")
                raise ValueError(
                    f"model.{asked}, but {store.path} has no climatology (it takes gridded files "
                    f"with at least two years in the training split); set model.{instead}"
                )
            climatology = without_gaps(of[layout.CLIMATOLOGY].float())
        if of_anomalies:
            names = (layout.MEAN, layout.CLIMATOLOGY_STD, layout.CLIMATOLOGY_STD_STEP)
        mean, std, std_step = (of[name].float() for name in names)
        if climatology is not None:
            if store.moving_mask:
                # A point that has values at other times may have none in the training split.
                known = ~climatology.isnan().any(0)
                fill = SmoothFill(known, store.grid)
                filled = torch.stack([fill(month) for month in climatology])
                outside = torch.zeros_like(known) if store.mask is None else ~store.mask
                climatology = climatology.where(known | outside, filled)
            climatology = climatology.nan_to_num()
        for name, s, d in zip(store.channel_names, std.tolist(), std_step.tolist(), strict=True):
            if not (math.isfinite(s) and math.isfinite(d)):
                raise ValueError(
                    f"{store.path} has no standard deviation of {name!r} (standard deviation "
                    f"{s:g}, of one step {d:g}): its training split has no two consecutive times, "
                    "or a file of it is missing; make it again with a longer training split"
                )
            if not (s > 0 and d > 0):
                raise ValueError(
                    f"channel {name!r} of {store.path} does not change over the training split "
                    f"(standard deviation {s:g}, of one step {d:g}); leave it out of the store"
                )
        found = cls(mean, std, std_step, store.time_step, climatology, of_anomalies=of_anomalies)
        if longest == 1:
            return found
        std_ahead = differences_ahead(store, found, longest) * std
        return found._with(climatology, std_ahead)

    def with_climatology(self, climatology: Tensor) -> Normalizer:
        """Return the same statistics with another climatology, such as on another grid."""
        return self._with(climatology, self.std_ahead if len(self.std_ahead) else None)

    def _with(self, climatology: Tensor | None, std_ahead: Tensor | None) -> Normalizer:
        return Normalizer(
            self.mean, self.std, self.std_step, self.time_step, climatology,
            of_anomalies=self.of_anomalies, std_ahead=std_ahead,
        )  # fmt: skip

    def baseline(self, time: Times) -> Tensor:
        """Return the mean or climatology at given times, (b, c, 1, 1) or (b, c, nlat, nlon)."""
        if not self.of_anomalies:
            return self.mean[None, :, None, None]
        return self._climatology_at(time)

    def climatology_of_order_one(self, time: Times) -> Tensor:
        """Return the climatology at given times, scaled for the network, (b, c, nlat, nlon)."""
        assert self._climatology_scale is not None
        std, mean = self._climatology_scale
        return (self._climatology_at(time) - mean) / std

    def normalise(self, state: Tensor, time: Times) -> Tensor:
        """Scale fields to order one; NaN stays NaN.

        Args:
            state: (b, c, nlat, nlon), physical units.
            time: its valid times (b,).
        """
        return (state - self.baseline(time)) / self.std[:, None, None]

    def denormalise(self, state: Tensor, time: Times) -> Tensor:
        """Scale fields to physical units, the inverse of `normalise`."""
        return state * self.std[:, None, None] + self.baseline(time)

    @property
    def step_scale(self) -> Tensor:
        """Size of a one-step difference in normalised units, (c, 1, 1)."""
        return (self.std_step / self.std)[:, None, None]

    @property
    def step_scales(self) -> Tensor:
        """Sizes of the differences over one, two, ... steps, likewise, (n, c, 1, 1)."""
        return (torch.cat([self.std_step[None], self.std_ahead]) / self.std)[..., None, None]

    def _climatology_at(self, time: Times) -> Tensor:
        assert self.climatology is not None
        return Climatology(self.climatology, self.time_step).at(time)


def differences_ahead(store: Store, normalizer: Normalizer, longest: int) -> Tensor:
    """Return the standard deviations of differences over 2 to `longest` steps, (longest - 1, c).

    They are those of some pairs of training states, in normalised units.

    Raises:
        ValueError: if the training split has no states so far apart.
    """
    starts = store.windows("train", longest)
    chosen = np.linspace(0, len(starts) - 1, min(_PAIRS, len(starts))).round().astype(int)
    area = store.grid.area_weights[own_rows(store.grid), 0].numpy()
    found = [Moments.empty(len(store.channels))] * (longest - 1)
    chosen_one, follows_none = np.ones(1, dtype=bool), np.zeros(1, dtype=bool)
    for index, step in starts[chosen]:
        time = np.array([store.valid_time(index, step + n) for n in range(longest + 1)])
        states = normalizer.normalise(store.states(index, step, longest + 1).double(), time)
        changes = (states[2:] - states[0]).numpy()
        for n, change in enumerate(changes):
            of = block_statistics(change[None], chosen_one, follows_none, area).state
            found[n] = found[n].merged(of)
    return torch.from_numpy(np.stack([over_rows(of).std for of in found])).float()
