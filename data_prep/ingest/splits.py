"""Splits of trajectories, and of times that are added to a store."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from configs import layout
from configs.calendar import Times
from configs.schema import SplitFractions, SplitRanges
from configs.timestep import TimeStep

_WAY_OUT = "give more times, or leave out the splits with data.splits=null"


def split_trajectories(count: int, splits: SplitRanges | SplitFractions | None) -> NDArray[np.str_]:
    """Return the name of the split of each trajectory, (n,).

    Raises:
        ValueError: if the splits are ranges of time, or one is empty.
    """
    if splits is None:
        return np.full(count, "", dtype="U10")
    if isinstance(splits, SplitRanges):
        raise ValueError(
            "data.splits are ranges of time, but trajectories are split by their number; give "
            "fractions, as data.splits='{train: 0.8, validation: 0.1, test: 0.1}', or null"
        )
    split = _fractions(count, splits)
    _check_lengths(split, splits, "trajectories")
    return split


def split_later_times(
    time: Times, splits: SplitRanges | SplitFractions | None, step: TimeStep
) -> NDArray[np.str_]:
    """Return the name of the split of each time that is added to a store, (n,).

    Args:
        time: Times, (n,).
        splits: Ranges of the whole store, which need not hold any of the times.
        step: Interval of the store, with the calendar of the times.

    Raises:
        ValueError: if the splits are fractions.
    """
    split = np.full(len(time), "", dtype="U10")
    if isinstance(splits, SplitFractions):
        raise ValueError(
            "data.splits are fractions, which times that are added would shift; give the ranges of "
            "the store, or data.splits=null for times of no split"
        )
    for name in layout.SPLITS if splits is not None else ():
        limits, period = getattr(splits, name), step.calendar.period
        inside = (time >= period(limits.first)[0]) & (time < period(limits.last)[1])
        split[inside] = name
    return split


def _fractions(count: int, splits: SplitFractions) -> NDArray[np.str_]:
    split = np.full(count, "", dtype="U10")
    fractions = [getattr(splits, name) for name in layout.SPLITS]
    edges = np.rint(np.cumsum([0.0, *fractions]) * count).astype(int)
    for name, first, end in zip(layout.SPLITS, edges, edges[1:], strict=False):
        split[first:end] = name
    return split


def _check_lengths(
    split: NDArray[np.str_], splits: SplitRanges | SplitFractions, what: str
) -> None:
    """Raise a ValueError for an empty split."""
    for name in layout.SPLITS:
        if getattr(splits, name) and not (split == name).any():
            raise ValueError(
                f"data.splits.{name} is {getattr(splits, name):g} of {len(split)} {what}, which is "
                f"none; {_WAY_OUT}"
            )
