"""Power of each degree of single states, from which the power about any mean follows."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import RealSHT, power_spectrum, sum_orders
from sphere_ops.parallel.fields import area_mean

Array = NDArray[np.float64]

_BATCH = 8
_VALUES = 1 << 20
"""Maximum number of values that are transformed together, for more than one state and channel."""
_MOST_STATES, _FEWEST_STATES = 1024, 32
_READ_VALUES = 1 << 27  # maximum number of values in a sample of more than the fewest states


def sampled(count: int, values: int) -> NDArray[np.intp]:
    """Return the positions of a sample of evenly spaced states.

    Args:
        count: Number of states.
        values: Number of values of a state.
    """
    chosen = min(count, _MOST_STATES, max(_FEWEST_STATES, _READ_VALUES // values))
    return np.unique(np.linspace(0, count - 1, chosen).round().astype(np.intp))


@dataclass(frozen=True)
class StatePower:
    """Power of states about their own area means, for n states.

    The departure from another mean is f + δ·v, with f the departure from the own mean (0 where
    values are missing), δ the difference of the means, and v = 1 at points with values, else 0.

    Attributes:
        mean: Area mean over the points with values, (n, c).
        square: Area mean of f² over the sphere, (n, c).
        covered: Area mean of v, (n, c).
        of_state: Power of each degree of f, (n, c, lmax).
        cross: Cross power of f and v, (n, c, lmax).
        of_cover: Power of each degree of v, (n, c, lmax).
    """

    mean: Array
    square: Array
    covered: Array
    of_state: Array
    cross: Array
    of_cover: Array

    @classmethod
    def of(cls, states: NDArray[np.float32], grid: Grid) -> StatePower:
        """Return the power of states (n, c, nlat, nlon), NaN where values are missing."""
        n, channels = states.shape[:2]
        together = min(channels, max(1, _VALUES // (grid.nlat * grid.nlon)))
        batch = min(_BATCH, max(1, _VALUES // (together * grid.nlat * grid.nlon)))
        rows = []
        for i in range(0, n, batch):
            parts = [
                _power(torch.from_numpy(states[i : i + batch, c : c + together]).double(), grid)
                for c in range(0, channels, together)
            ]
            rows.append([torch.cat(part, 1) for part in zip(*parts, strict=True)])
        return cls(*(torch.cat(part).numpy() for part in zip(*rows, strict=True)))

    def about(self, mean: Array, std: Array) -> Array:
        """Return the power of departures from another mean, in squared standard deviations.

        Args:
            mean: Mean of each channel, (c,).
            std: Standard deviation of each channel, (c,).

        Returns:
            Power of each degree, then of the rest of the field, (n, c, lmax + 1).
        """
        shift = (self.mean - mean)[..., None]
        power = self.of_state + 2 * shift * self.cross + shift**2 * self.of_cover
        rest = self.square + shift[..., 0] ** 2 * self.covered - power.sum(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.maximum(np.concatenate([power, rest[..., None]], -1), 0) / std[:, None] ** 2

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return all values as arrays by name, for a file."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def chosen(self, places: NDArray[np.intp]) -> StatePower:
        """Return the power of some of the states."""
        return StatePower(*(getattr(self, part.name)[places] for part in fields(self)))


def joined(parts: list[StatePower]) -> StatePower:
    """Return the power of the states of all parts."""
    return StatePower(
        *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(StatePower))
    )


def total_power(coeffs: Tensor, field: Tensor, grid: Grid) -> Tensor:
    """Return the power of each degree of a field, and of the rest of it, (..., lmax + 1).

    On `grid.exact_lmax` degrees, analysis is an orthogonal projection: the rest needs no synthesis.

    Args:
        coeffs: Coefficients of the field on `grid.exact_lmax` degrees.
        field: Field, (..., nlat, nlon).
        grid: Grid of the field.
    """
    power = power_spectrum(coeffs)
    rest = (area_mean(field.square(), grid) - power.sum(-1)).clamp(min=0)
    return torch.cat([power, rest[..., None]], -1)


@lru_cache(maxsize=2)
def analysis(grid: Grid) -> RealSHT:
    """Return the transform to all degrees of which a grid's quadrature is exact."""
    lmax = grid.exact_lmax
    return RealSHT(grid, lmax=lmax, mmax=min(lmax, grid.nlon // 2 + 1))


def _power(states: Tensor, grid: Grid) -> tuple[Tensor, ...]:
    """Return the attributes of `StatePower` for some states, float64."""
    to_degrees, (n, channels) = analysis(grid), states.shape[:2]
    there = ~states.isnan()
    field = states.nan_to_num()
    covered = area_mean(there.double(), grid)
    mean = area_mean(field, grid) / covered.clamp(min=1e-300)
    field = (field - mean[..., None, None]) * there
    coeffs = to_degrees(field)
    lmax = coeffs.shape[-2]
    cross, of_cover = torch.zeros(2, n, channels, lmax, dtype=torch.float64)
    of_cover[..., 0] = 1
    for c in range(channels):
        if there[:, c].all():
            continue
        cover = there[:, c]
        constant = bool((cover == cover[:1]).all())
        of_points = to_degrees((cover[:1] if constant else cover).double())
        product = coeffs[:, c].real * of_points.real + coeffs[:, c].imag * of_points.imag
        cross[:, c] = sum_orders(product) / (4 * math.pi)
        of_cover[:, c] = power_spectrum(of_points)
    return mean, area_mean(field.square(), grid), covered, power_spectrum(coeffs), cross, of_cover
