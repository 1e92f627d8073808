"""Intervals of the scores of a scores file."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.layout import INIT_TIME, TRAJECTORY
from forecast.verification import metrics
from forecast.verification.ensembles.spread import spread_skill_ratio
from forecast.verification.score_table import (
    OF_EACH,
    RANK,
    RMSE,
    SPREAD_SKILL,
    Score,
    known_scores,
)
from forecast.verification.scores_file import NOTES, REGION, SPREAD
from forecast.verification.significance import blocks
from forecast.verification.significance.resampling import N_RESAMPLES, Intervals, bootstrap

Array = NDArray[np.floating[Any]]

CONFIDENCE = 0.95
LOWER, UPPER = "_lower", "_upper"


@dataclass(frozen=True)
class Settings:
    """Settings of the intervals.

    Attributes:
        confidence: Probability that an interval covers the true value.
        seed: Seed of the resamples.
        block_length: Number of consecutive starts in a block; from the autocorrelation if None.
    """

    confidence: float = CONFIDENCE
    seed: int = 0
    block_length: int | None = None

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ValueError: If one of them is not possible.
        """
        if not 0 < self.confidence < 1:
            raise ValueError(
                f"confidence {self.confidence:g}; expected a number between 0 and 1, such as 0.95"
            )
        if self.block_length is not None and self.block_length < 1:
            raise ValueError(
                f"block length {self.block_length}; expected a number of starts from 1"
            )

    def intervals(
        self, parts: Sequence[xr.DataArray], statistic: Callable[..., Array], lowest: float
    ) -> Intervals:
        """Return intervals over the first dim of the parts, `init_time` or `trajectory`."""
        independent = parts[0].dims[0] == TRAJECTORY
        return bootstrap(
            [part.values for part in parts],
            statistic,
            confidence=self.confidence,
            seed=self.seed,
            block_length=1 if independent else self.block_length,
            lowest=lowest,
        )

    def attributes(self, dim: Hashable) -> dict[str, Any]:
        """Return the attributes of the ends of intervals.

        Args:
            dim: Dim of the starts.
        """
        lengths = "of lengths from the autocorrelation (Politis and White 2004)"
        if dim == TRAJECTORY or self.block_length == 1:
            lengths = "of one start each"
        elif self.block_length is not None:
            lengths = f"of {self.block_length} starts"
        return {
            "confidence": self.confidence,
            "method": f"circular block bootstrap over the starts with {N_RESAMPLES} resamples of "
            f"blocks {lengths}, seed {self.seed}, widened for the correlation between blocks and "
            "the number of blocks",
            "comment": "Of each point alone. Missing where there are fewer than "
            f"{blocks.MIN_STARTS} starts, or where they are so correlated that fewer than "
            f"{blocks.MIN_INDEPENDENT:g} count as independent.",
        }


def reduction(score: Score) -> tuple[Callable[..., Array], float]:
    """Return the function from means over the starts to a score, and its smallest value.

    The means are those of `parts_of`.
    """
    if score.parts:
        return score.per_field, -np.inf
    return (lambda mean: score.reduce(mean, 1)), 0.0 if score.root else -np.inf


def parts_of(score: Score, scores: xr.Dataset) -> list[xr.DataArray] | None:
    """Return the values of each start whose means give a score; None if some are absent."""
    names = [name + OF_EACH for name in score.parts or (score.name,)]
    return [scores[name] for name in names] if set(names) <= set(scores.data_vars) else None


def with_intervals(scores: xr.Dataset, settings: Settings) -> xr.Dataset:
    """Add the ends of intervals, `<score>_lower` and `<score>_upper`, to scores.

    The intervals are those of the mean over all starts like these: they say how far the score of
    another set of starts may be from this one. With fewer starts than an interval needs, only a
    note is added.

    Args:
        scores: Scores with the values of each forecast.
        settings: Settings of the intervals.
    """
    dim = starts_dim(scores)
    few = few_starts(scores.sizes[dim])
    if few:
        return with_note(scores, few)
    in_order = dim != INIT_TIME or scores.indexes[INIT_TIME].is_monotonic_increasing
    ordered = scores if in_order else scores.sortby(INIT_TIME)  # sorting copies all values
    attributes = settings.attributes(dim)
    added, missing = {}, np.zeros(scores.sizes["lead_time"], dtype=bool)
    for name, parts, statistic, lowest in _statistics(ordered):
        score = scores[name]
        lower, upper = np.full((2, *score.shape), np.nan)
        axis = score.dims.index(REGION)
        for region in range(score.sizes[REGION]):  # one at a time needs less memory
            found = settings.intervals(
                [part.isel({REGION: region}) for part in parts], statistic, lowest
            )
            place: tuple[int | slice, ...] = (*(slice(None),) * axis, region)
            known = np.isfinite(score.values[place])
            lower[place] = np.where(known, found.lower, np.nan)
            upper[place] = np.where(known, found.upper, np.nan)
        lacks = np.isnan(lower) & np.isfinite(score.values)
        at = score.dims.index("lead_time")
        missing |= lacks.any(tuple(i for i in range(score.ndim) if i != at))
        for end, values, word in ((LOWER, lower, "Lower"), (UPPER, upper, "Upper")):
            meaning = f"{word} end of the interval: {score.attrs['long_name']}"
            added[name + end] = (
                score.dims,
                values,
                score.attrs | {"long_name": meaning} | attributes,
            )
    completed = scores.assign(added)
    if not missing.any():
        return completed
    return with_note(
        completed,
        f"no interval of some score at {missing.sum()} of {len(missing)} lead times: too few "
        "starts, or too correlated ones",
    )


def starts_dim(scores: xr.Dataset) -> str:
    """Return the dim of the starts: `init_time` or `trajectory`."""
    return str(scores[RMSE + OF_EACH].dims[0])


def few_starts(n: int) -> str | None:
    """Return the reason for no intervals; None if there are enough starts."""
    if n >= blocks.MIN_STARTS:
        return None
    return f"no intervals: {n} start{'s' * (n != 1)}, and {blocks.MIN_STARTS} are needed"


def with_note(scores: xr.Dataset, note: str) -> xr.Dataset:
    """Add a note to the attributes of scores."""
    notes = [*str(scores.attrs.get(NOTES, "")).splitlines(), note]
    return scores.assign_attrs({NOTES: "\n".join(notes)})


def _statistics(
    scores: xr.Dataset,
) -> Iterator[tuple[str, list[xr.DataArray], Callable[..., Array], float]]:
    """Yield name, values of each start, statistic and smallest value of the scores."""
    for score in known_scores().values():
        parts = parts_of(score, scores)
        if parts is not None and score.name in scores:
            yield score.name, parts, *reduction(score)
    if SPREAD_SKILL.name in scores and RANK in scores.sizes:
        n_members = scores.sizes[RANK] - 1

        def spread_skill(variance: Array, squared_error: Array) -> Array:
            return spread_skill_ratio(variance, squared_error, n_members)

        of_both = [scores[name + OF_EACH] for name in (SPREAD, RMSE)]
        yield SPREAD_SKILL.name, of_both, spread_skill, 0.0
    if "skill" in scores:
        each = scores[RMSE + OF_EACH]
        model, *_ = each.forecast.values
        of_baselines = each.sel(forecast=scores.baseline.values)
        of_model = each.sel(forecast=[model] * scores.sizes["baseline"])

        def skill(model: Array, baseline: Array) -> Array:
            return metrics.skill(np.sqrt(model), np.sqrt(baseline))

        yield "skill", [of_model, of_baselines], skill, -np.inf
