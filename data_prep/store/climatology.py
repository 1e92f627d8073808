"""Monthly climatology of a store's training split, and the size of departures from it."""

from __future__ import annotations

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from torch import Tensor
from zarr.codecs import ZstdCodec

from configs import layout
from data_prep.store.arrays import CHECKSUM, array, put
from data_prep.store.statistics import Moments, point_weights, train_series
from sphere_ops.grid import Grid


def write_climatology(group: zarr.Group, grid: Grid) -> None:
    """Write the mean by calendar month, and the standard deviations of the anomaly and its step.

    Memory holds one month's mean at a time. A training split that does not hold every calendar
    month of at least two years gets no climatology: a single year's anomalies are all zero.

    Args:
        group: a store of one series of times whose fields are complete.
        grid: its grid.
    """
    fields = array(group, layout.FIELDS)
    seconds = np.asarray(array(group, layout.TIME)[...]).astype("datetime64[s]")
    train = np.array([index[0] for index in train_series(group)], dtype=int)
    month = _month(seconds)
    years = [len(np.unique(seconds[train[month[train] == m]].astype("M8[Y]"))) for m in range(12)]
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
        total = np.zeros(state)
        of_month = train[month[train] == m].tolist()
        for index in of_month:
            total += np.asarray(fields[index])
        climatology[m] = (total / len(of_month)).astype(np.float32)
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
        if index == last_index + 1:
            step.add(values - last)
        last_index, last = index, values
    over = "over the training split, weighted by area"
    put(group, layout.CLIMATOLOGY_STD, (layout.CHANNEL,), anomaly.std,
        long_name=f"Standard deviation of the anomaly {over}")  # fmt: skip
    put(group, layout.CLIMATOLOGY_STD_STEP, (layout.CHANNEL,), step.std,
        long_name=f"Standard deviation of the anomaly's one-step difference {over}")  # fmt: skip


def at_times(climatology: Tensor, time: NDArray[np.datetime64], interpolate: bool) -> Tensor:
    """Return a monthly climatology at given times.

    Args:
        climatology: mean by calendar month, (12, c, nlat, nlon).
        time: valid times (b,).
        interpolate: between the middles of the months; else take the month itself.

    Returns:
        (b, c, nlat, nlon).
    """
    month, share = _months(time, interpolate)
    device = climatology.device
    first = climatology[torch.from_numpy(month).to(device)]
    if not share.any():
        return first
    second = climatology[torch.from_numpy((month + 1) % 12).to(device)]
    return torch.lerp(first, second, torch.from_numpy(share).to(first)[:, None, None, None])


def _months(
    time: NDArray[np.datetime64], interpolate: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the month (0 to 11) and the share of the month after it.

    Data finer than a month run from the middle of one month to the middle of the next, so that
    nothing jumps at midnight of the first; monthly means are the month itself.
    """
    time = np.asarray(time, dtype="datetime64[ns]")
    month = time.astype("datetime64[M]")
    number = month.astype(np.int64) % 12
    if not interpolate:
        return number, np.zeros(len(number))
    length = (month + 1).astype(time.dtype) - month.astype(time.dtype)
    fraction = (time - month) / length - 0.5
    return np.where(fraction < 0, (number - 1) % 12, number), fraction % 1.0


def _month(times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Calendar month of each time, 0 to 11."""
    return times.astype("M8[M]").astype(np.int64) % 12
