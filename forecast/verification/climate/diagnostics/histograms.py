"""Histograms, their tails, and extremes."""

from __future__ import annotations

import numpy as np

from forecast.verification.climate.accumulators import GroupMeans, Groups
from forecast.verification.climate.diagnostic import (
    OF_CHANNEL,
    Coordinate,
    Diagnostic,
    Distance,
    Result,
    Statistic,
)
from forecast.verification.climate.setting import Array, Block, Setting

_BINS = 400
_LEVELS = (0.001, 0.01, 0.5, 0.99, 0.999)


class Histograms(Diagnostic):
    """Area-weighted distribution of all values, its quantiles, and extremes.

    The bins divide the range of the training split, widened by half of it on both sides. Values
    beyond count in the first and last bin. Quantiles are interpolated inside a bin.
    """

    statistics = (
        Statistic(
            "histogram", "Fraction of area and time in each bin", ("channel", "bin"), units="1"
        ),
        Statistic("bin_edge", "Edges of the bins", ("channel", "edge"), sampled=False),
        Statistic("quantile", "Quantiles of all values", ("channel", "probability")),
        Statistic(
            "segment_maximum",
            "Mean over segments of time of the largest value on the sphere",
            ("channel",),
        ),
        Statistic(
            "segment_minimum",
            "Mean over segments of time of the smallest value on the sphere",
            ("channel",),
        ),
        Statistic("maximum", "Largest value", ("channel",), sampled=False),
        Statistic("minimum", "Smallest value", ("channel",), sampled=False),
    )
    distances = (
        Distance("histogram", "Wasserstein distance of the histograms", OF_CHANNEL),
        Distance("upper_tail", "difference of the 99.9 % quantiles", OF_CHANNEL),
        Distance("lower_tail", "difference of the 0.1 % quantiles", OF_CHANNEL),
        Distance("maxima", "difference of the mean maximum of a segment", OF_CHANNEL),
        Distance("minima", "difference of the mean minimum of a segment", OF_CHANNEL),
    )

    def __init__(self, setting: Setting, n_groups: int) -> None:
        """Start with no states."""
        super().__init__(setting, n_groups)
        c = len(setting.channels)
        margin = (setting.high - setting.low) / 2
        self._low = setting.low - margin
        self._width = 4 * margin / _BINS
        self._means = GroupMeans(n_groups, (c, _BINS))
        self._weights = np.where(setting.valid, setting.area, 0.0)
        self._largest = np.full((n_groups, 2, c), -np.inf)  # of the values, and of minus them
        self._of_segments = GroupMeans(n_groups, (2, c))
        self._segment = np.full((2, c), -np.inf)
        self._length, self._group = 0, -1

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Return the coordinate of the quantiles."""
        meaning = {"long_name": "Probability of smaller values", "units": "1"}
        return {"probability": (("probability",), np.array(_LEVELS), meaning)}

    def update(self, block: Block) -> None:
        """Take the states of a block."""
        k, c = block.fields.shape[:2]
        weights = self._weights
        if block.missing is not None:
            weights = np.where(block.missing, 0.0, weights)
        scaled = (block.filled - self._low[:, None, None]) / self._width[:, None, None]
        place = np.clip(scaled, 0, _BINS - 1).astype(np.int64)
        place += np.arange(c)[:, None, None] * _BINS
        weights = np.broadcast_to(weights, place.shape)
        counts = np.bincount(place.ravel(), weights.ravel(), minlength=c * _BINS)
        total = weights.sum((0, -2, -1))
        self._means.add(block.group, counts.reshape(c, _BINS), total[:, None])
        largest = np.stack(
            [np.fmax.reduce(x.reshape(k, c, -1), axis=-1) for x in (block.fields, -block.fields)], 1
        )  # (k, 2, c)
        largest = np.where(np.isnan(largest), -np.inf, largest)
        self._largest[block.group] = np.maximum(self._largest[block.group], largest.max(0))
        self._take_segments(block, largest)

    def _take_segments(self, block: Block, largest: Array) -> None:
        """Take the largest values (k, 2, c) of the states of a block, segment by segment."""
        if block.first or block.group != self._group:
            self._segment[:], self._length, self._group = -np.inf, 0, block.group
        for of_state in largest if self.setting.segment else ():
            self._segment = np.maximum(self._segment, of_state)
            self._length += 1
            if self._length == self.setting.segment:
                found = np.isfinite(self._segment)
                self._of_segments.add(block.group, np.where(found, self._segment, 0), found)
                self._segment, self._length = np.full_like(self._segment, -np.inf), 0

    def result(self, groups: Groups) -> Result:
        """Return the statistics over some groups."""
        histogram = self._means.mean(groups)
        edges = self._low[:, None] + np.arange(_BINS + 1) * self._width[:, None]
        below = np.concatenate([np.zeros((len(edges), 1)), histogram.cumsum(1)], axis=1)
        quantiles = [np.interp(_LEVELS, *pair) for pair in zip(below, edges, strict=True)]
        of_segments = self._of_segments.mean(groups)
        largest = self._largest[groups].max(0)
        largest = np.where(np.isfinite(largest), largest, np.nan)
        return {
            "histogram": histogram,
            "bin_edge": edges,
            "quantile": np.stack(quantiles),
            "segment_maximum": of_segments[0],
            "segment_minimum": -of_segments[1],
            "maximum": largest[0],
            "minimum": -largest[1],
        }

    def distance(self, a: Result, b: Result) -> Result:
        """Return the distances of two results."""
        between = np.abs((a["histogram"] - b["histogram"]).cumsum(1)).sum(1)
        quantile = np.abs(a["quantile"] - b["quantile"])
        return {
            "histogram": between * self._width,
            "upper_tail": quantile[:, -1],
            "lower_tail": quantile[:, 0],
            "maxima": np.abs(a["segment_maximum"] - b["segment_maximum"]),
            "minima": np.abs(a["segment_minimum"] - b["segment_minimum"]),
        }
