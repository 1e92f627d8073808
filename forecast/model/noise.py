"""Noise of a model that is itself an ensemble: Gaussian fields that each step gets as inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from configs.length import parse_length
from configs.model import NoiseConfig
from configs.timestep import TimeStep
from sphere_ops.grid import Grid
from sphere_ops.harmonics.random_fields import GaussianField
from sphere_ops.harmonics.transforms import InverseRealSHT

Times = NDArray[np.datetime64]

_NEGLIGIBLE = 1e-8
"""Relative variance of a coefficient from which on the degrees of a field are left out."""
_MONTH = 30.436875 * 86400
"""Mean length of a calendar month, s."""


@dataclass(frozen=True, eq=False)
class NoiseState:
    """Noise of the samples of a state, which the next step uses.

    It lives on the CPU, and every rank of a mesh holds all of it: the same numbers on any device
    and mesh.

    Attributes:
        seeds: whole numbers of each sample, int64 (b, k).
        steps: number of steps since the noise was attached, int64 (b,).
        coeffs: coefficients of each length scale if the noise is correlated in time, complex64
            (b, channels, lmax, lmax); empty otherwise.
    """

    seeds: NDArray[np.int64]
    steps: NDArray[np.int64]
    coeffs: tuple[Tensor, ...] = ()

    def tensors(self) -> dict[str, Tensor]:
        """Return real tensors by name, from which `from_tensors` returns the same noise.

        The first dimension of each is that of the samples.
        """
        named = {"seeds": torch.from_numpy(self.seeds), "steps": torch.from_numpy(self.steps)}
        return named | {f"coeffs_{i}": torch.view_as_real(c) for i, c in enumerate(self.coeffs)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> NoiseState:
        """Return the noise whose `tensors` these are."""
        seeds, steps = (tensors[name].cpu().numpy() for name in ("seeds", "steps"))
        count = len(tensors) - 2
        coeffs = [tensors[f"coeffs_{i}"].cpu().float().contiguous() for i in range(count)]
        return cls(seeds, steps, tuple(torch.view_as_complex(c) for c in coeffs))


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


def default_seeds(time: Times) -> list[tuple[int, int, int]]:
    """Return seeds for samples that have none: those of member 0 of an ensemble with seed 0.

    Args:
        time: Valid times of the samples, datetime64 (b,).
    """
    seconds = time.astype("datetime64[s]").astype(np.int64).tolist()
    return [(0, second % 2**62, 0) for second in seconds]


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
