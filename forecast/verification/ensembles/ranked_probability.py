"""Continuous ranked probability score of an ensemble."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from forecast.verification.ensembles.points import Array, checked, mean_over_points

_BLOCK_BYTES = 2**20  # members of a block stay in the cache of a core


def crps(
    members: ArrayLike, truth: ArrayLike, area_weights: ArrayLike, *, fair: bool = True
) -> Array:
    """Area mean of the continuous ranked probability score, in the unit of the truth.

    See `crps_at_points` for the definition, and `points` for the shapes.

    Returns:
        Score (...); 0 is perfect, and that of a single forecast would be its mean absolute error.
    """
    x, y = checked(members, truth)
    return mean_over_points(crps_at_points(x, y, fair=fair), y, area_weights)


def crps_at_points(members: ArrayLike, truth: ArrayLike, *, fair: bool = True) -> Array:
    """Continuous ranked probability score at each point.

    mean_i |x_i − y| − Σ_ij |x_i − x_j| / (2 m (m − 1)), the fair score (Ferro 2014, Q. J. R.
    Meteorol. Soc. 140), is in the mean that of an infinite ensemble from which the members are
    drawn. With m² in place of m (m − 1) it is the score of the members' empirical distribution,
    which is larger for small ensembles. The sum over pairs is 2 Σ_k (2k − m − 1) x_(k) of the
    sorted members x_(1) ≤ ... ≤ x_(m) (Zamo and Naveau 2018, Math. Geosci. 50).

    Args:
        members: Members (m, ...).
        truth: Truth (...).
        fair: False for the score of the empirical distribution.

    Returns:
        Score (...), NaN where the truth or a member is.

    Raises:
        ValueError: If the shapes differ, or the fair score has fewer than two members.
    """
    x, y = checked(members, truth, 2 if fair else 1, "the fair CRPS")
    m, shape = len(x), y.shape
    x, y = x.reshape(m, -1), y.reshape(-1)
    rank = 2.0 * np.arange(1, m + 1) - m - 1
    weights = rank / (m * (m - 1) if fair else m * m)
    score = np.empty(y.shape)
    block = max(1, _BLOCK_BYTES // (8 * m))
    for first in range(0, y.size, block):
        part = slice(first, first + block)
        # Each error is rounded once; members whose own size is far larger do not cancel.
        error = np.ascontiguousarray((x[:, part] - y[part]).T)  # (points, m)
        absolute = np.abs(error).mean(1, dtype=np.float64)
        error.sort(axis=1)
        score[part] = absolute - error @ weights
    return score.reshape(shape)
