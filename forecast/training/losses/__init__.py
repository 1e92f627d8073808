"""Training losses: relative norms for one forecast, the CRPS for the members of an ensemble.

May import nothing else of `forecast`.
"""

from forecast.training.losses.crps import EnsembleLoss, almost_fair_crps
from forecast.training.losses.relative import Loss, LossName, channel_weights
from forecast.training.losses.spectral import SpectralError

__all__ = [
    "EnsembleLoss",
    "Loss",
    "LossName",
    "SpectralError",
    "almost_fair_crps",
    "channel_weights",
]
