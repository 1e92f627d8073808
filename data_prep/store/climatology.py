"""Climatologies of a store as functions of time: by calendar month, or by day and hour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs import layout
from configs.time.calendar import SECOND
from configs.time.step import TimeStep
from data_prep.store.arrays import array, open_store, strings, time_step
from data_prep.store.damage import damage_named


@dataclass(frozen=True)
class Climatology:
    """Monthly climatology as a function of time.

    Attributes:
        monthly: Mean by calendar month, (12, c, nlat, nlon).
        time_step: Interval of the data. Monthly data have the mean of their month. For finer data
            the means are interpolated between the middles of the months, without a jump at the
            turn of a month.
    """

    monthly: Tensor
    time_step: TimeStep

    def at(self, time: NDArray[np.datetime64]) -> Tensor:
        """Return the climatology at valid times (b,), (b, c, nlat, nlon)."""
        month, weight = months_around(time, self.time_step)
        device = self.monthly.device
        first = self.monthly[torch.from_numpy(month).to(device)]
        if not weight.any():
            return first
        second = self.monthly[torch.from_numpy((month + 1) % 12).to(device)]
        return torch.lerp(first, second, torch.from_numpy(weight).to(first)[:, None, None, None])


class DailyClimatology:
    """Climatology by day of the year and hour of the day, read from a store as it is needed.

    In a leap year the days after 28 February have numbers one higher than in other years, as in
    WeatherBench 2.

    Attributes:
        path: Path of the store.
        hours: Hours of the day, float64, (n,).
        channel_names: Short names of the channels.
    """

    def __init__(self, path: str | Path, rows: slice = slice(None)) -> None:
        """Open the climatology of a store.

        Args:
            path: Path of the store.
            rows: Rows of the grid to read.

        Raises:
            ValueError: if the store has no climatology by day.
        """
        self.path, self._rows = Path(path), rows
        group = open_store(path)
        if layout.DAILY_CLIMATOLOGY not in group:
            raise ValueError(
                f"{path} has no climatology by day of the year; make the store with "
                "data.climatology.by=day"
            )
        self._values = array(group, layout.DAILY_CLIMATOLOGY)
        self.hours = np.asarray(array(group, layout.HOUR)[...], dtype=np.float64)
        self.channel_names = strings(group, layout.CHANNEL)
        self._calendar = time_step(group).calendar

    def at(self, time: NDArray[np.datetime64]) -> Tensor:
        """Return the climatology at valid times (b,), (b, c, rows, nlon).

        Raises:
            ValueError: if the climatology does not have the hour of a time.
        """
        day = self._calendar.day_of_year(time)
        hour = self._calendar.time_of_day(time) / (3600 * SECOND)
        place = np.abs(self.hours - hour[:, None]).argmin(1)
        wrong = np.abs(self.hours[place] - hour) > 1 / 3600
        if wrong.any():
            raise ValueError(
                f"{self.path} has a climatology of the hours "
                f"{', '.join(f'{h:g}' for h in self.hours)}, and {hour[wrong][0]:g} h is asked for"
            )
        with damage_named(self.path):
            fields = [np.asarray(self._values[d, h, :, self._rows])
                      for d, h in zip(day.tolist(), place.tolist(), strict=True)]  # fmt: skip
        return torch.from_numpy(np.stack(fields))


def without_gaps(climatology: Tensor) -> Tensor:
    """Fill the times of the year at which a point never has a value, by interpolation in time.

    A point under ice in winter thus gets values between those of its last month without ice and
    the next one.

    Args:
        climatology: Mean by time of the year, (n, ...), NaN where missing.

    Returns:
        Climatology without missing values, but for points that never have one.
    """
    n = len(climatology)
    there = ~climatology.isnan()
    gaps = (there.any(0) & ~there.all(0)).flatten()
    if not gaps.any():
        return climatology
    filled = climatology.flatten(1).clone()
    columns, known, times = filled[:, gaps].numpy(), there.flatten(1)[:, gaps].numpy(), np.arange(n)
    for column, has_value in zip(columns.T, known.T, strict=True):
        column[:] = np.interp(times, times[has_value], column[has_value], period=n)
    filled[:, gaps] = torch.from_numpy(columns)
    return filled.view_as(climatology)


def months_around(
    time: NDArray[np.datetime64], time_step: TimeStep
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return a month (0 to 11) for each time, and the weight of the month after it."""
    time = np.asarray(time, dtype="datetime64[ns]")
    number = month_number(time)
    if time_step.is_calendar:
        return number, np.zeros(len(number))
    fraction = time_step.calendar.month_fraction(time) - 0.5
    return np.where(fraction < 0, (number - 1) % 12, number), fraction % 1.0


def month_number(times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return the calendar month of each time, 0 to 11."""
    return times.astype("M8[M]").astype(np.int64) % 12
