"""Rank histogram: the place of the truth among the members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from forecast.verification.ensembles.points import Array, checked, space, weights_of

Ties = Literal["split", "random"]


def rank_histogram(
    members: ArrayLike,
    truth: ArrayLike,
    area_weights: ArrayLike,
    *,
    ties: Ties = "split",
    seed: int | Sequence[int] = 0,
) -> Array:
    """Share of the area at which the truth has each rank among the members (Hamill 2001).

    The rank is the number of members below the truth, 0 to m. The histogram of members that are
    drawn from the same distribution as the truth is flat, 1/(m + 1). A histogram like a U is that
    of an ensemble with too little spread or with a bias.

    Args:
        members: Members, (m, ..., nlat, nlon) or (m, ..., p).
        truth: Truth.
        area_weights: Area weights, (nlat, 1) or (p,).
        ties: Treatment of k members equal to the truth, of which rainless points have many: `split`
            gives each of the k + 1 possible ranks an equal share of the area, `random` draws one.
        seed: Seed of the draws.

    Returns:
        Shares (..., m + 1), whose sum is 1; NaN if a member is missing where the truth is not.

    Raises:
        ValueError: If the shapes differ, or the treatment of ties is unknown.
    """
    x, y = checked(members, truth)
    if ties not in ("split", "random"):
        raise ValueError(f"unknown treatment of ties {ties!r}; expected split or random")
    dims = space(np.asarray(area_weights))
    n_points = int(np.prod([y.shape[d] for d in dims]))
    shape, m = y.shape[: y.ndim - len(dims)], len(x)
    weights = weights_of(y, area_weights).reshape(-1, n_points)
    below, equal = (x < y).sum(0), (x == y).sum(0)
    missing = (np.isnan(x).any(0).reshape(-1, n_points) & (weights > 0)).any(1)
    below, equal = below.reshape(-1, n_points), equal.reshape(-1, n_points)
    if ties == "random":
        below = below + np.random.default_rng(seed).integers(0, equal + 1)
        equal = np.zeros_like(equal)
    # Each rank from `below` to `below + equal` gets the same share: the sum of steps up and down.
    row = (m + 2) * np.arange(len(weights))[:, None]
    share, length = weights / (equal + 1), (m + 2) * len(weights)
    steps = np.bincount((row + below).ravel(), share.ravel(), length)
    steps -= np.bincount((row + below + equal + 1).ravel(), share.ravel(), length)
    total = np.where(missing, np.nan, weights.sum(1))[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = steps.reshape(-1, m + 2).cumsum(1)[:, :-1] / total
    return shares.reshape(*shape, m + 1)
