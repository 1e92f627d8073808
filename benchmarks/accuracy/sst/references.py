"""Linear forecasts of sea surface temperature, fitted to the training years.

All are of anomalies a from the monthly climatology of the training years, whose area mean m is
kept: the ocean of later years is warmer. A forecast for k months ahead is m(t) + f(t), where f is
fitted to a(t + k) − m(t) by least squares, for each lead time.

`damped`: f is c · (a(t) − m(t)), with one c for each point.
`month before`: the same with a second term of a(t − 1) − m(t).
`EOFs`: in addition a ridge regression of what `month before` leaves on the leading principal
components of months t and t − 1. Their number and the ridge are chosen on the validation years.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from data_prep.store.reader import Store

Array = NDArray[np.float64]
_COMPONENTS = (5, 10, 20, 40, 80)
_RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Ridges that are tried, over the number of training months; components have variance 1."""


@dataclass(frozen=True)
class Series:
    """Anomalies of the ocean, month by month.

    Attributes:
        anomaly: Departures from the climatology, (month, point), °C.
        weights: Share of the area of each point; they sum to 1.
        splits: Months of each split, by name.
    """

    anomaly: Array
    weights: Array
    splits: dict[str, NDArray[np.int64]]

    @classmethod
    def from_store(cls, store: Store) -> Series:
        """Read a store of one channel and monthly steps, without gaps."""
        fields = np.stack([store.state(i).numpy()[0] for i in range(len(store.time))])
        fields = fields.reshape(len(fields), -1).astype(np.float64)
        ocean = np.isfinite(fields).all(0)
        area = np.broadcast_to(store.grid.area_weights.numpy(), store.grid.shape).ravel()[ocean]
        splits = {name: store.split_indices(name) for name in ("train", "validation", "test")}
        month = store.time.astype("M8[M]").astype(int) % 12
        anomaly = fields[:, ocean]
        for m in range(12):
            own = splits["train"][month[splits["train"]] == m]
            anomaly[month == m] -= anomaly[own].mean(0)
        return cls(anomaly, area / area.sum(), splits)

    @property
    def mean(self) -> Array:
        """Area mean of each month, (month, 1)."""
        return (self.anomaly @ self.weights)[:, None]

    def pairs(self, split: str, lead: int) -> NDArray[np.int64]:
        """Return the months of a split with a month before and a truth in the split."""
        months = self.splits[split]
        return months[(months > 0) & (months + lead <= months[-1])]

    def squares(self, forecast: Array, starts: NDArray[np.int64], lead: int) -> Array:
        """Return the mean square error over the area of each forecast, (start,), °C².

        Args:
            forecast: Anomalies, (start, point).
            starts: Months that they start from.
            lead: Months ahead.
        """
        return (forecast - self.anomaly[starts + lead]) ** 2 @ self.weights


Forecast = Callable[[NDArray[np.int64]], Array]
"""Function of months that returns the anomalies of forecasts from them, (start, point)."""


def persistence(series: Series, _: int) -> Forecast:
    """Return the forecast that keeps the anomaly."""
    return lambda starts: series.anomaly[starts]


def damped(series: Series, lead: int) -> Forecast:
    """Return the forecast `damped`."""
    return _regression(series, lead, months=1)


def month_before(series: Series, lead: int) -> Forecast:
    """Return the forecast `month before`."""
    return _regression(series, lead, months=2)


def eofs(series: Series, lead: int) -> Forecast:
    """Return the forecast `EOFs`, with the choice that has the least validation error."""
    before, train = month_before(series, lead), series.pairs("train", lead)
    pattern = series.anomaly - series.mean
    scale = np.sqrt(series.weights)
    months = series.splits["train"]
    u, s, vt = np.linalg.svd(pattern[months] * scale, full_matrices=False)
    left = series.anomaly[train + lead] - before(train)
    validation = series.pairs("validation", lead)

    def fitted(count: int, ridge: float) -> Forecast:
        basis = vt[:count].T / s[:count] * np.sqrt(len(months))

        def components(starts: NDArray[np.int64]) -> Array:
            return np.hstack([(pattern[starts - k] * scale) @ basis for k in (0, 1)])

        z = components(train)
        gram = z.T @ z + ridge * len(train) * np.eye(2 * count)
        weights = np.linalg.solve(gram, z.T @ left)
        return lambda starts: before(starts) + components(starts) @ weights

    counts = [count for count in _COMPONENTS if count <= len(s)] or [len(s)]
    tried = [fitted(count, ridge) for count, ridge in product(counts, _RIDGES)]
    errors = [series.squares(f(validation), validation, lead).mean() for f in tried]
    return tried[int(np.argmin(errors))]


def _regression(series: Series, lead: int, months: int) -> Forecast:
    """Return the forecast by a regression at each point on the last months."""

    def predictors(starts: NDArray[np.int64]) -> Array:
        mean = series.mean[starts]
        return np.stack([series.anomaly[starts - k] - mean for k in range(months)], axis=-1)

    train = series.pairs("train", lead)
    x, y = predictors(train), series.anomaly[train + lead] - series.mean[train]
    gram = np.einsum("tpi,tpj->pij", x, x)
    right = np.einsum("tpi,tp->pi", x, y)
    # Under permanent ice all anomalies are zero.
    weights = (np.linalg.pinv(gram, hermitian=True) @ right[..., None])[..., 0]
    return lambda starts: series.mean[starts] + np.einsum("tpi,pi->tp", predictors(starts), weights)


REFERENCES: dict[str, Callable[[Series, int], Forecast]] = {
    "persistence": persistence,
    "damped": damped,
    "month before": month_before,
    "EOFs": eofs,
}
"""Functions of a series and a lead time that fit a forecast, by name."""
