"""SEEPS of states over regions; `ensembles.precipitation` has the definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.verification.ensembles.precipitation import (
    PrecipitationClimatology,
    penalties,
    penalty_of,
)
from forecast.verification.precipitation import SeasonalPrecipitation
from forecast.verification.score_table import SEEPS, Score
from forecast.verification.scoring.true_states import RegionSums, TrueState

Array = NDArray[np.floating[Any]]
Prepared = list[tuple[int, Array, NDArray[np.bool_], PrecipitationClimatology]]
"""Channel, penalties of the categories, points that count, and climatology, of one true state."""


class PrecipitationScorer:
    """Scorer of the channels with precipitation.

    Attributes:
        scores: Scores by name; empty without such a channel.
    """

    def __init__(
        self,
        sums: RegionSums,
        climatologies: Mapping[int, SeasonalPrecipitation],
        n_values: int,
    ) -> None:
        """Keep the climatologies.

        Args:
            sums: Sums over the regions.
            climatologies: Climatologies by the index of the channel.
            n_values: Number of channels and vectors.
        """
        self._sums, self._climatologies, self._n_values = sums, climatologies, n_values
        self.scores: dict[str, Score] = {SEEPS.name: SEEPS} if climatologies else {}

    def prepared(self, true: TrueState) -> Prepared:
        """Return what the scores of all states against a true state have in common."""
        found: Prepared = []
        for channel, of_channel in self._climatologies.items():
            climatology = of_channel.at(true.time)
            found.append((channel, *penalties(true.channel(channel), climatology), climatology))
        return found

    def __call__(self, states: Sequence[Array], trues: Sequence[Prepared]) -> dict[str, Array]:
        """Return the scores (k, c, r) of states (c, p), by name; NaN for other channels."""
        found = np.full((len(trues), self._n_values, len(self._sums.weights)), np.nan)
        for k, (state, true) in enumerate(zip(states, trues, strict=True)):
            for channel, of_categories, counted, climatology in true:
                penalty = penalty_of(state[channel], of_categories, climatology)
                found[k, channel] = self._sums.mean(penalty, counted)
        return {SEEPS.name: found}
