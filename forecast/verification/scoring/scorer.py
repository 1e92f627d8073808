"""Scores of many states against one truth, with few passes over each.

The error of a state, and its product with the anomaly of the truth, give most scores: see
`fast_forms`. States are float32, differences and sums float64. A pass works on as many channels as
a core's cache holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.verification.score_table import SCORES, Score
from forecast.verification.scoring.fast_forms import FROM_MEANS, Means
from forecast.verification.scoring.true_states import RegionSums, TrueState, TrueStates
from forecast.verification.truth import Truth
from forecast.verification.vectors import Vectors

_CACHE_BYTES = 2**19
"""Size of a buffer of float64; two are in use."""

Array = NDArray[np.floating[Any]]
Values = dict[str, Array]
"""Values of `Score.per_field` by the name of the score, each (k, c, r), vectors after channels."""


class Scorer:
    """Scorer of states over regions.

    Attributes:
        truth: Truth.
        sums: Sums over the regions.
        states: True states.
    """

    def __init__(self, truth: Truth, weights: Array, vectors: Vectors) -> None:
        """Prepare the weights.

        Args:
            truth: Truth.
            weights: Area weight of each point times its part of each region, (r, nlat, nlon).
            vectors: Vectors to score beside the channels.

        Raises:
            ValueError: If a channel has no point that model, store and reference have in common.
        """
        self.truth, self._vectors = truth, vectors
        self._area = weights
        self.sums = RegionSums(weights.reshape(len(weights), -1))
        self.states = TrueStates(truth, self.sums)
        references = truth.references
        no_norm = not references.has_climatology and references.mean is None
        absent = {"anomaly": references.kind is None, "norm": no_norm}
        self._missing = {
            name
            for name, score in SCORES.items()
            if score.reference_required and absent.get(score.reference or "")
        }
        n_channels, n_points = truth.valid.shape[0], truth.valid[0].size
        self._at_once = max(1, min(n_channels, _CACHE_BYTES // (8 * n_points)))
        self._error, self._work = np.empty((2, self._at_once, n_points))

    def model(self, fields: Array, trues: Sequence[TrueState]) -> Values:
        """Return the scores of forecast states (k, c, p)."""
        means = [
            self._error_means(x, true.field, true) for x, true in zip(fields, trues, strict=True)
        ]
        return self._values(np.stack(means, 1), trues, lambda k: fields[k])

    def persistence(self, initials: Sequence[TrueState], trues: Sequence[TrueState]) -> Values:
        """Return the scores of a forecast that keeps the initial state, or its anomaly.

        Where the reference is constant or absent, both are the same. The state at the start and
        the truth have the same points.
        """
        keeps_anomaly = self.truth.conventions.persistent_anomaly

        def state(k: int) -> Array:
            initial = initials[k]
            if not keeps_anomaly:
                return initial.field
            anomaly = initial.field - self._reference(initial)
            return anomaly + self._reference(trues[k])

        means = [
            self._error_means(initial.anomaly, true.anomaly, true)
            if keeps_anomaly
            else self._error_means(initial.field, true.field, true)
            for initial, true in zip(initials, trues, strict=True)
        ]
        return self._values(np.stack(means, 1), trues, state)

    def climatology(self, trues: Sequence[TrueState]) -> Values:
        """Return the scores of the reference of anomalies as a forecast."""

        def state(k: int) -> Array:
            return np.broadcast_to(self._reference(trues[k]), trues[k].field.shape)

        means = [np.stack([-t.mean, t.absolute, t.variance, -t.variance]) for t in trues]
        return self._values(np.stack(means, 1), trues, state)

    def _error_means(self, x: Array, y: Array, true: TrueState) -> Array:
        """Return the means of the error x − y of all channels, (4, c, r); see `_values`."""
        sums = np.empty((4, len(x), len(self._area)))
        for first in range(0, len(x), self._at_once):
            part = slice(first, first + self._at_once)
            n = len(x[part])
            error = np.subtract(x[part], y[part], out=self._error[:n], dtype=np.float64)
            if true.outside is not None:
                np.copyto(error, 0.0, where=true.outside[part])
            work = self._work[:n]
            sums[0, part] = self.sums(error)
            sums[3, part] = self.sums(np.multiply(error, true.anomaly[part], out=work))
            sums[2, part] = self.sums(np.multiply(error, error, out=work))
            sums[1, part] = self.sums(np.abs(error, out=work))
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums / true.weight

    def _values(
        self, of_error: Array, trues: Sequence[TrueState], state: Callable[[int], Array]
    ) -> Values:
        """Return the scores of states at several times.

        Args:
            of_error: Means of the error, of its absolute value and square, and of its product with
                the anomaly of the truth, (4, k, c, r).
            trues: Truth at these times.
            state: Function that returns the state of a time, for scores without a fast form.
        """
        of_truth = np.stack([[t.mean, t.variance, t.size] for t in trues], 1)  # (3, k, c, r)
        channels = Means(*of_error[:, None], *of_truth[:, None])
        vectors = Means(*self._vectors.components(of_error), *self._vectors.components(of_truth))
        values = {}
        for name, score in SCORES.items():
            with np.errstate(invalid="ignore", divide="ignore"):
                if name in self._missing:
                    n_values = of_error.shape[2] + len(self._vectors.names)
                    values[name] = np.full((len(trues), n_values, len(self._area)), np.nan)
                elif name in FROM_MEANS:
                    form = FROM_MEANS[name]
                    values[name] = np.concatenate([form(channels), form(vectors)], axis=1)
                else:
                    found = [self._by_definition(score, state(k), t) for k, t in enumerate(trues)]
                    values[name] = np.stack(found)
        return values

    def _by_definition(self, score: Score, state: Array, true: TrueState) -> Array:
        """Return the values (c, r) of `Score.per_field` for a state (c, p); NaN for vectors."""
        shape = self.truth.valid.shape
        found = np.full((shape[0] + len(self._vectors.names), len(self._area)), np.nan)
        references: list[Array] = []
        if score.reference is not None:
            reference = self.states.reference(score.reference, true.time)
            zero = np.zeros((shape[0], 1))
            on_grid = np.broadcast_to(zero if reference is None else reference, true.field.shape)
            references.append(on_grid.reshape(shape))
        field = true.field.astype(np.float64)
        if true.outside is not None:
            field[true.outside] = np.nan
        field, state = field.reshape(shape), state.reshape(shape)
        for r, area in enumerate(self._area):
            truth = np.where(area > 0, field, np.nan)
            found[: shape[0], r] = score.per_field(state, truth, *references, area)
        return found

    def _reference(self, true: TrueState) -> Array:
        """Return the reference of anomalies at the time of a state, float64 (c, ...); 0 if none."""
        found = self.states.reference("anomaly", true.time)
        return np.zeros((len(true.field), 1)) if found is None else found.astype(np.float64)
