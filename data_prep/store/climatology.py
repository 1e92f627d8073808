"""Monthly climatology of the training split of a store, and the statistics of anomalies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from torch import Tensor
from zarr.codecs import ZstdCodec

from configs import layout
from configs.timestep import TimeStep
from data_prep.store.arrays import CHECKSUM, array, consecutive, put, times
from data_prep.store.statistics import Moments, PointMean, point_weights, train_series
from sphere_ops.grid import Grid


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
        month, weight = self._months(time)
        device = self.monthly.device
        first = self.monthly[torch.from_numpy(month).to(device)]
        if not weight.any():
            return first
        second = self.monthly[torch.from_numpy((month + 1) % 12).to(device)]
        return torch.lerp(first, second, torch.from_numpy(weight).to(first)[:, None, None, None])

    def _months(
        self, time: NDArray[np.datetime64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return a month (0 to 11) for each time, and the weight of the month after it."""
        time = np.asarray(time, dtype="datetime64[ns]")
        number = _month(time)
        if self.time_step.is_calendar:
            return number, np.zeros(len(number))
        fraction = self.time_step.calendar.month_fraction(time) - 0.5
        return np.where(fraction < 0, (number - 1) % 12, number), fraction % 1.0


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


def write_climatology(group: zarr.Group, grid: Grid) -> None:
    """Write the mean by calendar month, and the standard deviations of the anomaly and its step.

    Memory holds the mean of one month at a time. The training split needs every calendar month of
    at least two years, since anomalies from a single year are zero; otherwise nothing is written.

    Args:
        group: Store of one time series whose fields are complete.
        grid: Grid of the store.
    """
    fields = array(group, layout.FIELDS)
    time, linked = times(group), consecutive(group)
    train = np.array([index[0] for index in train_series(group)], dtype=int)
    month = _month(time)
    years = [len(np.unique(time[train[month[train] == m]].astype("M8[Y]"))) for m in range(12)]
    if min(years) < 2:
        return
    state = fields.shape[1:]
    climatology = group.create_array(
        layout.CLIMATOLOGY,
        shape=(12, *state),
        chunks=(1, *state),
        dtype="float32",
        compressors=(ZstdCodec(), CHECKSUM),
        fill_value=float("nan"),
        dimension_names=(layout.MONTH, layout.CHANNEL, layout.LATITUDE, layout.LONGITUDE),
        attributes={"long_name": "Mean by calendar month over the training split"},
        overwrite=True,
    )
    for m in range(12):
        of_month = PointMean(state)
        for index in train[month[train] == m].tolist():
            of_month.add(np.asarray(fields[index]))
        climatology[m] = of_month.mean.astype(np.float32)
    put(group, layout.MONTH, (layout.MONTH,), np.arange(1, 13), long_name="Calendar month")

    weights = point_weights(group, grid)
    anomaly, step = Moments(weights), Moments(weights)
    last_index, last = -2, np.empty(0)
    of, mean = -1, np.empty(0)
    for index in train.tolist():
        if month[index] != of:
            of = int(month[index])
            mean = np.asarray(climatology[of], dtype=np.float64)
        values = np.asarray(fields[index], dtype=np.float64) - mean  # (c, h, w)
        anomaly.add(values)
        if index == last_index + 1 and linked[last_index]:
            step.add(values - last)
        last_index, last = index, values
    over = "over the training split, weighted by area"
    put(group, layout.CLIMATOLOGY_STD, (layout.CHANNEL,), anomaly.std,
        long_name=f"Standard deviation of the anomaly {over}")  # fmt: skip
    put(group, layout.CLIMATOLOGY_STD_STEP, (layout.CHANNEL,), step.std,
        long_name=f"Standard deviation of the anomaly's one-step difference {over}")  # fmt: skip


def _month(times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return the calendar month of each time, 0 to 11."""
    return times.astype("M8[M]").astype(np.int64) % 12
