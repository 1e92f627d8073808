"""Climate of a long rollout: range, spectra, energy, enstrophy, mass, and work of the limiter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.accuracy.acts import ActsByDegree
from data_prep.store.reader import Store
from data_prep.store.spectra import transforms
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.state import State
from sphere_ops.harmonics.transforms import power_spectrum
from sphere_ops.parallel.fields import area_mean

_MOST = 100.0
"""Size in standard deviations above which a rollout ends."""
_READ = 73
"""States of the truth that are read together."""
_SERIES = 100
"""Steps between the values of the series."""
_NOTHING = 1e-12
"""Power below which a degree holds rounding alone, normalised units."""


@dataclass(frozen=True)
class Climate:
    """Statistics of the truth in normalised units, or in physical ones where so named.

    Attributes:
        low: Smallest value of each channel, (c,).
        high: Largest value, (c,).
        power: Mean power of each degree, (c, lmax).
        of_trajectory: The same of each trajectory, (trajectory, c, lmax).
        integrals: Mean of each integral; see `integrals`.
    """

    low: Tensor
    high: Tensor
    power: Tensor
    of_trajectory: Tensor
    integrals: dict[str, float]

    def largest_factor(self) -> float:
        """Return the largest factor between a trajectory's mean power and that of all."""
        ratio = self.of_trajectory / self.power.where(self.power > _NOTHING, math.inf)
        return _factor(ratio)


def climate(store: Store, forecaster: Forecaster, lmax: int) -> Climate:
    """Return the climate of all trajectories of a store."""
    to_degrees, _ = transforms(store.grid, lmax)
    low, high, powers, sums = [], [], [], []
    for index in range(len(store.split)):
        total, count = torch.zeros(()), 0
        for first in range(0, len(store.time), _READ):
            fields = store.states(index, first, min(_READ, len(store.time) - first)).float()
            x = forecaster.normalizer.normalise(fields, store.time[first : first + len(fields)])
            total = total + power_spectrum(to_degrees(x)).double().sum(0)
            count += len(x)
            low.append(x.amin((0, 2, 3)))
            high.append(x.amax((0, 2, 3)))
            sums.append(integrals(fields, store).mean(0))
        powers.append(total / count)
    each = torch.stack(powers)
    means = torch.stack(sums).mean(0).tolist()
    return Climate(
        torch.stack(low).amin(0), torch.stack(high).amax(0), each.mean(0), each,
        dict(zip(INTEGRALS, means, strict=True)),
    )  # fmt: skip


INTEGRALS = ("mass", "kinetic energy", "enstrophy")
"""Mean geopotential (m² s⁻²), mean of half the squared wind (m² s⁻²) and of half the squared
vorticity (s⁻²)."""


def integrals(fields: Tensor, store: Store) -> Tensor:
    """Return the integrals of states, (b, 3), float64.

    Args:
        fields: Geopotential, vorticity and divergence, (b, 3, nlat, nlon), physical units.
        store: Store of the flow, which has its grid and the radius of its planet.
    """
    grid, radius = store.grid, float(store.attributes["radius"])
    to_degrees, _ = transforms(grid, grid.exact_lmax)
    power = power_spectrum(to_degrees(fields[:, 1:].double()))  # (b, 2, lmax)
    degree = torch.arange(power.shape[-1])
    wind = (power[..., 1:] * radius**2 / (degree * (degree + 1))[1:]).sum((-2, -1)) / 2
    mass = area_mean(fields[:, 0].double(), grid)
    return torch.stack([mass, wind, power[:, 0].sum(-1) / 2], -1)


def measured(
    forecaster: Forecaster, store: Store, truth: Climate, n_steps: int, *, limited: bool
) -> dict[str, Any]:
    """Return the climate of a rollout from the first validation state, against the truth.

    Args:
        forecaster: Model; its limiter is restored afterwards.
        store: Store of the truth.
        truth: Climate of the truth.
        n_steps: Steps of the rollout.
        limited: True to let the limiter act.

    Returns:
        Values by name. Spectra are means over the last whole years, or over the second half of a
        shorter rollout.
    """
    limiter = forecaster.limiter
    if not limited:
        forecaster.limiter = None
        try:
            return _followed(forecaster, store, truth, n_steps)
        finally:
            forecaster.limiter = limiter
    assert limiter is not None
    acts = ActsByDegree(limiter)
    hook = limiter.register_forward_hook(acts)
    found = _followed(forecaster, store, truth, n_steps)
    hook.remove()
    n = max(1, acts.steps)
    found["limiter"] = {
        "share of steps": acts.acted / n,
        "share by channel and degree": (acts.where / n).tolist(),
    }
    return found


def _followed(forecaster: Forecaster, store: Store, truth: Climate, n_steps: int) -> dict[str, Any]:
    lmax = truth.power.shape[1]
    to_degrees, _ = transforms(store.grid, lmax)
    half = (truth.high - truth.low) / 2
    year = round(365.25 * 86400 / (forecaster.time_step.seconds or 1))
    counted = n_steps // year * year if n_steps > year else n_steps // 2
    total, count, left, series = torch.zeros(()), 0, None, []
    extremes: list[tuple[Tensor, Tensor]] = []
    last = 0
    for step, state in enumerate(_states(forecaster, store, n_steps), start=1):
        x = forecaster.normalizer.normalise(state.fields, state.time)
        if not x.isfinite().all() or x.abs().max() > _MOST:
            left = left or step
            break
        last = step
        low, high = x.amin((0, 2, 3)), x.amax((0, 2, 3))
        extremes.append((low, high))
        if left is None and ((low < truth.low - half) | (high > truth.high + half)).any():
            left = step
        power = power_spectrum(to_degrees(x)).double().mean(0)
        if step > n_steps - counted:
            total, count = total + power, count + 1
        if step % _SERIES == 0 or step == n_steps:
            size = power.sum(-1).sqrt().tolist()
            values = integrals(state.fields, store).mean(0).tolist()
            series.append([step, *size, *values])
    found: dict[str, Any] = {
        "steps": last,
        "left the widened range at": left,
        "lowest": torch.stack([e[0] for e in extremes]).amin(0).tolist() if extremes else None,
        "highest": torch.stack([e[1] for e in extremes]).amax(0).tolist() if extremes else None,
        "columns of the series": ["step", *forecaster.channel_names, *INTEGRALS],
        "series": series,
    }
    if count and last == n_steps:
        ratio = total / count / truth.power.where(truth.power > _NOTHING, math.inf)
        found["spectral ratio"] = ratio.tolist()
        found["largest factor"] = _factor(ratio)
    return found


def _factor(ratio: Tensor) -> float:
    """Return the largest of r and 1/r up to degree lmax − 4, of ratios (..., c, lmax)."""
    inner = ratio[..., 1 : ratio.shape[-1] - 3]
    return float(torch.maximum(inner, 1 / inner).max())


@torch.no_grad()
def _states(forecaster: Forecaster, store: Store, n_steps: int) -> Iterator[State]:
    (index, step), *_ = store.windows("validation", 0)
    time = np.array([store.valid_time(index, step)])
    yield from rollout(forecaster, State(store.state(index, step)[None].float(), time), n_steps)
