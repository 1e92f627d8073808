"""Diagnostics of some of the forecasts: spectra, coherence and conserved quantities."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.layout import CHANNEL, LEAD_TIME
from forecast.verification.sampled.conserved import ConservedTotals
from forecast.verification.sampled.spectral import SpectralTotals
from forecast.verification.truth import Truth

MOST_FORECASTS = 32  # more forecasts hardly change these means
DEGREE, QUANTITY = "degree", "quantity"

Array = NDArray[np.floating[Any]]
Variable = tuple[tuple[str, ...], NDArray[Any], dict[str, str]]


class SampledDiagnostics:
    """Means over at most 32 forecasts, evenly among all, until they end."""

    def __init__(self, truth: Truth) -> None:
        """Choose the forecasts."""
        self._file = truth.file
        n = len(truth.file.init_time)
        chosen = np.linspace(0, n - 1, min(n, MOST_FORECASTS)).round().astype(int)
        self._chosen = frozenset(chosen.tolist())
        self._spectral, self._conserved = SpectralTotals(truth), ConservedTotals(truth)

    @property
    def without_spectrum(self) -> list[str]:
        """Channels that lack points."""
        whole = self._spectral.channels
        return [name for c, name in enumerate(self._file.channel_names) if c not in whole]

    def takes(self, forecast_index: int, position: int) -> bool:
        """Return True for a forecast that counts, at a lead time at which it has not ended."""
        alive = self._file.steps[position] <= self._file.last_step[forecast_index]
        return bool(alive) and forecast_index in self._chosen

    def add_members(self, position: int, channels: slice, members: Array, true: Array) -> None:
        """Add some channels of a forecast at a lead time; see `SpectralTotals.add`."""
        self._spectral.add(position, channels, members, true)

    def add_state(self, forecast_index: int, position: int, state: Array, true: Array) -> None:
        """Add all channels of a forecast at a lead time; see `ConservedTotals.add`."""
        self._conserved.add(forecast_index, position, state, true)

    @property
    def sums(self) -> tuple[NDArray[Any], ...]:
        """Arrays to which those of other forecasts are added."""
        return *self._spectral.sums, *self._conserved.sums

    def dataset(self, n_channels: int) -> xr.Dataset:
        """Return the diagnostics.

        Args:
            n_channels: Number of channels and vectors of the scores file; vectors have no spectrum.
        """
        variables: dict[str, Variable] = {
            "n_sampled": (
                (LEAD_TIME,),
                self._spectral.count.astype(np.int32),  # CF 1.8 has no 64-bit integers
                {"long_name": "Number of forecasts of spectra and quantities", "units": "1"},
            )
        }
        meanings: tuple[tuple[str, str, dict[str, str]], ...] = (
            ("power", "Mean power of the forecast per degree", {}),
            ("power_of_truth", "Mean power of the truth per degree", {}),
            ("power_ratio", "Power of the forecast over that of the truth", {"units": "1"}),
            ("coherence", "Correlation of forecast and truth per degree", {"units": "1"}),
        )
        dims: tuple[str, ...] = (CHANNEL, LEAD_TIME, DEGREE)
        for values, (name, long_name, units) in zip(
            self._spectral.spectra(), meanings, strict=True
        ):
            padded = np.full((n_channels, *values.shape[1:]), np.nan)
            padded[: len(values)] = values
            variables[name] = dims, padded, {"long_name": long_name, **units}
        found = xr.Dataset(variables, {DEGREE: _degrees(padded.shape[-1])})
        quantities = self._conserved.quantities
        if not quantities:
            return found
        of = ("forecast", "truth")
        for i, values in enumerate(self._conserved.means()):
            name = "conserved" + "_drift" * (i > 1) + "_of_truth" * (i % 2)
            long_name = f"Conserved quantity of the {of[i % 2]}" + ", change since the start" * (
                i > 1
            )
            found[name] = (QUANTITY, LEAD_TIME), values, {"long_name": long_name}
        for name, texts in (
            (QUANTITY, [q.name for q in quantities]),
            ("quantity_long_name", [q.long_name for q in quantities]),
            ("quantity_units", [q.units for q in quantities]),
        ):
            found.coords[name] = (QUANTITY,), np.array(texts, dtype=object), {"long_name": name}
        return found


def _degrees(n: int) -> tuple[tuple[str], NDArray[np.int32], dict[str, str]]:
    meaning = {"long_name": "Spherical-harmonic degree", "units": "1"}
    return (DEGREE,), np.arange(n, dtype=np.int32), meaning
