"""Splits of times or trajectories into training, validation and test data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from configs import layout
from configs.schema import SplitFractions, SplitRanges
from data_prep.ingest.times import Times

_WAY_OUT = "give more times, or leave out the splits with data.splits=null"


def split_times(time: Times, splits: SplitRanges | SplitFractions | None) -> NDArray[np.str_]:
    """Return the name of the split of each time, (n,).

    Raises:
        ValueError: if a range holds no time, ranges overlap, or a split is empty.
    """
    split = np.full(len(time), "", dtype="U10")
    if splits is None:
        return split
    if isinstance(splits, SplitFractions):
        split = _fractions(len(time), splits)
    else:
        for name in layout.SPLITS:
            inside = _range(time, name, splits)
            if (taken := split[inside & (split != "")]).size:
                limits = getattr(splits, name)
                raise ValueError(
                    f"data.splits.{name} from {limits.first} to {limits.last} overlaps with "
                    f"{taken[0]}; a time belongs to one split only"
                )
            split[inside] = name
    _check_lengths(split, splits, "times")
    train = np.flatnonzero(split == "train")
    if not (np.diff(train) == 1).any():
        raise ValueError(
            f"data.splits.train holds {len(train)} of the {len(split)} times; the statistics of "
            f"one step take two in succession; {_WAY_OUT}"
        )
    return split


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


def _fractions(count: int, splits: SplitFractions) -> NDArray[np.str_]:
    split = np.full(count, "", dtype="U10")
    fractions = [getattr(splits, name) for name in layout.SPLITS]
    edges = np.rint(np.cumsum([0.0, *fractions]) * count).astype(int)
    for name, first, end in zip(layout.SPLITS, edges, edges[1:], strict=False):
        split[first:end] = name
    return split


def _range(time: Times, name: str, splits: SplitRanges) -> NDArray[np.bool_]:
    """Return True for the times of a range."""
    limits = getattr(splits, name)
    try:
        start, last = np.datetime64(limits.first), np.datetime64(limits.last)
        end = last + 1  # one unit later: the end of the year, month, day, ...
    except ValueError:
        raise ValueError(
            f"data.splits.{name} from {limits.first!r} to {limits.last!r}: expected dates such "
            "as 1950, 1950-07 or 1950-07-01T06"
        ) from None
    inside: NDArray[np.bool_] = (time >= start) & (time < end)
    if not inside.any():
        raise ValueError(
            f"data.splits.{name} from {limits.first} to {limits.last} holds no time of the "
            f"files, which run from {_day(time[0])} to {_day(time[-1])}; change it, or leave "
            "out the splits with data.splits=null"
        )
    return inside


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


def _day(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, "D"))
