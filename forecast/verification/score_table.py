"""Table of the scores that evaluation, report and curves show.

A score is one entry of `SCORES` and one function of a pair of fields. For example, the largest
error, added in a script before it calls `evaluate`:

    import numpy as np
    from forecast.verification.score_table import Score, register

    def max_error(forecast, truth, area_weights):
        difference = np.abs(forecast - truth)
        return difference.max((-2, -1), where=np.isfinite(truth), initial=0.0)

    register(Score("max_error", "Maximum absolute error", max_error, column="max|error"))

The scores file then has `max_error`, and the report a column of it. A score that belongs to the
project has its function in `metrics.py` and its entry below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecast.verification import ensembles, metrics

Array = NDArray[np.floating[Any]]
Reference = Literal["anomaly", "norm"]
"""Reference of anomalies (climatology, else mean state) or of norms (climatology, else mean)."""

RMSE = "rmse"
"""Score that skill, report and shaded curves are based on."""

OF_EACH = "_each"
"""Ending of the values of each forecast, before the mean over the forecasts and the root."""

_TAKEN = (
    "skill",
    "activity_of_truth",
    "n_forecasts",
    "n_points",
    "n_sampled",
    "power",
    "power_of_truth",
    "power_ratio",
    "coherence",
)
"""Other variables of the scores file."""


@dataclass(frozen=True)
class Score:
    """Score of a forecast, averaged over the forecasts of a file.

    Attributes:
        name: Name of the variable in the scores file.
        long_name: Description of the score.
        per_field: Function of (forecast, truth, area_weights), or of (forecast, truth, reference,
            area_weights), that maps fields (..., nlat, nlon) to values (...). The truth is NaN at
            points to leave out.
        reference: Reference that `per_field` takes; None if it takes none.
        reference_required: True if the score is missing where there is no reference; else the
            reference is then zero.
        root: True to take the root after the mean over `init_time`.
        dimensionless: True if the unit is 1, False if it is that of the variable.
        perfect: Value for a perfect forecast; None if the score of the truth is to be met.
        signed: True if a score may miss the perfect one on either side, as a bias does.
        column: Title of the column in the report, with a bar at a possible line break; None to
            leave the score out of the report.
        dims: Dims of the values of `per_field` after those of the fields.
        parts: Scores that this one follows from: `per_field` takes their means over the forecasts,
            before a root. Empty for a score that is a mean over the forecasts itself.
    """

    name: str
    long_name: str
    per_field: Callable[..., Any]
    _: KW_ONLY
    reference: Reference | None = None
    reference_required: bool = True
    root: bool = False
    dimensionless: bool = False
    perfect: float | None = 0.0
    signed: bool = False
    column: str | None = None
    dims: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    @property
    def best(self) -> Literal["lowest", "highest"] | None:
        """The better of two values; None if that is not a matter of their order."""
        if self.perfect is None or self.signed:
            return None
        return "highest" if self.perfect > 0 else "lowest"

    def __call__(self, *fields: ArrayLike) -> Array:
        """Return the score of many forecasts, `init_time` being the first dim.

        Args:
            *fields: Arguments of `per_field`.

        Returns:
            Score of shape (...), without the dims `init_time`, nlat and nlon.
        """
        values = self.per_field(*fields)
        return self.reduce(values.sum(0), len(values))

    def reduce(self, total: Array, count: Array | int) -> Array:
        """Return the mean over `init_time`, or its root.

        Args:
            total: Sum over the forecasts of the values of `per_field`.
            count: Number of forecasts, broadcast against the total; NaN where there are none.
        """
        mean: Array = total / count
        return np.sqrt(mean) if self.root else mean


SCORES = {
    score.name: score
    for score in (
        Score(RMSE, "Root mean square error", metrics.squared_error, root=True),
        Score("mae", "Mean absolute error", metrics.absolute_error),
        Score(
            "acc",
            "Anomaly correlation coefficient",
            metrics.anomaly_correlation,
            reference="anomaly",
            dimensionless=True,
            perfect=1.0,
            column="acc",
        ),
        Score(
            "relative_l2",
            "Norm of the error over norm of the truth's departure from climatology or mean",
            metrics.relative_error,
            reference="norm",
            dimensionless=True,
            column="relative|L2",
        ),
        Score(
            "bias",
            "Mean error, forecast minus truth",
            metrics.mean_error,
            signed=True,
            column="bias",
        ),
        Score(
            "activity",
            "Standard deviation of the anomaly",
            metrics.anomaly_variance,
            reference="anomaly",
            reference_required=False,
            root=True,
            perfect=None,
        ),
    )
}
"""Scores by name. The report begins with the rmse of all forecasts, so it has no column here."""


SEEPS = Score(
    "seeps",
    "Stable equitable error in probability space",
    ensembles.seeps,
    dimensionless=True,
    column="seeps",
)
"""Score of precipitation; `per_field` takes (forecast, truth, climatology, area_weights)."""

THRESHOLD, RANK, BIN, NEIGHBOURHOOD = "threshold", "rank", "probability_bin", "neighbourhood"

ENSEMBLE_SCORES = {
    score.name: score
    for score in (
        Score(
            "crps",
            "Fair continuous ranked probability score; of a single forecast the absolute error",
            ensembles.crps,
            column="crps",
        ),
        Score("spread", "Standard deviation of the members", ensembles.variance, root=True,
              perfect=None),
        Score("energy_score", "Fair energy score of each field", ensembles.energy_score),
        Score(
            "rank_histogram",
            "Share of the area at which the truth has each rank among the members",
            ensembles.rank_histogram,
            dimensionless=True,
            perfect=None,
            dims=(RANK,),
        ),
    )
}  # fmt: skip
"""Scores of ensembles by name; `per_field` takes (members, truth, area_weights), members first.
The scores of `SCORES` are then those of the ensemble mean."""

EVENT_SCORES = {
    score.name: score
    for score in (
        Score(
            "brier",
            "Fair Brier score of the probability of a value above the threshold",
            ensembles.brier_score,
            dimensionless=True,
            dims=(THRESHOLD,),
        ),
        *(
            Score(
                f"reliability_{name}",
                long_name,
                ensembles.reliability,
                dimensionless=True,
                perfect=None,
                dims=(THRESHOLD, BIN),
            )
            for name, long_name in (
                ("area", "Share of the area with a probability in each bin"),
                ("probability", "Area mean of the probability where it is in the bin, else 0"),
                ("observed", "Share of the area with a probability in the bin and an event"),
            )
        ),
    )
}
"""Scores of events by name; `per_field` takes (members, truth, thresholds, area_weights)."""

FRACTION_SCORES = {
    score.name: score
    for score in (
        Score(
            "fbs",
            "Fractions Brier score, the mean squared difference of the fractions with an event",
            ensembles.squared_fractions,
            dimensionless=True,
            dims=(NEIGHBOURHOOD,),
        ),
        Score(
            "fbs_worst",
            "Mean sum of the squares of the fractions with an event of forecast and truth",
            ensembles.squared_fractions,
            dimensionless=True,
            perfect=None,
            dims=(NEIGHBOURHOOD,),
        ),
    )
}
"""Scores of the fractions of neighbourhoods with an event; `per_field` returns both of them."""

FSS = Score(
    "fss",
    "Fractions skill score",
    ensembles.fractions_skill,
    dimensionless=True,
    perfect=1.0,
    dims=(NEIGHBOURHOOD,),
    parts=tuple(FRACTION_SCORES),
)

SPREAD_SKILL = Score(
    "spread_skill",
    "Spread of the members over rmse of their mean, times the root of (m + 1) / m",
    ensembles.spread_skill_ratio,
    dimensionless=True,
    perfect=1.0,
    signed=True,
    column="spread|skill",
)
"""Score that follows from the means of `spread` and `rmse` over the forecasts."""


def known_scores() -> dict[str, Score]:
    """Return all scores that a scores file may have, by name."""
    of_members = ENSEMBLE_SCORES | {SPREAD_SKILL.name: SPREAD_SKILL}
    of_events = EVENT_SCORES | FRACTION_SCORES | {FSS.name: FSS}
    return SCORES | {SEEPS.name: SEEPS} | of_members | of_events


def register(score: Score) -> None:
    """Add a score to the table.

    Raises:
        ValueError: If the scores file has a variable of this name.
    """
    if score.name.removesuffix(OF_EACH) in (*known_scores(), *_TAKEN):
        raise ValueError(
            f"the scores file already has a variable {score.name!r}; give the score another name"
        )
    SCORES[score.name] = score
