"""Spectra of forecasts and truth by degree, and how well they agree at each degree."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.verification.truth import Truth
from sphere_ops.harmonics.transforms import RealSHT, sum_orders

MOST_MEMBERS = 4
_NEGLIGIBLE = 1e-10  # power relative to the peak that may be rounding errors of float32

Array = NDArray[np.floating[Any]]


class SpectralTotals:
    """Sums over some forecasts of the power of forecast and truth per degree, and of their product.

    Channels that lack points have no spectrum. Of an ensemble, the first members count, each for
    itself: the mean over the members is smoother than any of them.

    Attributes:
        channels: Channels that have values everywhere, (c,).
        count: Number of forecasts in the sums at each lead time, int32 (k,).
    """

    def __init__(self, truth: Truth) -> None:
        """Start with zeros."""
        file = truth.file
        names = range(len(file.channel_names))
        whole = truth.valid.all((-2, -1)) & ~truth.moving
        self.channels = np.array([c for c in names if whole[c]], dtype=np.int64)
        self._grid, self._transform = file.grid, RealSHT(file.grid)
        shape = 3, len(names), len(file.steps), self._transform.lmax
        self._sums = np.zeros(shape)
        self.count = np.zeros(len(file.steps), dtype=np.int32)

    def add(self, position: int, channels: slice, members: Array, true: Array) -> None:
        """Add a forecast at a lead time; of an ensemble, channel by channel to the last.

        Args:
            position: Position of the lead time.
            channels: Channels of the fields.
            members: Fields of the members, (m, c, p).
            true: Truth of these channels, (c, p).
        """
        here = np.arange(self._sums.shape[1])[channels]
        whole = np.isin(here, self.channels)
        members, true = members[:MOST_MEMBERS, whole], true[whole]
        if here[-1] == self._sums.shape[1] - 1:
            self.count[position] += 1
        f, t = self._coefficients(members), self._coefficients(true[None])
        product = (f.real * t.real + f.imag * t.imag).mean(0)
        power = [(x.real.square() + x.imag.square()).mean(0) for x in (f, t)]
        found = sum_orders(torch.stack([*power, product]).double()) / (4 * np.pi)
        self._sums[:, here[whole], position] += found.numpy()

    @property
    def sums(self) -> tuple[NDArray[Any], ...]:
        """Arrays to which those of other forecasts are added."""
        return self._sums, self.count

    def spectra(self) -> tuple[Array, Array, Array, Array]:
        """Return the mean power of forecast and truth, their ratio, and the coherence.

        The coherence is the correlation of the coefficients of a degree, over its orders and all
        forecasts: 1 if the patterns agree, 0 if they are independent. Ratio and coherence are
        missing where the truth has no power beyond rounding errors.

        Returns:
            Each (c, k, l), NaN for channels without a spectrum and lead times without forecasts.
        """
        known = np.where(self.count > 0, self.count, np.nan)[:, None]
        means = self._sums / known
        without = np.setdiff1d(np.arange(means.shape[1]), self.channels)
        means[:, without] = np.nan
        forecast, truth, product = means
        with np.errstate(invalid="ignore", divide="ignore"):
            peak = np.nanmax(np.nan_to_num(truth), axis=-1, keepdims=True)
            power = truth > _NEGLIGIBLE * peak
            ratio = np.where(power, forecast / truth, np.nan)
            norm = np.sqrt(forecast * truth)
            coherence = np.where(power & (norm > 0), product / norm, np.nan)
        return forecast, truth, ratio, coherence

    def _coefficients(self, fields: Array) -> torch.Tensor:
        """Return coefficients of fields (m, c, p)."""
        on_grid = np.ascontiguousarray(fields.reshape(*fields.shape[:-1], *self._grid.shape))
        coeffs: torch.Tensor = self._transform(torch.from_numpy(on_grid))
        return coeffs
