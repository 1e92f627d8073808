"""Fractions of neighbourhoods with an event, over regions; `ensembles.fractions` defines them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.verification.ensembles.fractions import Neighbourhoods, fraction
from forecast.verification.events import Fractions
from forecast.verification.score_table import FRACTION_SCORES, NEIGHBOURHOOD, Score
from forecast.verification.scoring.true_states import RegionSums, TrueState
from sphere_ops.grid import Grid

Array = NDArray[np.floating[Any]]


class FractionScorer:
    """Scorer of the fractions of one channel at one time.

    A neighbourhood reaches beyond its region: the fractions are those of the whole grid, and the
    squares are averaged over the region.

    Attributes:
        scores: Scores by name; empty without events.
        sizes: Sizes of their extra dims.
    """

    def __init__(self, sums: RegionSums, grid: Grid, fractions: Fractions) -> None:
        """Find the neighbourhoods."""
        self._sums, self._grid, self._fractions = sums, grid, fractions
        of_radius = {radius: Neighbourhoods(grid, radius) for radius in set(fractions.radii)}
        self._near = [of_radius[radius] for radius in fractions.radii]
        self.scores: dict[str, Score] = dict(FRACTION_SCORES) if fractions.names else {}
        self.sizes = {NEIGHBOURHOOD: len(fractions.names)}

    def __call__(
        self, forecasts: Sequence[Array], channel: int, true: TrueState
    ) -> list[dict[str, Array]]:
        """Return the scores (r, f) of each forecast by name, NaN for events of other channels.

        Args:
            forecasts: Members (m, p) of each forecast.
            channel: Index of the channel.
            true: Truth.
        """
        shape = len(self._sums.weights), len(self._near)
        found = [{name: np.full(shape, np.nan) for name in self.scores} for _ in forecasts]
        truth = true.channel(channel)
        for f, (limit, near) in enumerate(zip(self._fractions.thresholds, self._near, strict=True)):
            if limit.channels != (channel,):
                continue
            threshold = np.broadcast_to(limit.fields[0], truth.shape)
            counted = np.isfinite(truth) & np.isfinite(threshold)
            of_truth, *of_forecasts = (
                fraction(
                    x.reshape(-1, *self._grid.shape),
                    threshold.reshape(self._grid.shape),
                    near,
                    counted.reshape(self._grid.shape),
                ).ravel()
                for x in (truth, *forecasts)
            )
            for values, of_forecast in zip(found, of_forecasts, strict=True):
                squares = (of_forecast - of_truth) ** 2, of_forecast**2 + of_truth**2
                for name, at_points in zip(FRACTION_SCORES, squares, strict=True):
                    values[name][:, f] = self._sums.mean(at_points, counted)
        return found
