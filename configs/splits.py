"""Splits of times and of trajectories into training, validation and test data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from configs import layout
from configs.schema import SplitFractions, SplitRanges
from configs.time.calendar import Times
from configs.time.step import TimeStep

_WAY_OUT = "give more times, or leave out the splits with data.splits=null"


def assign_splits(
    time: Times,
    ranges: SplitRanges | SplitFractions | None,
    step: TimeStep,
    holder: str = "the files",
) -> NDArray[np.str_]:
    """Return the name of the split of each time, (n,); "" for none.

    Args:
        time: Times of a store, ascending for fractions, datetime64, (n,).
        ranges: Periods or fractions of the splits; None for no splits.
        step: Interval of the store, with the calendar of the times.
        holder: Name of what has the times, for messages.

    Raises:
        ValueError: if a split is empty or overlaps with another one, or if the training split has
            no two times that are one step apart.
    """
    split = np.full(len(time), "", dtype="U10")
    if ranges is None:
        return split
    if isinstance(ranges, SplitFractions):
        split = _by_fractions(len(time), ranges, "times")
    else:
        for name in layout.SPLITS:
            _put_split(split, name, time, ranges, step, holder)
    train = split == "train"
    if not (train[1:] & train[:-1] & step.consecutive(time)).any():
        raise ValueError(
            f"data.splits.train holds {train.sum()} of the {len(split)} times; the statistics of "
            f"one step take two in succession; {_WAY_OUT}"
        )
    return split


def split_trajectories(count: int, splits: SplitRanges | SplitFractions | None) -> NDArray[np.str_]:
    """Return the name of the split of each trajectory, (n,); "" for none.

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
    return _by_fractions(count, splits, "trajectories")


def split_later_times(
    time: Times, splits: SplitRanges | SplitFractions | None, step: TimeStep
) -> NDArray[np.str_]:
    """Return the name of the split of each time that is added to a store, (n,); "" for none.

    Args:
        time: Times, (n,).
        splits: Ranges of the whole store, which need not hold any of the times.
        step: Interval of the store, with the calendar of the times.

    Raises:
        ValueError: if the splits are fractions, or a range has no dates.
    """
    split = np.full(len(time), "", dtype="U10")
    if isinstance(splits, SplitFractions):
        raise ValueError(
            "data.splits are fractions, which times that are added would shift; give the ranges of "
            "the store, or data.splits=null for times of no split"
        )
    if splits is not None:
        for name in layout.SPLITS:
            split[_inside(time, name, splits, step)] = name
    return split


def _by_fractions(count: int, splits: SplitFractions, what: str) -> NDArray[np.str_]:
    """Return the names of splits that follow each other, of which none may be empty."""
    split = np.full(count, "", dtype="U10")
    fractions = [getattr(splits, name) for name in layout.SPLITS]
    edges = np.rint(np.cumsum([0.0, *fractions]) * count).astype(int)
    for name, first, end, share in zip(layout.SPLITS, edges, edges[1:], fractions, strict=False):
        split[first:end] = name
        if share and first == end:
            raise ValueError(
                f"data.splits.{name} is {share:g} of {count} {what}, which is none; {_WAY_OUT}"
            )
    return split


def _inside(time: Times, name: str, ranges: SplitRanges, step: TimeStep) -> NDArray[np.bool_]:
    """Return True for the times of the range of a split."""
    limits, period = getattr(ranges, name), step.calendar.period
    try:
        start, end = period(limits.first)[0], period(limits.last)[1]
    except ValueError:
        raise ValueError(
            f"data.splits.{name} from {limits.first!r} to {limits.last!r}: expected dates such "
            "as 1950, 1950-07 or 1950-07-01T06"
        ) from None
    return (time >= start) & (time < end)


def _put_split(
    split: NDArray[np.str_],
    name: str,
    time: Times,
    ranges: SplitRanges,
    step: TimeStep,
    holder: str,
) -> None:
    """Write the name of a split at the times of its range."""
    limits, inside = getattr(ranges, name), _inside(time, name, ranges, step)
    if not inside.any():
        first, last = (step.calendar.label(t, "D") for t in (time.min(), time.max()))
        raise ValueError(
            f"data.splits.{name} from {limits.first} to {limits.last} holds no time of "
            f"{holder}, which run from {first} to {last}; change it, or leave out the splits with "
            "data.splits=null"
        )
    if (taken := split[inside & (split != "")]).size:
        raise ValueError(
            f"data.splits.{name} from {limits.first} to {limits.last} overlaps with "
            f"{taken[0]}; a time belongs to one split only"
        )
    split[inside] = name
