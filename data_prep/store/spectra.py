"""Largest power of each degree in the training split of a store, the limit of rollouts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from torch import Tensor

from configs import layout
from data_prep.store.arrays import array, strings, time_step, times
from data_prep.store.blocks import Blocks
from data_prep.store.climatology import months_around, without_gaps
from data_prep.store.gather.power import power_and_rest, sampled
from data_prep.store.statistics import put_power
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT, power_spectrum
from sphere_ops.parallel.fields import area_mean

_BATCH = 8


def write_anomaly_power(group: zarr.Group) -> None:
    """Write the largest power of each degree of departures from the monthly climatology.

    The unit is the squared standard deviation of the departures. Without a climatology in the
    store, nothing is written.

    Args:
        group: Store whose fields and climatology are complete.
    """
    if layout.CLIMATOLOGY not in group:
        return
    blocks, time = Blocks(group), times(group)
    # A model scales with these numbers in float32.
    std = np.asarray(array(group, layout.CLIMATOLOGY_STD)[...], dtype=np.float32)[:, None, None]
    climatology = _StoredClimatology(group)

    largest = np.zeros(())
    chosen = np.flatnonzero(blocks.sample[0])
    for batch in np.array_split(chosen, -(-len(chosen) // _BATCH)):
        means = torch.stack([climatology.at(time[i : i + 1]) for i in batch])
        anomaly = np.nan_to_num((blocks.read_some(batch) - means.double().numpy()) / std)
        largest = np.maximum(largest, power_and_rest(anomaly, blocks.grid).max(0))
    put_power(group, layout.CLIMATOLOGY_LARGEST_POWER, "anomaly", largest.astype(np.float32))


class _StoredClimatology:
    """Monthly climatology of a store, of which two months are in memory."""

    def __init__(self, group: zarr.Group) -> None:
        self._monthly, self._step = array(group, layout.CLIMATOLOGY), time_step(group)
        moving = str(group.attrs.get(layout.MOVING_MASK, "")).split()
        names = strings(group, layout.CHANNEL)
        self._filled = {
            c: without_gaps(torch.from_numpy(np.asarray(self._monthly[:, c])))
            for c in (names.index(name) for name in moving)
        }
        self._held: dict[int, Tensor] = {}

    def at(self, time: NDArray[np.datetime64]) -> Tensor:
        """Return the climatology at one time, (c, nlat, nlon), 0 where there is none."""
        month, weight = months_around(time, self._step)
        first, second = int(month[0]), (int(month[0]) + 1) % 12
        self._held = {m: v for m, v in self._held.items() if m in (first, second)}
        if not weight[0]:
            return self._month(first)
        return torch.lerp(self._month(first), self._month(second), float(weight[0]))

    def _month(self, number: int) -> Tensor:
        if number not in self._held:
            fields = torch.from_numpy(np.asarray(self._monthly[number]))
            for c, filled in self._filled.items():
                fields[c] = filled[number]
            self._held[number] = fields.nan_to_num()
        return self._held[number]


def largest_power(read: Callable[[int], Tensor], count: int, grid: Grid) -> Tensor:
    """Return the largest power of each degree in a sample of evenly spaced states.

    Args:
        read: Function that returns state i in normalised units, (c, own rows, nlon), NaN where
            missing.
        count: Number of states.
        grid: Grid of the states.

    Returns:
        Power of each degree that the grid resolves, then of the rest of the field, (c, lmax + 1).
    """
    to_degrees, to_field = transforms(grid, grid.exact_lmax)
    indices = sampled(count, len(read(0)) * grid.nlat * grid.nlon)
    largest = torch.zeros(())
    for batch in np.array_split(indices, -(-len(indices) // _BATCH)):
        fields = torch.stack([read(int(i)) for i in batch]).nan_to_num().double()
        coeffs = to_degrees(fields)
        power = degree_power(coeffs, fields - to_field(coeffs), grid)
        largest = torch.maximum(largest, power.amax(0))
    return largest.float()


def degree_power(coeffs: Tensor, rest: Tensor, grid: Grid) -> Tensor:
    """Return the power of each degree of coefficients, and of the rest of the field.

    Args:
        coeffs: Spherical-harmonic coefficients (..., lmax, mmax) of a field.
        rest: Field minus the synthesis of the coefficients, (..., nlat, nlon).
        grid: Grid of the field.

    Returns:
        Power, (..., lmax + 1).
    """
    return torch.cat([power_spectrum(coeffs), area_mean(rest.square(), grid)[..., None]], -1)


def transforms(grid: Grid, lmax: int) -> tuple[RealSHT, InverseRealSHT]:
    """Return the transforms of a triangular truncation."""
    mmax = min(lmax, grid.nlon // 2 + 1)
    return RealSHT(grid, lmax=lmax, mmax=mmax), InverseRealSHT(grid, lmax=lmax, mmax=mmax)
