"""Sunlight at the top of the atmosphere, from the time alone."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphere_ops.grid import Grid

SOLAR_CONSTANT: Final = 1361.0
"""W m-2 at the mean distance from the Sun."""


def insolation(
    time: NDArray[np.datetime64],
    grid: Grid,
    daily_mean: bool = False,
    rows: slice = slice(None),
) -> Tensor:
    """Insolation at the top of the atmosphere.

    With declination δ, hour angle H and distance r of the Sun,
    Q = S₀ (r₀/r)² max(0, sin φ sin δ + cos φ cos δ cos H);
    its mean over a day is S₀/π (r₀/r)² (H₀ sin φ sin δ + cos φ cos δ sin H₀) with
    cos H₀ = −tan φ tan δ.

    Args:
        time: UTC, datetime64 (t,).
        grid: grid of the result.
        daily_mean: average over the 24 hours around each time, with the Sun held where it is then.
        rows: Rows of the grid to compute; all by default.

    Returns:
        W m-2, (t, rows, nlon) float64.
    """
    time = np.atleast_1d(np.asarray(time, dtype="datetime64[ns]"))
    declination, distance, equation_of_time = _sun(time)
    latitude = torch.deg2rad(grid.latitude[rows])[None, :, None]
    sines = torch.sin(latitude) * torch.sin(declination)[:, None, None]  # (t, h, 1)
    cosines = (torch.cos(latitude) * torch.cos(declination)[:, None, None]).clamp(min=1e-12)
    strength = (SOLAR_CONSTANT / distance**2)[:, None, None]
    if daily_mean:
        sunset = torch.arccos((-sines / cosines).clamp(-1, 1))
        mean = strength / math.pi * (sunset * sines + cosines * torch.sin(sunset))
        return mean.expand(-1, -1, grid.nlon).contiguous()
    day = (time - time.astype("datetime64[D]")) / np.timedelta64(1, "D")
    noon = torch.from_numpy(2 * math.pi * day) - math.pi + equation_of_time
    hour_angle = noon[:, None, None] + torch.deg2rad(grid.longitude)
    return strength * (sines + cosines * torch.cos(hour_angle)).clamp(min=0)


def _sun(time: NDArray[np.datetime64]) -> tuple[Tensor, Tensor, Tensor]:
    """Declination (rad), distance (mean distances) and equation of time (rad), each (t,) float64.

    The Fourier series of Spencer (1971), good to 0.0006 rad, 0.01 % and 0.5 minutes.
    """
    year = time.astype("datetime64[Y]")
    fraction = (time - year) / ((year + 1).astype(time.dtype) - year)
    a = torch.from_numpy(np.asarray(2 * math.pi * fraction, dtype=np.float64))
    s, c = torch.sin, torch.cos
    declination = (
        0.006918 - 0.399912 * c(a) + 0.070257 * s(a) - 0.006758 * c(2 * a)
        + 0.000907 * s(2 * a) - 0.002697 * c(3 * a) + 0.00148 * s(3 * a)
    )  # fmt: skip
    inverse_square = (
        1.00011 + 0.034221 * c(a) + 0.00128 * s(a) + 0.000719 * c(2 * a) + 0.000077 * s(2 * a)
    )
    equation_of_time = (
        0.000075 + 0.001868 * c(a) - 0.032077 * s(a) - 0.014615 * c(2 * a) - 0.040849 * s(2 * a)
    )
    return declination, inverse_square.rsqrt(), equation_of_time
