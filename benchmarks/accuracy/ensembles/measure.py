"""Scores of an ensemble forecast against its store: fair CRPS, spread over error, spectra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.training.losses import almost_fair_crps
from sphere_ops.harmonics.transforms import RealSHT, power_spectrum


@dataclass
class Scores:
    """Scores by channel; lists are over the positions that were asked for.

    Attributes:
        crps: Fair CRPS in standard deviations of the training data.
        rmse: Root mean square error of the ensemble mean, likewise.
        spread_skill: ((M + 1)/M · mean ensemble variance / mean squared error)^½.
        power: Power of single members over that of the truth at the last position, by degree from
            1 on.
        share: Share of each degree in the power of the truth, likewise.
    """

    crps: dict[str, list[float]]
    rmse: dict[str, list[float]]
    spread_skill: dict[str, list[float]]
    power: dict[str, list[float]]
    share: dict[str, list[float]]

    def mean_crps(self, position: int) -> float:
        """Return the mean over the channels at one position; infinite if a forecast ended."""
        return float(np.nan_to_num(np.mean([v[position] for v in self.crps.values()]), nan=np.inf))

    def values(self) -> dict[str, Any]:
        """Return the scores, rounded, as JSON holds them."""
        return {
            name: {
                channel: [float(f"{x:.4g}") for x in values] for channel, values in scores.items()
            }
            for name, scores in vars(self).items()
        }


def measure(file: ForecastFile, store: Store, steps: list[int], lmax: int) -> Scores:
    """Score an ensemble forecast of trajectories.

    Args:
        file: Forecasts with members; the first lead time is that of the initial state.
        store: Truth.
        steps: Lead times in model steps, ascending.
        lmax: Degrees of the spectra, exclusive.
    """
    names, n = list(store.channel_names), len(file.init_time)
    std = store.statistics["std"][:, None, None].float()
    area = store.grid.area_weights.float()
    analysis = RealSHT(store.grid, lmax=lmax, mmax=lmax)
    sums = torch.zeros(3, len(steps), len(names), dtype=torch.float64)
    power = torch.zeros(2, len(names), lmax, dtype=torch.float64)

    def mean(x: Tensor) -> Tensor:
        return (x * area).sum((-2, -1)).double()

    assert file.trajectory is not None
    for i in range(n):
        start = int(store.find(file.init_time[i : i + 1])[0])
        whole = store.states(int(file.trajectory[i]), start, steps[-1] + 1)
        truth = whole[steps] / std
        # One step after the other: the members of all steps need not fit in memory.
        for k, step in enumerate(steps):
            fields = file.ensemble(i, slice(step, step + 1))[:, 0]
            ensemble = torch.from_numpy(fields).float() / std  # (m, c, h, w)
            m = len(ensemble)
            variance, centre = torch.var_mean(ensemble, dim=0)
            sums[0, k] += mean(almost_fair_crps(ensemble[None], truth[k : k + 1], 1.0)[0])
            sums[1, k] += mean((centre - truth[k]).square())
            sums[2, k] += mean(variance) * (m + 1) / m
        power[0] += power_spectrum(analysis(ensemble.double())).mean(0)
        power[1] += power_spectrum(analysis(truth[-1].double()))
    crps, error, variance = sums / n
    power = power[..., 1:]
    ratio, share = power[0] / power[1], power[1] / power[1].sum(-1, keepdim=True)

    def of(x: Tensor) -> dict[str, list[float]]:
        return {name: x[..., c].tolist() for c, name in enumerate(names)}

    of_spread = of((variance / error).sqrt())
    return Scores(of(crps), of(error.sqrt()), of_spread, of(ratio.T), of(share.T))
