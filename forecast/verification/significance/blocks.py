"""Block lengths of a bootstrap, from the autocorrelation of a series.

Errors of forecasts that start a day apart are correlated, so that their mean is less certain than
that of as many independent errors. A bootstrap that draws blocks of consecutive starts keeps the
correlation within a block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

MIN_STARTS = 10
"""Smallest number of starts, and of blocks, that give an interval."""

MIN_INDEPENDENT = 6.0
"""Smallest number of independent starts, see `independent_starts`, that give an interval."""

_LARGEST = 0.98  # of an autocorrelation; the number of independent starts is then n/99
_LENGTHS = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128])


def autocovariances(x: Array, n_lags: int) -> Array:
    """Return the autocovariances of series (n, s) at the lags 0 to n_lags - 1, (n_lags, s).

    The divisor is n at all lags.
    """
    n = len(x)
    centred = x - x.mean(0)
    size = 1 << (n + n_lags - 1).bit_length()  # long enough that no lag wraps around
    spectrum = np.fft.rfft(centred, size, axis=0)
    return np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size, axis=0)[:n_lags] / n


def lag_one(gamma: Array, n: int) -> Array:
    """Return the first autocorrelation, without the bias of -(1 + 4φ)/n (Kendall 1954).

    Args:
        gamma: Autocovariances (lag, s).
        n: Length of the series.

    Returns:
        Autocorrelation (s,), between 0 and 0.98; 0 of a constant series.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        phi = np.nan_to_num(gamma[1] / gamma[0])
    return np.clip((phi + 1 / n) / (1 - 4 / n), 0.0, _LARGEST)


def independent_starts(phi: Array, n: int) -> Array:
    """Return the number of independent values whose mean is as certain as that of n starts."""
    return n / _bartlett(phi, n, n)


def automatic_lengths(gamma: Array, n: int) -> NDArray[np.int64]:
    """Return block lengths by the rule of Politis and White for the circular block bootstrap.

    Politis and White 2004, Econometric Reviews 23, with the correction by Patton, Politis and White
    2009, Econometric Reviews 28. The rule minimises the mean square error of the variance of the
    mean. Lengths are rounded up to one of a few values, and at most n/10, so that there are at
    least ten blocks.

    Args:
        gamma: Autocovariances (lag, s) at the lags that `n_lags` counts.
        n: Length of the series.

    Returns:
        Block lengths (s,).
    """
    run, last = _run(n), len(gamma) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        small = np.abs(np.nan_to_num(gamma[1:] / gamma[0])) < 2 * np.sqrt(np.log10(n) / n)
    # The first lag from which on `run` autocorrelations are insignificant.
    window = np.lib.stride_tricks.sliding_window_view(small, run, axis=0).all(-1)
    first = np.where(window.any(0), window.argmax(0), last - run)
    bandwidth = np.minimum(2 * np.maximum(first, 1), last)
    lags = np.arange(1, last + 1)[:, None]
    taper = np.clip(2 * (1 - lags / bandwidth), 0.0, 1.0)
    spectrum = gamma[0] + 2 * (taper * gamma[1:]).sum(0)
    slope = 2 * (taper * lags * gamma[1:]).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        length = (1.5 * n * (slope / spectrum) ** 2) ** (1 / 3)
    length = np.nan_to_num(length, nan=1.0, posinf=n)
    return _rounded_up(np.minimum(length, n / 10), n)


def _rounded_up(length: Array, n: int) -> NDArray[np.int64]:
    """Round block lengths up to one of a few values, but not above n/10."""
    lengths = _LENGTHS[max(1, n // 10) >= _LENGTHS]
    place = np.searchsorted(lengths, np.ceil(length - 1e-9))
    return lengths[np.minimum(place, len(lengths) - 1)]


def n_lags(n: int) -> int:
    """Return the number of autocovariances, with that of lag 0, that the rule needs."""
    return min(n, int(np.ceil(np.sqrt(n))) + 2 * _run(n) + 1)


def inflation(phi: Array, length: int, n: int) -> Array:
    """Return the variance of the mean over the expected variance of its bootstrap.

    A bootstrap misses the correlation between blocks and, as it centres the series at its own mean,
    a share b/n of the variance. Both are known for an autoregressive process of first order
    with the autocorrelation φ, and removed with this factor.

    Args:
        phi: First autocorrelation, (s,).
        length: Block length b.
        n: Length of the series.

    Returns:
        Factor (s,), at least 1.
    """
    whole = _bartlett(phi, n, n)
    return whole / (_bartlett(phi, length, n) - length / n * whole)


def degrees_of_freedom(length: int, n: int, independent: Array | float = np.inf) -> Array:
    """Return the degrees of freedom of the variance of a bootstrap with blocks of length b.

    The variance is that of a Bartlett window of b lags: n divided by the sum of the squares of its
    weights, minus one for the mean. They are at most half the number of independent starts, because
    the autocorrelation is uncertain, too: this half was chosen by the coverage of autoregressive
    series (`benchmarks.accuracy.coverage`).

    Args:
        length: Block length b.
        n: Length of the series.
        independent: Number of independent starts; infinite if it is not estimated.
    """
    weights = 1 - np.arange(1, length) / length
    of_window = n / (1 + 2 * float((weights**2).sum())) - 1
    return np.minimum(of_window, np.asarray(independent) / 2)


def _bartlett(phi: Array, length: int, n: int) -> Array:
    """Return Σ_{|k| < b} (1 − |k|/b)(1 − |k|/n) φ^|k|, or with b = n only one of the factors."""
    total, power = np.ones_like(phi), np.ones_like(phi)
    for k in range(1, length):
        power = power * phi
        if power.max(initial=0.0) < 1e-17:  # below rounding, for the result of one series must not
            break  # depend on the other series
        total += 2 * (1 - k / n) * (1 - k / length if length < n else 1.0) * power
    return total


def _run(n: int) -> int:
    """Return the number of consecutive small autocorrelations after which all count as zero."""
    return max(5, int(np.ceil(np.log10(n))))
