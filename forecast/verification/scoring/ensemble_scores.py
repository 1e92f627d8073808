"""Scores of the members of an ensemble, and of events, over regions.

`ensembles` has the definitions. Scores that are means over points are computed once at the points,
and averaged over all regions; the others are computed for each region.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.verification.ensembles.energy import energy_score
from forecast.verification.ensembles.events import brier_at_points, reliability
from forecast.verification.ensembles.ranked_probability import crps_at_points
from forecast.verification.ensembles.ranks import rank_histogram
from forecast.verification.ensembles.spread import variance_at_points
from forecast.verification.events import Thresholds
from forecast.verification.score_table import (
    BIN,
    ENSEMBLE_SCORES,
    EVENT_SCORES,
    RANK,
    THRESHOLD,
    Score,
)
from forecast.verification.scoring.true_states import RegionSums, TrueState

N_BINS = 10

Array = NDArray[np.floating[Any]]


class EnsembleScorer:
    """Scorer of the members of one channel at one time.

    Attributes:
        scores: Scores by name: those of members if there are two or more, those of events if there
            are thresholds.
        sizes: Sizes of the extra dims of the scores.
    """

    def __init__(self, sums: RegionSums, n_members: int, thresholds: Thresholds) -> None:
        """Choose the scores."""
        self._sums, self._thresholds = sums, thresholds
        self._fair = n_members > 1
        self.scores: dict[str, Score] = {}
        if n_members > 1:
            self.scores |= ENSEMBLE_SCORES
        if thresholds.names:
            self.scores |= EVENT_SCORES
        self.sizes = {RANK: n_members + 1, THRESHOLD: len(thresholds.names), BIN: N_BINS}

    def __call__(self, members: Array, channel: int, true: TrueState) -> dict[str, Array]:
        """Return the values (r, ...) of the scores of a channel, by name.

        Args:
            members: Fields of the members, (m, p).
            channel: Index of the channel.
            true: Truth.
        """
        truth, values = true.channel(channel), {}
        if ENSEMBLE_SCORES.keys() <= self.scores.keys():
            counted = np.isfinite(truth)
            values["crps"] = self._sums.mean(crps_at_points(members, truth), counted)
            values["spread"] = self._sums.mean(variance_at_points(members), counted)
            regions = self._sums.weights
            values["energy_score"] = np.stack([energy_score(members, truth, w) for w in regions])
            values["rank_histogram"] = np.stack(
                [rank_histogram(members, truth, w) for w in regions]
            )
        if EVENT_SCORES.keys() <= self.scores.keys():
            values |= self._events(members, channel, truth)
        return values

    def _events(self, members: Array, channel: int, truth: Array) -> dict[str, Array]:
        """Return the scores of events, NaN for thresholds of other channels."""
        n_regions, n_thresholds = len(self._sums.weights), len(self._thresholds.names)
        values = {
            name: np.full((n_regions, *(self.sizes[dim] for dim in score.dims)), np.nan)
            for name, score in EVENT_SCORES.items()
        }
        for t in range(n_thresholds):
            if self._thresholds.channels[t] != channel:
                continue
            threshold = np.broadcast_to(self._thresholds.fields[t], truth.shape)
            known = np.where(np.isfinite(threshold), truth, np.nan)
            brier = brier_at_points(members, truth, threshold[None], fair=self._fair)[0]
            values["brier"][:, t] = self._sums.mean(brier, np.isfinite(known))
            for r, weights in enumerate(self._sums.weights):
                sums = reliability(members, truth, threshold[None], weights, n_bins=N_BINS)
                for name, of_bins in sums._asdict().items():
                    values[f"reliability_{name}"][r, t] = of_bins[0]
        return values
