"""Inputs of the network that are not predicted: of time and place alone, and given fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from configs import layout
from configs.time.calendar import GREGORIAN, Calendar, Times
from configs.variables import Variable
from data_prep.store.reader import Store
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


class ForcingChannels(nn.Module):
    """Scaling of the channels that are given at every time, such as a prescribed sea ice.

    Attributes:
        channels: the channels, in the order of the fields.
        mean: mean per channel, physical units, (f,).
        std: standard deviation per channel, physical units, (f,).
        mask: points at which channels ever have values, bool (f, nlat, nlon); None if all have
            everywhere.
    """

    mean: Tensor
    std: Tensor
    mask: Tensor | None

    def __init__(
        self, channels: tuple[Variable, ...], mean: Tensor, std: Tensor, mask: Tensor | None = None
    ) -> None:
        """Hold the statistics; see the attributes."""
        super().__init__()
        self.channels = channels
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.register_buffer("mask", mask)

    @classmethod
    def from_store(cls, store: Store) -> ForcingChannels:
        """Read the statistics of a store whose channels are all given.

        Raises:
            ValueError: if the store has no training split, or a channel does not vary.
        """
        if layout.MEAN not in store.statistics:
            raise ValueError(
                f"{store.path} has no training split, and so no mean to scale by; ingest the files "
                "again with data.splits"
            )
        mean, std = (store.statistics[name].float() for name in (layout.MEAN, layout.STD))
        for name, size in zip(store.channel_names, std.tolist(), strict=True):
            if not 0 < size < float("inf"):
                raise ValueError(
                    f"forcing channel {name!r} of {store.path} has a standard deviation of "
                    f"{size:g} over the training split; leave it out of data.forcing"
                )
        return cls(store.channels, mean, std, store.mask)

    def with_mask(self, mask: Tensor) -> ForcingChannels:
        """Return the same channels with another mask, such as on another grid."""
        return ForcingChannels(self.channels, self.mean, self.std, mask)

    @property
    def names(self) -> tuple[str, ...]:
        """Short names of the channels."""
        return tuple(v.name for v in self.channels)

    def needed_points(self, grid: Grid) -> Tensor:
        """Return the points at which values are needed, bool (f, nlat, nlon)."""
        if self.mask is not None:
            return self.mask
        shape = len(self.channels), *own_shape(grid)
        return torch.ones(shape, dtype=torch.bool, device=self.mean.device)

    def forward(self, fields: Tensor) -> Tensor:
        """Scale fields (b, f, nlat, nlon) to order one; NaN outside the mask and where missing."""
        scaled = (fields - self.mean[:, None, None]) / self.std[:, None, None]
        return scaled if self.mask is None else scaled.where(self.mask, torch.nan)


def given_inputs(
    channels: ForcingChannels | None, fields: Tensor | None, like: Tensor
) -> list[Tensor]:
    """Return the inputs that are given: none, or one tensor (b, f, nlat, nlon) of order one.

    Values are NaN where they are missing.

    Args:
        channels: forcing channels of a model; None if it has none.
        fields: their values, (b, f, nlat, nlon), physical units; None if not given.
        like: state of the model, (b, c, nlat, nlon).

    Raises:
        ValueError: if the fields are not those of the channels.
    """
    names = () if channels is None else channels.names
    expected = (len(like), len(names), *like.shape[-2:])
    if (fields is None) == (channels is None) and (fields is None or fields.shape == expected):
        return [] if channels is None or fields is None else [channels(fields.to(like))]
    raise ValueError(
        f"forcing of shape {'none' if fields is None else tuple(fields.shape)}; the model takes "
        f"{', '.join(names) or 'none'} at every step, {expected}; give it to `step`, or to "
        "`rollout` for each step"
    )


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
