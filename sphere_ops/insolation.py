"""Insolation at the top of the atmosphere as a function of time."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphere_ops.grid import Grid

SOLAR_CONSTANT: Final = 1361.0
"""Solar constant, W m-2 at the mean distance from the Sun."""


def insolation(
    time: NDArray[np.datetime64],
    grid: Grid,
    daily_mean: bool = False,
    rows: slice = slice(None),
    year_fraction: NDArray[np.float64] | None = None,
) -> Tensor:
    """Return the insolation at the top of the atmosphere.

    With declination δ, hour angle H and distance r of the Sun,
    Q = S₀ (r₀/r)² max(0, sin φ sin δ + cos φ cos δ cos H);
    its mean over a day is S₀/π (r₀/r)² (H₀ sin φ sin δ + cos φ cos δ sin H₀) with
    cos H₀ = −tan φ tan δ.

    Args:
        time: Times in UTC, datetime64 (t,).
        grid: Grid of the output.
        daily_mean: True for the mean over the 24 hours around each time, with the declination and
            the distance of the Sun at that time.
        rows: Rows of the grid to compute; all by default.
        year_fraction: Fraction of the year that has passed at each time, (t,), for dates of another
            calendar, of which `time` has the time of day only; by default that of `time`.

    Returns:
        Insolation, W m-2, (t, rows, nlon) float64.
    """
    time = np.atleast_1d(np.asarray(time, dtype="datetime64[ns]"))
    if year_fraction is None:
        year = time.astype("datetime64[Y]")
        year_fraction = np.asarray((time - year) / ((year + 1).astype(time.dtype) - year))
    declination, distance, equation_of_time = _sun(year_fraction)
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


def _sun(year_fraction: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor]:
    """Return declination (rad), relative distance and equation of time (rad), each (t,) float64.

    Fourier series of Spencer (1971), with errors up to 0.0006 rad, 0.01 % and 0.5 minutes. The
    distance is relative to its mean.
    """
    a = torch.from_numpy(2 * math.pi * np.asarray(year_fraction, dtype=np.float64))
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
