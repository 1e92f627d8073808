"""Sums over time by group, from which means and variances of any set of groups follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating[Any]]
Groups = Sequence[int] | NDArray[np.int64]


class GroupMeans:
    """Means over time by group.

    Attributes:
        total: Sum of the values by group, (G, ...).
        count: Number of values by group, (G, ...), which broadcasts against the total.
    """

    def __init__(self, n_groups: int, shape: Sequence[int]) -> None:
        """Start with no values.

        Args:
            n_groups: Number of groups.
            shape: Shape of the mean.
        """
        self.total = np.zeros((n_groups, *shape))
        self.count: Array = np.zeros((n_groups, *[1] * len(shape)))

    def add(self, group: int, total: ArrayLike, count: ArrayLike) -> None:
        """Add a sum of values and their number, which broadcasts against the sum."""
        self.total[group] += total
        self.count = _wide_enough(self.count, np.asarray(count))
        self.count[group] += count

    def mean(self, groups: Groups) -> Array:
        """Return the mean over some groups; NaN where there is no value."""
        count = self.count[groups].sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.total[groups].sum(0) / np.where(count > 0, count, np.nan)


class GroupMoments:
    """Means and variances over time by group, merged as by Chan, Golub and LeVeque (1983)."""

    def __init__(self, n_groups: int, shape: Sequence[int]) -> None:
        """Start with no values.

        Args:
            n_groups: Number of groups.
            shape: Shape of the mean.
        """
        self.count: Array = np.zeros((n_groups, *[1] * len(shape)))
        self._mean = np.zeros((n_groups, *shape))
        self._squares = np.zeros((n_groups, *shape))

    def add(
        self,
        group: int,
        values: Array,
        count: ArrayLike | None = None,
        missing: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add values.

        Args:
            group: Index of the group.
            values: Values (k, ...), finite.
            count: Number of values that count, which broadcasts against the mean; k if None.
            missing: Values to leave out, (k, ...), which are 0.
        """
        n = np.full([1] * (values.ndim - 1), len(values)) if count is None else np.asarray(count)
        mean = values.sum(0) / np.maximum(n, 1)
        departure = values - mean
        if missing is not None:
            departure[missing] = 0.0
        squares = np.einsum("k...,k...->...", departure, departure)
        self.count = _wide_enough(self.count, n)
        before = self.count[group].copy()
        total = np.maximum(before + n, 1)
        shift = mean - self._mean[group]
        self._mean[group] += shift * (n / total)
        self._squares[group] += squares + shift**2 * (before * n / total)
        self.count[group] += n

    def mean(self, groups: Groups) -> Array:
        """Return the mean over some groups; NaN where there is no value."""
        count = self.count[groups]
        total = count.sum(0)
        return (self._mean[groups] * count).sum(0) / np.where(total > 0, total, np.nan)

    def variance(self, groups: Groups) -> Array:
        """Return the mean squared departure from the mean over some groups."""
        count = self.count[groups]
        total = count.sum(0)
        between = count * (self._mean[groups] - self.mean(groups)) ** 2
        squares = (self._squares[groups] + between).sum(0)
        return np.asarray(squares / np.where(total > 0, total, np.nan))

    def error_of_mean(self, groups: Groups) -> Array:
        """Return the standard error of the mean over some groups, from the spread of their means.

        It is NaN if less than two groups have values.
        """
        has_values = self.count[groups] > 0
        n = has_values.sum(0)
        departure = self._mean[groups] - self.mean(groups)
        squares = np.where(has_values, departure**2, 0.0).sum(0)
        return np.asarray(np.sqrt(squares / np.where(n > 1, n * (n - 1), np.nan)))


def _wide_enough(count: Array, added: NDArray[Any]) -> Array:
    """Return counts (G, ...) as large as added ones (...): one for all points, or one for each."""
    shape = np.broadcast_shapes(count.shape[1:], added.shape)
    if shape == count.shape[1:]:
        return count
    return np.broadcast_to(count, (len(count), *shape)).copy()
