"""Sums of scores over forecasts, and the values of each forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.verification.score_table import NEIGHBOURHOOD, SCORES, THRESHOLD, Score
from forecast.verification.scoring.true_states import TrueState
from forecast.verification.vectors import Vectors

Array = NDArray[np.floating[Any]]


class Totals:
    """Sums over forecasts of the scores of the model and the baselines.

    Attributes:
        scores: Scores that are summed, by name.
        of_each: Values of each forecast before mean and root, by the name of the score, float32
            (n, name, r, c, k, ...); NaN at lead times without truth, and after a forecast had
            ended. Scores with many values of a forecast, as of ranks, have none.
        count: Number of forecasts scored at each lead time, (k,).
    """

    def __init__(
        self,
        n_names: int,
        shape: tuple[int, int, int, int],
        own: range,
        vectors: Vectors,
        of_states: Mapping[str, Score],
        of_channels: Mapping[str, Score],
        scored: Mapping[str, Sequence[int]],
        sizes: Mapping[str, int],
    ) -> None:
        """Start with zeros.

        Args:
            n_names: Number of what is scored: the model and the baselines.
            shape: Numbers of forecasts, regions, channels with vectors, and lead times.
            own: Forecasts that this process scores.
            vectors: Vectors that are scored beside the channels.
            of_states: Scores of single states, by name; see `add`.
            of_channels: Scores of members, or of single channels, by name; see `add_channel`.
            scored: Indices, among the model and the baselines, that have each of the latter.
            sizes: Sizes of their extra dims.
        """
        n, *of_score = shape
        self._vectors, self._n_channels = vectors, of_score[1] - len(vectors.names)
        self.scores: dict[str, Score] = {**of_states, **of_channels}
        self._sums, self.of_each = {}, {}
        for name, score in self.scores.items():
            extra = [sizes[dim] for dim in score.dims]
            self._sums[name] = np.zeros((n_names, *of_score, *extra))
            if name in of_channels:  # the other values are set by `finish`, or stay missing
                others = [j for j in range(n_names) if j not in scored[name]]
                self._sums[name][others] = np.nan
                self._sums[name][:, :, self._n_channels :] = np.nan
            if set(score.dims) <= {THRESHOLD, NEIGHBOURHOOD}:
                values = np.zeros((n, n_names, *of_score, *extra), dtype=np.float32)
                values[own] = np.nan
                self.of_each[name] = values
        self._spread, self._n_scored, self._n_points = np.zeros((3, *of_score))
        self.count = np.zeros(of_score[-1], dtype=np.int32)

    def add_truth(self, positions: NDArray[np.int64], trues: Sequence[TrueState]) -> None:
        """Count the truth of a forecast at some lead times."""
        points = self._points(trues)
        self.count[positions] += 1
        self._n_scored[..., positions] += points > 0
        self._n_points[..., positions] += points
        spread = np.stack([true.spread for true in trues])  # (k, c, r)
        of_vectors = spread[:, self._vectors.pairs].sum(2)
        values = np.concatenate([spread, of_vectors], axis=1).T
        self._spread[..., positions] += np.where(points > 0, values, 0.0)

    def add(
        self,
        forecast_index: int,
        j: int,
        positions: NDArray[np.int64],
        values: Mapping[str, Array],
        trues: Sequence[TrueState],
    ) -> None:
        """Add the scores of a forecast at some lead times.

        Args:
            forecast_index: Index of the forecast.
            j: Index among the model and the baselines.
            positions: Positions of the lead times, (k,), each of them once.
            values: Values (k, c, r) by the name of the score.
            trues: Truth at these lead times; channels and regions without a point do not count.
        """
        has_points = self._points(trues) > 0
        for name, value in values.items():
            counted = np.where(has_points, value.T, np.nan)
            self.of_each[name][forecast_index, j][..., positions] = counted
            self._sums[name][j][..., positions] += np.where(has_points, value.T, 0.0)

    def add_channel(
        self,
        forecast_index: int,
        j: int,
        position: int,
        channel: int,
        values: Mapping[str, Array],
        true: TrueState,
    ) -> None:
        """Add the scores of one channel; see `add`.

        Args:
            forecast_index: Index of the forecast.
            j: Index among the model and the baselines.
            position: Position of the lead time.
            channel: Index of the channel.
            values: Values (r, ...) by the name of the score.
            true: Truth; regions without a point are not counted.
        """
        has_points = true.count[channel] > 0
        for name, value in values.items():
            counted = has_points.reshape(-1, *(1,) * (value.ndim - 1))
            self._sums[name][j, :, channel, position] += np.where(counted, value, 0.0)
            if name in self.of_each:
                of_each = np.where(counted, value, np.nan)
                self.of_each[name][forecast_index, j, :, channel, position] = of_each

    @property
    def sums(self) -> tuple[Array, ...]:
        """Arrays to which those of the other forecasts are added, beside `of_each`."""
        return self.count, self._n_scored, self._n_points, self._spread, *self._sums.values()

    def finish(self) -> None:
        """Set what follows from other scores, once the forecasts of all processes are added."""
        if "crps" in self.scores:  # a single forecast is an ensemble of one
            self._sums["crps"][1:] = self._sums["mae"][1:]
            self.of_each["crps"][:, 1:] = self.of_each["mae"][:, 1:]
        if "spread" in self.scores:
            for of_spread in (self._sums["spread"], np.moveaxis(self.of_each["spread"], 0, -1)):
                components = of_spread[0][:, self._vectors.pairs]  # (r, v, 2, k, ...)
                of_spread[0][:, self._n_channels :] = components.sum(2)

    def means(self) -> dict[str, Array]:
        """Return the scores (name, r, c, k, ...) by name; NaN where nothing was scored."""
        return {
            name: score.reduce(
                self._sums[name], self._known.reshape(*self._known.shape, *(1,) * len(score.dims))
            )
            for name, score in self.scores.items()
        }

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

    def _points(self, trues: Sequence[TrueState]) -> NDArray[np.int64]:
        """Return the number of points of channels and vectors, (r, c, k)."""
        count = np.stack([true.count.T for true in trues])  # (k, r, c)
        return np.moveaxis(self._vectors.with_points(count), 0, -1)
