"""Inputs of the network that follow from time and place alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.calendar import GREGORIAN, Calendar, Times
from sphere_ops.grid import Grid
from sphere_ops.insolation import SOLAR_CONSTANT, insolation
from sphere_ops.parallel.fields import own_rows, own_shape


@dataclass(frozen=True)
class _Season:
    """Position of times in the year and in the day.

    Attributes:
        year: Fraction of the year that has passed, (t,).
        time_of_day: Time of the day, datetime64 of any date, (t,).
    """

    year: NDArray[np.float64]
    time_of_day: Times

    @property
    def angle(self) -> Tensor:
        """Fraction of the year as an angle, radians, (t, 1, 1) float64."""
        return torch.from_numpy(2 * np.pi * self.year)[:, None, None]

    def share_of_sunlight(self, grid: Grid, *, daily_mean: bool) -> Tensor:
        """Return insolation over the solar constant on the rows of this rank, (t, rows, nlon)."""
        of_rows = insolation(self.time_of_day, grid, daily_mean, own_rows(grid), self.year)
        return of_rows / SOLAR_CONSTANT


_FORCINGS: dict[str, Callable[[_Season, Grid], Tensor]] = {
    "insolation": lambda season, grid: season.share_of_sunlight(grid, daily_mean=False),
    "daily_insolation": lambda season, grid: season.share_of_sunlight(grid, daily_mean=True),
    "sin_year": lambda season, grid: torch.sin(season.angle).expand(-1, *own_shape(grid)),
    "cos_year": lambda season, grid: torch.cos(season.angle).expand(-1, *own_shape(grid)),
}

_PLACE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sin_latitude": lambda latitude, longitude: torch.sin(latitude),
    "cos_latitude": lambda latitude, longitude: torch.cos(latitude),
    "sin_longitude": lambda latitude, longitude: torch.cos(latitude) * torch.sin(longitude),
    "cos_longitude": lambda latitude, longitude: torch.cos(latitude) * torch.cos(longitude),
}


def forcing_fields(
    names: Sequence[str], time: Times, grid: Grid, calendar: Calendar = GREGORIAN
) -> Tensor:
    """Forcings at given times, scaled to order one.

    Args:
        names: which ones; insolation comes as a share of the solar constant.
        time: datetime64 (b,).
        grid: where.
        calendar: calendar of the times.

    Returns:
        (b, len(names), nlat, nlon) float64; in a mesh own rows.

    Raises:
        ValueError: if a name is not one of a forcing.
    """
    time = np.asarray(time, dtype="datetime64[ns]")
    unknown = [name for name in names if name not in _FORCINGS]
    if unknown:
        raise ValueError(
            f"model.forcing names {unknown[0]!r}; known are {', '.join(sorted(_FORCINGS))}"
        )
    if not names:
        return torch.empty(len(time), 0, *own_shape(grid), dtype=torch.float64)
    season = _Season(calendar.year_fraction(time), calendar.time_of_day(time).astype("M8[ns]"))
    return torch.stack([_FORCINGS[name](season, grid) for name in names], dim=1)


def is_positional(name: str) -> bool:
    """Return True for a static field that follows from the grid alone."""
    return name in _PLACE


def positional_field(name: str, grid: Grid) -> Tensor:
    """Return a static field that follows from the grid alone, (nlat, nlon) float64, of order one.

    In a mesh own rows.
    """
    latitude = torch.deg2rad(grid.latitude[own_rows(grid)])[:, None]
    longitude = torch.deg2rad(grid.longitude)[None, :]
    return _PLACE[name](latitude, longitude).expand(own_shape(grid)).contiguous()
