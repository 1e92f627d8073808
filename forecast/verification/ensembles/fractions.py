"""Fractions skill score: forecasts of events that may be misplaced by some distance."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecast.verification.ensembles.points import Array, mean_over_points
from sphere_ops.grid import EARTH_RADIUS, Grid

_KEPT_AREAS = 4  # masks that fields have in turn
_NO_AREA = 1e-14  # above the rounding of running sums, below the area of any point


class Neighbourhoods:
    """Spherical caps about the points of a grid, and means over them.

    The neighbourhood of a point is all points whose great-circle distance from it is at most the
    radius, each with its area weight. A window of constant numbers of rows and columns would be
    narrow near the poles, where this one takes more columns: all of a row that lies inside.

    Attributes:
        grid: Grid of the fields.
        radius: Radius of the caps, km.
    """

    def __init__(self, grid: Grid, radius: float) -> None:
        """Find the points of each cap.

        Args:
            grid: Grid of the fields.
            radius: Radius of the caps, km, at least 0; 0 compares point by point.

        Raises:
            ValueError: If the radius is negative.
        """
        if not radius >= 0:
            raise ValueError(f"radius of neighbourhoods {radius} km; expected at least 0")
        self.grid, self.radius = grid, float(radius)
        self._half = _half_widths(grid, 1e3 * radius / EARTH_RADIUS)
        rows, others = np.nonzero(self._half >= 0)
        self._offsets = range(int((others - rows).min()), int((others - rows).max()) + 1)
        keep: Callable[..., Callable[[bytes, tuple[int, ...]], Array]] = lru_cache(_KEPT_AREAS)
        self._area = keep(self._area_of)

    def mean(self, field: ArrayLike, valid: ArrayLike = True) -> Array:
        """Average a field over the neighbourhood of each point, weighted by area.

        Args:
            field: Field (..., nlat, nlon).
            valid: Mask of the points to include, which broadcasts against the field.

        Returns:
            Means (..., nlat, nlon); NaN where a neighbourhood has no valid point.
        """
        x, mask = np.asarray(field, dtype=np.float64), np.asarray(valid, dtype=bool)
        weights = np.where(mask, self.grid.area_weights.double().numpy(), 0.0)
        return self._sum(np.where(mask, x * weights, 0.0)) / self._area(mask.tobytes(), mask.shape)

    def _area_of(self, mask: bytes, shape: tuple[int, ...]) -> Array:
        """Return the valid area of each neighbourhood, NaN where there is none."""
        valid = np.frombuffer(mask, dtype=bool).reshape(shape)
        weights = np.where(valid, self.grid.area_weights.double().numpy(), 0.0)
        area = self._sum(np.broadcast_to(weights, (*shape[:-2], *self.grid.shape)))
        area[area < _NO_AREA] = np.nan
        return area

    def _sum(self, x: Array) -> Array:
        """Sum over the neighbourhood of each point, with running sums along each row."""
        nlat, nlon = self.grid.shape
        # Three copies of a row side by side: a window that crosses the seam is one piece.
        running = np.concatenate([x, x, x], axis=-1).cumsum(-1)
        running = np.concatenate([np.zeros((*x.shape[:-1], 1)), running], axis=-1)
        total, column = np.zeros(x.shape), np.arange(nlon)
        for offset in self._offsets:
            row = np.arange(max(0, -offset), nlat - max(0, offset))
            half = self._half[row, row + offset][:, None]
            used = half[:, 0] >= 0
            row, half = row[used], half[used]
            whole = 2 * half + 1 >= nlon
            first = np.where(whole, nlon, nlon + column - half)
            last = np.where(whole, 2 * nlon, nlon + column + half + 1)
            other = (row + offset)[:, None]
            total[..., row, :] += running[..., other, last] - running[..., other, first]
        return total


def squared_fractions(
    forecast: ArrayLike,
    truth: ArrayLike,
    thresholds: ArrayLike,
    neighbourhoods: Neighbourhoods,
) -> tuple[Array, Array]:
    """Parts of the fractions skill score: mean squared difference, and its largest value.

    The fraction of a neighbourhood is the share of its area where a value is above the threshold.
    Points where the truth is missing are left out of all fractions.

    Args:
        forecast: Forecast (..., nlat, nlon), or members (m, ..., nlat, nlon), whose mean fraction
            is compared.
        truth: Truth (..., nlat, nlon).
        thresholds: Thresholds (t, ...), which broadcast against the truth.
        neighbourhoods: Neighbourhoods on the grid of the fields.

    Returns:
        Area means of (P − O)² and of P² + O², each (..., t), of fractions P of the forecast and O
        of the truth.
    """
    area_weights = neighbourhoods.grid.area_weights.double().numpy()
    p, o = fractions_at_points(forecast, truth, thresholds, neighbourhoods)
    y = np.asarray(truth, dtype=np.float64)
    of_each = (mean_over_points(x, y, area_weights) for x in ((p - o) ** 2, p**2 + o**2))
    difference, largest = (np.moveaxis(mean, 0, -1) for mean in of_each)
    return difference, largest


def fractions_at_points(
    forecast: ArrayLike,
    truth: ArrayLike,
    thresholds: ArrayLike,
    neighbourhoods: Neighbourhoods,
) -> tuple[Array, Array]:
    """Fractions of forecast and truth about each point, each (t, ..., nlat, nlon).

    See `squared_fractions` for the arguments.
    """
    f, y = np.asarray(forecast, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    members, valid = f if f.ndim > y.ndim else f[None], np.isfinite(y)
    limits = np.asarray(thresholds)
    of_forecast, of_truth = (
        np.stack([fraction(x, limit, neighbourhoods, valid) for limit in limits])
        for x in (members, y[None])
    )
    return of_forecast, of_truth


def fraction(
    members: ArrayLike, threshold: ArrayLike, neighbourhoods: Neighbourhoods, valid: ArrayLike
) -> Array:
    """Share of the area about each point where a value is above a threshold.

    Args:
        members: Members (m, ..., nlat, nlon), whose mean share is returned.
        threshold: Threshold, which broadcasts against a member.
        neighbourhoods: Neighbourhoods on the grid of the fields.
        valid: Mask of the points to include, which broadcasts against a member.

    Returns:
        Fractions (..., nlat, nlon), NaN near a valid point at which a member is missing.
    """
    x = np.asarray(members)
    probability = np.where(np.isnan(x).any(0), np.nan, (x > threshold).mean(0))
    return neighbourhoods.mean(probability, valid)


def fractions_skill(squared_difference: ArrayLike, largest: ArrayLike) -> Array:
    """Fractions skill score, 1 − <(P − O)²>/<P² + O²> (Roberts and Lean 2008, MWR 136).

    Args:
        squared_difference: Mean over the forecasts of the first result of `squared_fractions`.
        largest: Mean of the second one.

    Returns:
        Score: 1 is perfect, 0 is that of events that never share a neighbourhood; NaN if neither
        forecasts nor truth have an event.
    """
    d, n = np.asarray(squared_difference), np.asarray(largest)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, 1 - d / n, np.nan)


def _half_widths(grid: Grid, radius: float) -> NDArray[np.int64]:
    """Return the half width in columns of the part of each row inside a cap.

    Args:
        grid: Grid.
        radius: Radius of the cap, radians.

    Returns:
        Half widths (row of the centre, row); nlon for a whole row, -1 for none.
    """
    latitude = np.radians(grid.latitude.double().numpy())
    a, b = latitude[:, None], latitude[None, :]
    distance = np.abs(a - b)
    # haversine: sin²(d/2) = sin²((a − b)/2) + cos a cos b sin²(Δλ/2)
    room = np.sin(min(radius, np.pi) / 2) ** 2 - np.sin(distance / 2) ** 2
    across = np.cos(a) * np.cos(b)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(across > 1e-12, room / across, np.where(room >= 0, 1.0, 0.0))
    half = 2 * np.arcsin(np.sqrt(np.clip(share, 0.0, 1.0)))
    columns = np.floor(half * grid.nlon / (2 * np.pi) + 1e-9).astype(np.int64)
    columns = np.where(share >= 1, grid.nlon, columns)
    return np.where(distance <= radius + 1e-12, columns, -1)
