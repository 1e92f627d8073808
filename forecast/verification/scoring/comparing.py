"""Comparison of the pieces of a forecast with the truth and the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.layout import CLIMATOLOGY
from forecast.verification.sampled.diagnostics import SampledDiagnostics
from forecast.verification.score_table import RMSE
from forecast.verification.scoring.ensemble_scores import EnsembleScorer
from forecast.verification.scoring.fraction_scores import FractionScorer
from forecast.verification.scoring.precipitation_scores import PrecipitationScorer
from forecast.verification.scoring.reading import Piece
from forecast.verification.scoring.scorer import Scorer, Values
from forecast.verification.scoring.totals import Totals
from forecast.verification.scoring.true_states import TrueState

MODEL, PERSISTENCE = "model", "persistence"
BASELINES = (PERSISTENCE, CLIMATOLOGY)

WITH_FRACTIONS = (MODEL, PERSISTENCE)
"""Forecasts with fractions of events; a mean over years hardly has any."""

Array = NDArray[np.floating[Any]]


class Comparison:
    """Scores of the forecasts of a file, added up piece by piece."""

    def __init__(
        self,
        names: tuple[str, ...],
        scorer: Scorer,
        members: EnsembleScorer,
        precipitation: PrecipitationScorer,
        fractions: FractionScorer,
        totals: Totals,
        sampled: SampledDiagnostics | None = None,
    ) -> None:
        """Begin.

        Args:
            names: Names of the model and the baselines.
            scorer: Scorer of single states.
            members: Scorer of members.
            precipitation: Scorer of the channels with precipitation.
            fractions: Scorer of fractions with an event.
            totals: Totals to add to.
            sampled: Diagnostics to add to.
        """
        self._names, self._scorer, self._members, self._totals = names, scorer, members, totals
        self._precipitation, self._fractions = precipitation, fractions
        self._truth, self._sampled = scorer.truth, sampled
        self._mean: Array = np.empty((0, 0, 0), dtype=np.float32)  # (k, c, p)

    def add(self, piece: Piece) -> None:
        """Compare a piece; the scores of single states need all channels, and come with the last.

        Raises:
            ValueError: If the forecast, or the truth, lacks values.
        """
        states = piece.fields[0]
        if self._members.scores or self._fractions.scores:
            self._add_members(piece)
        if self._sampled is not None:
            self._add_sampled(piece)
        if len(piece.fields) > 1:
            states = self._mean_of(piece)
        if piece.is_last and len(piece.positions):
            self._add_states(piece.forecast_index, piece.positions, states)

    def _add_states(self, i: int, positions: NDArray[np.int64], states: Array) -> None:
        """Compare states (k, c, p), of the mean of an ensemble."""
        file = self._truth.file
        compared = [
            self._compared(i, position, state)
            for position, state in zip(positions.tolist(), states, strict=True)
        ]
        starts, trues = zip(*compared, strict=True)
        self._totals.add_truth(positions, trues)
        if self._sampled is not None:
            for position, state, true in zip(positions.tolist(), states, trues, strict=True):
                if self._sampled.takes(i, position):
                    self._sampled.add_state(i, position, state, true.field)
        prepared = [self._precipitation.prepared(true) for true in trues]
        for j, name in enumerate(self._names):
            values = self._values(name, states, starts, trues)
            if self._precipitation.scores:
                unchanged = self._states_of(name, states, starts, trues)
                values |= self._precipitation(unchanged, prepared)
            self._totals.add(i, j, positions, values, trues)
            if name == MODEL:
                of_channels = values[RMSE][:, : len(file.channel_names)]
                counted = np.stack([true.count for true in trues]) > 0
                complete = np.all(np.isfinite(of_channels) | ~counted, axis=2)
                for k, position in enumerate(positions.tolist()):
                    file.check_complete(complete[k], i, position)

    def _add_members(self, piece: Piece) -> None:
        """Compare the members of each channel of a piece."""
        channels = range(len(self._truth.file.channel_names))[piece.channels]
        for k, position in enumerate(piece.positions.tolist()):
            field = np.zeros((len(self._truth.valid), piece.fields.shape[-1]), dtype=np.float32)
            field[piece.channels] = piece.fields[0, k]
            start, true = self._compared(piece.forecast_index, position, field)
            for c, channel in enumerate(channels):
                members = piece.fields[:, k, c]
                values = self._members(members, channel, true)
                self._totals.add_channel(piece.forecast_index, 0, position, channel, values, true)
                self._add_fractions(piece.forecast_index, position, channel, members, start, true)

    def _add_fractions(
        self,
        i: int,
        position: int,
        channel: int,
        members: Array,
        start: TrueState,
        true: TrueState,
    ) -> None:
        """Compare the fractions of neighbourhoods with an event, of members (m, p)."""
        if not self._fractions.scores:
            return
        fields = {MODEL: members, PERSISTENCE: start.field[None, channel]}
        chosen = [j for j, name in enumerate(self._names) if name in WITH_FRACTIONS]
        found = self._fractions([fields[self._names[j]] for j in chosen], channel, true)
        for j, values in zip(chosen, found, strict=True):
            self._totals.add_channel(i, j, position, channel, values, true)

    def _add_sampled(self, piece: Piece) -> None:
        """Add the spectra of the channels of a piece."""
        assert self._sampled is not None
        i, channels = piece.forecast_index, piece.channels
        for k, position in enumerate(piece.positions.tolist()):
            if self._sampled.takes(i, position):
                true = self._scorer.states(*self._truth.key(i, position))
                self._sampled.add_members(
                    position, channels, piece.fields[:, k], true.field[channels]
                )

    def _compared(self, i: int, position: int, state: Array) -> tuple[TrueState, TrueState]:
        """Return the truth at the start and at the valid time, over their common points.

        Without persistence among the baselines the state at the start is not needed.
        """
        true = self._scorer.states(*self._truth.key(i, position))
        # At the start, channels with a moving mask lack points in the file as in the store.
        lacks_points = state if self._truth.file.steps[position] == 0 else None
        if PERSISTENCE not in self._names:
            return (self._scorer.states.common(true, field=lacks_points)[0],) * 2
        start = self._scorer.states(*self._truth.start(i))
        true, start = self._scorer.states.common(true, start, field=lacks_points)
        return start, true

    def _mean_of(self, piece: Piece) -> Array:
        """Collect the mean over the members, channel by channel; return all channels so far."""
        mean = piece.fields.mean(0, dtype=np.float64)
        if piece.channels.start == 0:
            n_channels = len(self._truth.valid)
            self._mean = np.empty((len(mean), n_channels, mean.shape[-1]), dtype=np.float32)
        self._mean[:, piece.channels] = mean
        return self._mean

    def _states_of(
        self, name: str, states: Array, starts: Sequence[TrueState], trues: Sequence[TrueState]
    ) -> Sequence[Array]:
        """Return the states (c, p) of the model, or of a baseline, for scores of categories.

        Persistence keeps the state: an anomaly added to another climatology has no dry points.
        """
        if name == MODEL:
            return list(states)
        if name == PERSISTENCE:
            return [start.field for start in starts]
        means = [self._scorer.states.reference("anomaly", true.time) for true in trues]
        return [mean for mean in means if mean is not None]

    def _values(
        self, name: str, states: Array, starts: Sequence[TrueState], trues: Sequence[TrueState]
    ) -> Values:
        """Score states of the model, or of a baseline."""
        if name == MODEL:
            return self._scorer.model(states, trues)
        if name == PERSISTENCE:
            return self._scorer.persistence(starts, trues)
        return self._scorer.climatology(trues)
