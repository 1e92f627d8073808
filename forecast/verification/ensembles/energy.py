"""Energy score: the CRPS of whole fields, with a norm in place of the absolute value."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from forecast.verification.ensembles.points import Array, checked, space, weights_of


def energy_score(
    members: ArrayLike,
    truth: ArrayLike,
    area_weights: ArrayLike,
    *,
    scale: ArrayLike | None = None,
    fair: bool = True,
) -> Array:
    """Energy score of fields: mean_i ‖x_i − y‖ − Σ_ij ‖x_i − x_j‖ / (2 m (m − 1)).

    The norm is the root of the area mean square (Gneiting and Raftery 2007, J. Am. Stat. Assoc.
    102). The score judges patterns: members with the right distribution at each point but with the
    wrong correlations between points are worse than the truth's own distribution. All pairs of
    members are taken; WeatherBench 2 takes neighbouring members, which has the same expectation.

    Args:
        members: Members, (m, ..., nlat, nlon) or (m, ..., p).
        truth: Truth.
        area_weights: Area weights, (nlat, 1) or (p,).
        scale: Size of each channel, (c,), in its unit. If given, the dim before space is that of
            channels and belongs to the norm, whose square is the mean over the channels of the
            squares of x/scale.
        fair: False to divide by m² in place of m (m − 1).

    Returns:
        Score (...), without the dim of channels if a scale is given; in the unit of the truth, or
        1.

    Raises:
        ValueError: If the shapes differ, or the fair score has fewer than two members.
    """
    x, y = checked(members, truth, 2 if fair else 1, "the fair energy score")
    dims = space(np.asarray(area_weights))
    weights = weights_of(y, area_weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = weights / weights.sum(dims, keepdims=True)
    n_dims = len(dims)
    if scale is not None:
        sizes = np.asarray(scale, dtype=np.float64)
        n_dims += 1
        weights = weights / sizes.reshape(sizes.shape + (1,) * len(dims)) ** 2 / len(sizes)
    m, shape = len(x), y.shape[: y.ndim - n_dims]
    roots = np.sqrt(weights).reshape(*shape, 1, -1)
    scores = np.empty(shape)
    errors = (x - y.astype(np.float64)).reshape(m, *shape, -1)
    for index in np.ndindex(*shape):
        # The Gram matrix of the errors has all norms of differences of the members.
        error = np.where(roots[index] == 0, 0.0, errors[(slice(None), *index)] * roots[index])
        gram = error @ error.T
        square = np.diagonal(gram)
        between = np.sqrt(np.maximum(square[:, None] + square - 2 * gram, 0.0))
        np.fill_diagonal(between, 0.0)
        pairs = m * (m - 1) if fair else m * m
        scores[index] = np.sqrt(square).mean() - between.sum() / (2 * pairs)
    return scores
