"""Groups of times, and the halvings by which the sampling variability of a climate is estimated.

The times of a source are split into G groups, G a power of 2. The rows of a Hadamard matrix give
G − 1 ways to halve the groups such that the mean over them of the squared difference of the halves
holds all that the differences between the groups say (balanced repeated replication, McCarthy
1969).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.time.calendar import Times

Indices = NDArray[np.int64]

N_GROUPS = 8
"""Largest number of groups."""
_ENOUGH_RUNS = 4


def assign_groups(runs: Sequence[Times], *, by_year: bool) -> tuple[list[Indices], int]:
    """Assign each time of each run to a group.

    Whole years, in their order, form groups if there are two years or more. Otherwise, groups are
    whole runs if there are four or more, else parts of them.

    Args:
        runs: Times of each run, in their order.
        by_year: True if the data have seasons.

    Returns:
        Group of each time of each run, and the number of groups.
    """
    if not runs:
        return [], 1
    months = [run.astype("M8[M]").astype(np.int64) for run in runs]
    start = min(int(m[0]) for m in months)
    n_years = (max(int(m[-1]) for m in months) + 1 - start) // 12
    if by_year and n_years >= 2:
        n_groups = _power_of_two(n_years)
        year = [np.minimum((m - start) // 12, n_years - 1) for m in months]
        groups = [y * n_groups // n_years for y in year]
    elif len(runs) >= _ENOUGH_RUNS:
        n_groups = _power_of_two(len(runs))
        groups = [np.full(len(run), r % n_groups) for r, run in enumerate(runs)]
    else:
        n_groups = _power_of_two(min(len(run) for run in runs))
        groups = [
            (np.arange(len(run)) * n_groups // len(run) + r) % n_groups
            for r, run in enumerate(runs)
        ]
    return groups, n_groups


def halvings(n_groups: int) -> list[tuple[Indices, Indices]]:
    """Return the balanced halvings of the groups, n_groups − 1 pairs of indices of groups."""
    matrix: NDArray[Any] = np.ones((1, 1), dtype=int)
    while len(matrix) < n_groups:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return [(np.flatnonzero(row > 0), np.flatnonzero(row < 0)) for row in matrix[1:]]


def _power_of_two(most: int) -> int:
    """Return the largest number of groups that is a power of 2 and not larger than `most`."""
    n = N_GROUPS
    while n > max(most, 1):
        n //= 2
    return n
