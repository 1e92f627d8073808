"""Sums of scores over forecasts, and the values of each forecast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.verification.score_table import SCORES
from forecast.verification.true_states import TrueState
from forecast.verification.vectors import Vectors
from sphere_ops.parallel.mesh import current

Array = NDArray[np.floating[Any]]


class Totals:
    """Sums over forecasts of the scores of the model and the baselines.

    Attributes:
        of_each: Values of each forecast before mean and root, by the name of the score, float32
            (n, name, r, c, k); NaN at lead times without truth, and after a forecast had ended.
        count: Number of forecasts scored at each lead time, (k,).
        n_points: Mean number of points scored, (r, c, k).
    """

    def __init__(
        self, n_names: int, shape: tuple[int, int, int, int], own: range, vectors: Vectors
    ) -> None:
        """Start with zeros.

        Args:
            n_names: Number of what is scored: the model and the baselines.
            shape: Numbers of forecasts, regions, channels with vectors, and lead times.
            own: Forecasts that this process scores.
            vectors: Vectors that are scored beside the channels.
        """
        n, *of_score = shape
        self._vectors = vectors
        self._sums = {name: np.zeros((n_names, *of_score)) for name in SCORES}
        self.of_each = {
            name: np.zeros((n, n_names, *of_score), dtype=np.float32) for name in SCORES
        }
        for values in self.of_each.values():
            values[own] = np.nan
        self._spread, self._n_scored, self._n_points = np.zeros((3, *of_score))
        self.count = np.zeros(of_score[-1], dtype=np.int32)

    def add_truth(self, position: int, true: TrueState) -> None:
        """Count the truth of a forecast at a lead time."""
        has_points = self._points(true) > 0
        self.count[position] += 1
        self._n_scored[..., position] += has_points
        self._n_points[..., position] += self._points(true)
        pairs = self._vectors.pairs
        spread = np.concatenate([true.spread, true.spread[pairs].sum(1)]).T
        self._spread[..., position] += np.where(has_points, spread, 0.0)

    def add(
        self,
        forecast_index: int,
        j: int,
        position: int,
        values: Mapping[str, Array],
        true: TrueState,
    ) -> None:
        """Add the scores of a forecast at a lead time.

        Args:
            forecast_index: Index of the forecast.
            j: Index among the model and the baselines.
            position: Position of the lead time.
            values: Values (c, r) by the name of the score.
            true: Truth; channels and regions without a point are not counted.
        """
        has_points = self._points(true) > 0
        for name, value in values.items():
            counted = np.where(has_points, value.T, np.nan)
            self.of_each[name][forecast_index, j, ..., position] = counted
            self._sums[name][j, ..., position] += np.where(has_points, value.T, 0.0)

    def over_processes(self) -> None:
        """Add the sums of all processes."""
        for own in (
            self.count, self._n_scored, self._n_points, self._spread,
            *self.of_each.values(), *self._sums.values(),
        ):  # fmt: skip
            current().sum_samples(torch.from_numpy(own))  # in place

    def means(self) -> dict[str, Array]:
        """Return the scores (name, r, c, k) by name; NaN where nothing was scored."""
        return {name: SCORES[name].reduce(sums, self._known) for name, sums in self._sums.items()}

    @property
    def activity_of_truth(self) -> Array:
        """Activity of the truth, (r, c, k)."""
        return SCORES["activity"].reduce(self._spread, self._known)

    @property
    def n_points(self) -> Array:
        """Mean number of points scored, (r, c, k)."""
        return self._n_points / self._known

    @property
    def _known(self) -> Array:
        return np.where(self._n_scored, self._n_scored, np.nan)

    def _points(self, true: TrueState) -> NDArray[np.int64]:
        """Return the number of points of channels and vectors, (r, c)."""
        return self._vectors.with_points(true.count.T)
