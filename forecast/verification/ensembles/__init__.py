"""Definitions of the scores of ensembles and of events.

Imports nothing of the other sub-packages of `forecast`.
"""

from forecast.verification.ensembles.energy import energy_score
from forecast.verification.ensembles.events import Reliability, brier_score, reliability
from forecast.verification.ensembles.fractions import (
    Neighbourhoods,
    fractions_skill,
    squared_fractions,
)
from forecast.verification.ensembles.precipitation import PrecipitationClimatology, seeps
from forecast.verification.ensembles.ranked_probability import crps
from forecast.verification.ensembles.ranks import rank_histogram
from forecast.verification.ensembles.spread import (
    mean_squared_error,
    spread_skill_ratio,
    variance,
)

__all__ = [
    "Neighbourhoods",
    "PrecipitationClimatology",
    "Reliability",
    "brier_score",
    "crps",
    "energy_score",
    "fractions_skill",
    "mean_squared_error",
    "rank_histogram",
    "reliability",
    "seeps",
    "spread_skill_ratio",
    "squared_fractions",
    "variance",
]
