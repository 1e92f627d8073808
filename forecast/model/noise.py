"""Noise of a model that is itself an ensemble: Gaussian fields that each step gets as inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from configs.length import parse_length
from configs.model import NoiseConfig
from configs.time.step import TimeStep
from forecast.model.network import LocalSFNO
from forecast.model.state import NoiseState, State, Times
from sphere_ops.grid import Grid
from sphere_ops.harmonics.random_fields import GaussianField
from sphere_ops.harmonics.transforms import InverseRealSHT

_NEGLIGIBLE = 1e-8
"""Relative variance of a coefficient from which on the degrees of a field are left out."""
_MONTH = 30.436875 * 86400
"""Mean length of a calendar month, s."""


class Noise(nn.Module):
    """Gaussian fields of several length scales, functions of seed, step and channel alone.

    The field of a channel is white in time, or a first-order autoregressive process
    z ← φz + √(1 − φ²)η with φ = exp(−Δt/τ) and independent η, whose variance is 1 at all steps.
    See FourCastNet 3 (arXiv 2507.12144) for such fields as inputs of a forecast.

    Args:
        config: Length scales, number of channels of each, correlation time τ.
        grid: Grid of the fields.
        time_step: Interval Δt of one step.
        drawn_on: Grid whose resolution limits the degrees that are drawn; `grid` if not given. On
            another grid the fields have the same degrees, without those that it does not resolve.

    Attributes:
        channels: Number of fields of a sample.
    """

    def __init__(
        self, config: NoiseConfig, grid: Grid, time_step: TimeStep, drawn_on: Grid | None = None
    ) -> None:
        super().__init__()
        self.config, self.grid, self.time_step = config, grid, time_step
        self.drawn_on = drawn_on or grid
        self.channels = config.total_channels
        # Drawn on the CPU whatever the device of the model: not registered as sub-modules.
        self._draws = [_gaussian_field(self.drawn_on, length) for length in config.length_scales]
        resolved = [min(field.lmax, grid.exact_lmax) for field in self._draws]
        self.syntheses = nn.ModuleList(InverseRealSHT(grid, n, n) for n in resolved)
        self._memory: float | None = None
        if config.correlation_time is not None:
            elapsed = _seconds(time_step) / _seconds(TimeStep.parse(config.correlation_time))
            self._memory = math.exp(-elapsed)

    def on_grid(self, grid: Grid) -> Noise:
        """Return the same noise on another grid."""
        return Noise(self.config, grid, self.time_step, self.drawn_on)

    def start(self, seeds: Sequence[Sequence[int]]) -> NoiseState:
        """Return the noise of samples from their seeds.

        Args:
            seeds: For each sample some whole numbers from 0, as many for all.

        Raises:
            ValueError: if there are no or unequally many numbers, or a number is negative.
        """
        rows = {len(seed) for seed in seeds}
        if len(rows) != 1 or 0 in rows or min(min(seed) for seed in seeds) < 0:
            raise ValueError(
                f"seeds {_shown(seeds)}; expected for each sample some whole numbers from 0, as "
                "many for all"
            )
        state = NoiseState(np.array(seeds, dtype=np.int64), np.zeros(len(seeds), dtype=np.int64))
        return state if self._memory is None else replace(state, coeffs=self._drawn(state))

    def attach(self, state: State, seeds: Sequence[Sequence[int]]) -> State:
        """Return a state with noise.

        Args:
            state: Initial state.
            seeds: Seed of each sample; see `start`.

        Raises:
            ValueError: if the seeds do not fit.
        """
        if len(seeds) != len(state.fields):
            raise ValueError(
                f"{len(seeds)} seeds for {len(state.fields)} samples; expected one for each"
            )
        return replace(state, noise=self.start(seeds))

    def of(self, state: State) -> NoiseState:
        """Return the noise of a state; that of `default_seeds` if it has none."""
        return state.noise or self.start(default_seeds(state.time))

    def fields(self, state: NoiseState, like: Tensor) -> Tensor:
        """Return the fields of the next step, (b, channels, nlat, nlon); in a mesh own rows.

        Args:
            state: Noise of the samples.
            like: Tensor whose type and device the fields get.
        """
        dtype = torch.complex128 if like.dtype == torch.float64 else torch.complex64
        parts = []
        coeffs = state.coeffs or self._drawn(state)
        for synthesis, of_scale in zip(self.syntheses, coeffs, strict=True):
            assert isinstance(synthesis, InverseRealSHT)
            known = of_scale[..., : synthesis.lmax, :][..., synthesis.orders.index]
            parts.append(synthesis(known.to(like.device, dtype)))
        return torch.cat(parts, dim=1).to(like)

    def apply_to(self, network: LocalSFNO, inputs: Tensor, state: NoiseState) -> Tensor:
        """Return the output of a network for inputs (b, c, nlat, nlon) and the noise of a step."""
        fields = self.fields(state, inputs)
        if self.config.into == "first":
            return network(torch.cat([inputs, fields], dim=1))
        return network(inputs, fields)

    def after_step(self, state: NoiseState) -> NoiseState:
        """Return the noise of the step after the next one."""
        following = replace(state, steps=state.steps + 1)
        if self._memory is None:
            return following
        a, b = self._memory, math.sqrt(1 - self._memory**2)
        drawn = self._drawn(following)
        coeffs = [a * z + b * new for z, new in zip(state.coeffs, drawn, strict=True)]
        return replace(following, coeffs=tuple(coeffs))

    def _drawn(self, state: NoiseState) -> tuple[Tensor, ...]:
        """Draw independent coefficients of each scale, complex64 (b, channels, lmax, lmax)."""
        per_scale, drawn = self.config.channels, []
        for scale, field in enumerate(self._draws):
            first = scale * per_scale
            seeds = [
                (*seed.tolist(), int(step), channel)
                for seed, step in zip(state.seeds, state.steps, strict=True)
                for channel in range(first, first + per_scale)
            ]
            drawn.append(field.whole_coefficients(seeds).unflatten(0, (-1, per_scale)))
        return tuple(drawn)


def default_seeds(time: Times) -> list[tuple[int, int, int, int]]:
    """Return seeds for samples that have none.

    They are those of member 0 of an ensemble with seed 0 of a time series: seed, time in s since
    1970, trajectory, member.

    Args:
        time: Valid times of the samples, datetime64 (b,).
    """
    seconds = time.astype("datetime64[s]").astype(np.int64).tolist()
    return [(0, second % 2**63, 0, 0) for second in seconds]


def _gaussian_field(grid: Grid, length: str) -> GaussianField:
    """Return the field of a length scale, up to the degrees that its spectrum leaves negligible."""
    radians = parse_length(length)
    # exp(−l(l+1)L²/2) falls below the bound.
    degrees = math.ceil(math.sqrt(-2 * math.log(_NEGLIGIBLE)) / radians) + 1
    return GaussianField(grid, radians, lmax=min(degrees, grid.exact_lmax))


def _seconds(step: TimeStep) -> float:
    return float(step.seconds) if step.seconds is not None else (step.months or 1) * _MONTH


def _shown(seeds: Sequence[Sequence[int]]) -> str:
    text = str([list(seed) for seed in seeds])
    return text if len(text) <= 60 else f"{text[:57]}..."
