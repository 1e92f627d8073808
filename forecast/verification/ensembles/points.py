"""Members, truth and area weights, and the mean over the points that count.

All scores of this sub-package share these conventions:

- members are (m, ..., nlat, nlon) and the truth (..., nlat, nlon) with area weights (nlat, 1), or
  members are (m, ..., p) and the truth (..., p) with area weights (p,): the dims of the area
  weights say which dims of the truth are space;
- points where the truth is NaN are left out, and a score without any point is NaN;
- members that are NaN where the truth is not make the score NaN;
- values are float64, except for the sorting of members, which keeps their precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating[Any]]


def checked(
    members: ArrayLike, truth: ArrayLike, at_least: int = 1, purpose: str = "a score"
) -> tuple[Array, Array]:
    """Return members and truth as arrays of floating-point numbers.

    Args:
        members: Members, (m, ...).
        truth: Truth, (...).
        at_least: Smallest number of members.
        purpose: Score that needs so many members, for the message.

    Raises:
        ValueError: If the shapes differ, or there are fewer members.
    """
    x, y = np.asarray(members), np.asarray(truth)
    x = x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)
    y = y if np.issubdtype(y.dtype, np.floating) else y.astype(np.float64)
    if x.ndim != y.ndim + 1 or x.shape[1:] != y.shape:
        raise ValueError(
            f"members of shape {x.shape} and truth of shape {y.shape}; expected members "
            "(m, ...) and truth (...)"
        )
    if len(x) < at_least:
        raise ValueError(
            f"{purpose} needs at least {at_least} members, got {len(x)}; give a forecast with "
            "more members"
        )
    return x, y


def space(area_weights: Array) -> tuple[int, ...]:
    """Return the dims of a field that are space: the last one or two."""
    return tuple(range(-area_weights.ndim, 0))


def weights_of(truth: Array, area_weights: ArrayLike) -> Array:
    """Return the area weights at all points of the truth, 0 where it is missing."""
    weights = np.asarray(area_weights, dtype=np.float64)
    return np.where(np.isfinite(truth), weights, 0.0)


def mean_over_points(values: Array, truth: Array, area_weights: ArrayLike) -> Array:
    """Average over space, weighted by area, at points where the truth has values.

    Args:
        values: Values at all points, (..., nlat, nlon) or (..., p).
        truth: Truth, whose shape broadcasts against that of the values.
        area_weights: Area weights, (nlat, 1) or (p,).

    Returns:
        Mean (...).
    """
    weights = weights_of(truth, area_weights)
    dims = space(np.asarray(area_weights))
    weighted = np.where(weights > 0, values * weights, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return weighted.sum(dims) / np.broadcast_to(weights, weighted.shape).sum(dims)
