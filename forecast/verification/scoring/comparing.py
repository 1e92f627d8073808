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
from forecast.verification.scoring.reading import Piece
from forecast.verification.scoring.scorer import Scorer, Values
from forecast.verification.scoring.totals import Totals
from forecast.verification.scoring.true_states import TrueState

MODEL, PERSISTENCE = "model", "persistence"
BASELINES = (PERSISTENCE, CLIMATOLOGY)

Array = NDArray[np.floating[Any]]


class Comparison:
    """Scores of the forecasts of a file, added up piece by piece."""

    def __init__(
        self,
        names: tuple[str, ...],
        scorer: Scorer,
        members: EnsembleScorer,
        totals: Totals,
        sampled: SampledDiagnostics | None = None,
    ) -> None:
        """Begin.

        Args:
            names: Names of the model and the baselines.
            scorer: Scorer of single states.
            members: Scorer of members.
            totals: Totals to add to.
            sampled: Diagnostics to add to.
        """
        self._names, self._scorer, self._members, self._totals = names, scorer, members, totals
        self._truth, self._sampled = scorer.truth, sampled
        self._mean: Array = np.empty((0, 0, 0), dtype=np.float32)  # (k, c, p)

    def add(self, piece: Piece) -> None:
        """Compare a piece; the scores of single states need all channels, and come with the last.

        Raises:
            ValueError: If the forecast, or the truth, lacks values.
        """
        states = piece.fields[0]
        if self._members.scores:
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
        for j, name in enumerate(self._names):
            values = self._values(name, states, starts, trues)
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
            _, true = self._compared(piece.forecast_index, position, field)
            for c, channel in enumerate(channels):
                values = self._members(piece.fields[:, k, c], channel, true)
                self._totals.add_channel(piece.forecast_index, position, channel, values, true)

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

    def _values(
        self, name: str, states: Array, starts: Sequence[TrueState], trues: Sequence[TrueState]
    ) -> Values:
        """Score states of the model, or of a baseline."""
        if name == MODEL:
            return self._scorer.model(states, trues)
        if name == PERSISTENCE:
            return self._scorer.persistence(starts, trues)
        return self._scorer.climatology(trues)
