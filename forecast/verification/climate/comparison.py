"""Comparison of two climates, with the distance that sampling alone explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.verification.climate.diagnostic import OF_CHANNEL, Diagnostic, Result
from forecast.verification.climate.groups import halvings

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Row:
    """Distance of one quantity of the forecast from the truth.

    Attributes:
        measure: Name of the distance.
        long_name: Its description.
        quantity: Channel or budget.
        units: Units of the distance.
        distance: Distance of forecast and truth.
        expected: Distance to expect of another realisation of the truth as long as the forecast.
        largest: Largest distance of halves of the truth, scaled likewise.
    """

    measure: str
    long_name: str
    quantity: str
    units: str
    distance: float
    expected: float
    largest: float

    @property
    def ratio(self) -> float:
        """Distance over the expected one: about 1 if as good as another realisation."""
        return self.distance / self.expected if self.expected > 0 else np.nan


@dataclass(frozen=True)
class Comparison:
    """Statistics of forecast and truth, and their distances.

    Attributes:
        forecast: Statistics of the forecast.
        truth: Statistics of the truth.
        sampling: Standard deviation of forecast minus truth by sampling alone, of those statistics
            for which it is computed; of logarithms if the statistic is logarithmic.
        rows: Distances.
    """

    forecast: Result
    truth: Result
    sampling: Result
    rows: tuple[Row, ...]


def compare(
    forecast: Diagnostic, truth: Diagnostic, n_forecast: int, group_sizes: NDArray[np.int64]
) -> Comparison:
    """Compare the statistics of forecast and truth.

    A difference of two independent samples of n₁ and n₂ states has a variance proportional to
    1/n₁ + 1/n₂. Halves of the truth give the factor, by the mean over their halvings.

    Args:
        forecast: Diagnostic of the forecast.
        truth: Diagnostic of the truth.
        n_forecast: Number of states of the forecast.
        group_sizes: Number of states of each group of the truth, (G,).
    """
    a, b = forecast.result(forecast.everything), truth.result(truth.everything)
    n_truth = int(group_sizes.sum())
    by_sampling: dict[str, list[Array]] = {d.name: [] for d in truth.distances}
    squares: dict[str, Array] = {}
    halves = halvings(truth.n_groups)
    for first, second in halves:
        x, y = truth.result(first), truth.result(second)
        counts = group_sizes[first].sum(), group_sizes[second].sum()
        scale = np.sqrt((1 / n_forecast + 1 / n_truth) / (1 / counts[0] + 1 / counts[1]))
        for name, value in truth.distance(x, y).items():
            by_sampling[name].append(value * scale)
        for s in truth.statistics:
            if s.sampled:
                difference = _difference(x[s.name], y[s.name], s.logarithmic) * scale
                squares[s.name] = squares.get(s.name, 0.0) + difference**2 / len(halves)
    distances, expected = truth.distance(a, b), truth.expected(a, b)
    rows = []
    for kind in truth.distances:
        found = np.array(by_sampling[kind.name] or [np.full(len(truth.quantities), np.nan)])
        typical = np.sqrt((found**2).mean(0))
        largest = found.max(0)
        if kind.name in expected:
            typical = expected[kind.name]
            largest = 2 * typical
        for q, (quantity, units) in enumerate(truth.quantities):
            rows.append(
                Row(
                    kind.name,
                    kind.long_name,
                    quantity,
                    kind.units.replace(OF_CHANNEL, units),
                    float(distances[kind.name][q]),
                    float(typical[q]),
                    float(largest[q]),
                )
            )
    return Comparison(a, b, {name: np.sqrt(x) for name, x in squares.items()}, tuple(rows))


def _difference(x: Array, y: Array, logarithmic: bool) -> Array:
    """Return x − y, or ln(x/y)."""
    if not logarithmic:
        return np.asarray(x - y)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((x > 0) & (y > 0), np.log(x / y), np.nan)
