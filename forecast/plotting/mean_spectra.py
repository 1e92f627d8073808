"""Mean power spectra of forecasts and of the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.inference.reader import ForecastFile
from forecast.verification import metrics
from forecast.verification.truth import Truth

Array = NDArray[np.floating[Any]]

_MOST_FORECASTS = 32  # more forecasts hardly change a mean spectrum
_NOISE = 1e-10  # power relative to the peak that may be rounding errors of float32


@dataclass(frozen=True)
class MeanSpectra:
    """Mean power per degree of forecast and truth at several lead times.

    At a lead time with truth, both are means over the same forecasts: those whose valid time is in
    the store, and of a forecast the points that the truth lacks do not count. Other lead times have
    the mean over all forecasts that have not ended.

    Attributes:
        forecast: Power (k, c, l), NaN where all forecasts had ended.
        truth: Power (k, c, l), NaN where there is no truth.
        n_forecasts: Number of forecasts in each mean, (k,).
    """

    forecast: Array
    truth: Array
    n_forecasts: NDArray[np.int64]

    @property
    def negligible(self) -> Array:
        """Power (c, 1) of each channel below which there may be rounding errors alone."""
        return _NOISE * np.nanmax(self.truth[..., 1:], axis=(0, 2))[:, None]

    @property
    def ratio(self) -> Array:
        """Forecast / truth (k, c, l), NaN where the truth is missing or negligible."""
        known = self.truth > self.negligible
        return np.where(known, self.forecast / np.where(known, self.truth, 1.0), np.nan)


def mean_spectra(file: ForecastFile, truth: Truth, positions: Sequence[int]) -> MeanSpectra:
    """Average the spectra over at most 32 forecasts of a file.

    Args:
        file: Forecast file. A forecast that has ended is left out of both means from then on.
        truth: Truth of the file.
        positions: Positions of the lead times, (k,).

    Raises:
        ValueError: If the store has no truth at any of these lead times.
    """
    n = len(file.init_time)
    forecast_indices = np.unique(np.linspace(0, n - 1, min(n, _MOST_FORECASTS)).round().astype(int))
    alive = file.steps[positions] <= file.last_step[forecast_indices, None]  # (n, k)
    known = np.stack([np.isin(positions, truth.known(i, slice(None))) for i in forecast_indices])
    paired = alive & known
    if not paired.any():
        raise ValueError(
            f"store {truth.store.path} has no state at the lead times drawn of {file.path}; give "
            "the store that the forecast started from, or shorter lead times"
        )
    counted = np.where(paired.any(0), paired, alive)
    shape = (len(positions), len(file.channel_names), file.grid.exact_lmax)
    of_forecast, of_truth = np.zeros(shape), np.zeros(shape)
    for i, drawn, compared in zip(forecast_indices, counted, paired, strict=True):
        at = np.array(positions, dtype=np.int64)
        if not drawn.any():
            continue
        states = np.concatenate([file.states(i, slice(p, p + 1)) for p in at[drawn]])
        if compared.any():
            true = truth.states(i, at[compared])
            of_truth[compared] += _spectra(true, truth, i, at[compared])
            both = compared[drawn]
            states[both] = np.where(np.isfinite(true), states[both], np.nan)
        of_forecast[drawn] += _spectra(states, truth, i, at[drawn])
    with np.errstate(invalid="ignore"):
        return MeanSpectra(
            of_forecast / counted.sum(0)[:, None, None],
            of_truth / paired.sum(0)[:, None, None],
            counted.sum(0),
        )


def _spectra(
    states: Array, truth: Truth, forecast_index: int, positions: NDArray[np.int64]
) -> Array:
    """Return spectra (k, c, l) of states (k, c, nlat, nlon), or of anomalies where masked."""
    complete = np.array([truth.complete(c) for c in range(states.shape[1])])[:, None, None]
    anomaly = np.nan_to_num(states - truth.reference(forecast_index, positions))
    return metrics.spectrum(np.where(complete, states, anomaly), truth.file.grid)
