"""Sums of all scores over the forecasts of a file, or over a part of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from forecast.verification.events import Fractions, Thresholds
from forecast.verification.precipitation import SeasonalPrecipitation
from forecast.verification.regions import Region
from forecast.verification.sampled.diagnostics import SampledDiagnostics
from forecast.verification.score_table import SCORES
from forecast.verification.scoring.comparing import WITH_FRACTIONS, Comparison
from forecast.verification.scoring.ensemble_scores import EnsembleScorer
from forecast.verification.scoring.fraction_scores import FractionScorer
from forecast.verification.scoring.precipitation_scores import PrecipitationScorer
from forecast.verification.scoring.reading import pieces, read_ahead
from forecast.verification.scoring.scorer import Scorer
from forecast.verification.scoring.totals import Totals
from forecast.verification.truth import Truth
from sphere_ops.parallel.mesh import current


@dataclass(frozen=True)
class Choices:
    """Choices of what is scored.

    Attributes:
        names: Names of the model and the baselines.
        regions: Regions.
        thresholds: Thresholds of events.
        fractions: Events whose fractions are compared in neighbourhoods.
        seasons: Climatologies of precipitation, by the index of the channel.
        spectra: True for the diagnostics of some of the forecasts.
    """

    names: tuple[str, ...]
    regions: tuple[Region, ...]
    thresholds: Thresholds
    fractions: Fractions
    seasons: Mapping[int, SeasonalPrecipitation]
    spectra: bool


@dataclass(frozen=True)
class PartialSums:
    """Sums over a part of the forecasts, to be added to those of the other parts.

    Attributes:
        part: Forecasts.
        sums: Sums of the scores and of the sampled diagnostics, in a fixed order.
        of_each: Values (len(part), ...) of each of the forecasts, by the name of the score.
    """

    part: range
    sums: tuple[NDArray[Any], ...]
    of_each: dict[str, NDArray[Any]]


class Accumulator:
    """Sums of the scores, and of the sampled diagnostics, over some forecasts of a file.

    Attributes:
        totals: Scores.
        sampled: Diagnostics of some of the forecasts; None if they are not wanted.
    """

    def __init__(self, truth: Truth, choices: Choices, own: range) -> None:
        """Start with zeros.

        Args:
            truth: Truth.
            choices: Choices of what is scored.
            own: Forecasts to score here.
        """
        file, vectors, names = truth.file, truth.vectors, choices.names
        self._truth, self._own = truth, own
        scorer = Scorer(truth, truth.region_weights(choices.regions), vectors)
        members = EnsembleScorer(scorer.sums, file.n_members, choices.thresholds)
        of_fractions = FractionScorer(scorer.sums, file.grid, choices.fractions)
        n_values = len(file.channel_names) + len(vectors.names)
        of_seeps = PrecipitationScorer(scorer.sums, choices.seasons, n_values)
        with_fractions = [j for j, name in enumerate(names) if name in WITH_FRACTIONS]
        self.totals = Totals(
            len(names),
            (len(file.init_time), len(choices.regions), n_values, len(file.steps)),
            own,
            vectors,
            SCORES | of_seeps.scores,
            members.scores | of_fractions.scores,
            dict.fromkeys(members.scores, [0]) | dict.fromkeys(of_fractions.scores, with_fractions),
            members.sizes | of_fractions.sizes,
        )
        self.sampled = SampledDiagnostics(truth) if choices.spectra else None
        self._comparison = Comparison(
            names, scorer, members, of_seeps, of_fractions, self.totals, self.sampled
        )

    def accumulate(self, scored: Callable[[int], None] = lambda forecast_index: None) -> None:
        """Score the own forecasts here.

        Args:
            scored: Function that is called with the index of each forecast after its scores.
        """
        for piece in read_ahead(pieces(self._truth, self._own)):
            self._comparison.add(piece)
            if piece.is_last:
                scored(piece.forecast_index)

    def partial_sums(self) -> PartialSums:
        """Return the sums over the own forecasts."""
        rows = slice(self._own.start, self._own.stop, self._own.step)
        of_each = {name: values[rows] for name, values in self.totals.of_each.items()}
        return PartialSums(self._own, self._sums, of_each)

    def add(self, other: PartialSums) -> None:
        """Add the sums over a part of the own forecasts, which is not scored here.

        Raises:
            ValueError: If they are of other scores.
        """
        here, there = sorted(self.totals.of_each), sorted(other.of_each)
        if here != there:
            raise ValueError(
                f"the workers have the scores {', '.join(there)}, this process {', '.join(here)}; "
                "start the workers with the same version, and register the same scores there"
            )
        rows = slice(other.part.start, other.part.stop, other.part.step)
        for total, more in zip(self._sums, other.sums, strict=True):
            total += more
        for name, values in self.totals.of_each.items():
            values[rows] = other.of_each[name]

    def finish(self) -> None:
        """Add the sums of all processes, and set what follows from them."""
        for own in (*self._sums, *self.totals.of_each.values()):
            current().sum_samples(torch.from_numpy(own))  # in place
        self.totals.finish()

    @property
    def _sums(self) -> tuple[NDArray[Any], ...]:
        sampled = () if self.sampled is None else self.sampled.sums
        return *self.totals.sums, *sampled
