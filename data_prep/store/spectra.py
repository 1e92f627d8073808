"""Largest power of each degree in the training split of a store, the limit of rollouts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import zarr
from torch import Tensor

from configs import layout
from data_prep.store.arrays import array, put, time_step, times
from data_prep.store.climatology import Climatology, without_gaps
from data_prep.store.statistics import train_series
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT, power_spectrum
from sphere_ops.parallel.fields import area_mean

_MOST_STATES, _FEWEST_STATES = 1024, 32
_VALUES = 1 << 27  # maximum number of values to read, for more than the fewest states
_BATCH = 8


def write_largest_power(group: zarr.Group, grid: Grid) -> None:
    """Write the largest power of each degree of departures from the mean and the climatology.

    The unit is the squared standard deviation of the departures. Without a mean or a climatology in
    the store, the power of departures from it is not written.

    Args:
        group: Store whose fields and other statistics are complete.
        grid: Grid of the store.
    """
    fields, time, indices = array(group, layout.FIELDS), times(group), list(train_series(group))

    def write(name: str, std_name: str, of: str, baseline: Callable[[int], Tensor]) -> None:
        std = _float(group, std_name)[:, None, None]

        def read(i: int) -> Tensor:
            state = torch.from_numpy(np.asarray(fields[indices[i]]))
            return (state - baseline(indices[i][-1])) / std

        put(group, name, (layout.CHANNEL, layout.DEGREE), largest_power(read, len(indices), grid),
            long_name=f"Largest power over the training split of each degree of the {of}, and in "
            "the last place of all degrees beyond them")  # fmt: skip

    if layout.MEAN in group:
        mean = _float(group, layout.MEAN)[:, None, None]
        write(layout.LARGEST_POWER, layout.STD, "departure from the mean", lambda t: mean)
    if layout.CLIMATOLOGY in group:
        by_month = without_gaps(_float(group, layout.CLIMATOLOGY)).nan_to_num()
        climatology = Climatology(by_month, time_step(group))
        name, std = layout.CLIMATOLOGY_LARGEST_POWER, layout.CLIMATOLOGY_STD
        write(name, std, "anomaly", lambda t: climatology.at(time[t : t + 1])[0])


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
    affordable = _VALUES // (len(read(0)) * grid.nlat * grid.nlon)
    chosen = min(count, _MOST_STATES, max(_FEWEST_STATES, affordable))
    indices = np.unique(np.linspace(0, count - 1, chosen).round().astype(int))
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


def _float(group: zarr.Group, name: str) -> Tensor:
    return torch.from_numpy(np.asarray(array(group, name)[...])).float()
