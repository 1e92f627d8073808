"""Intervals by a circular block bootstrap over start times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

from forecast.verification.significance import blocks

Array = NDArray[np.floating[Any]]
Statistic = Callable[..., Array]
"""Function of the means over the starts, each (s,), whose result (s,) gets an interval."""

N_RESAMPLES = 1000
_CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Intervals:
    """Intervals of many series; each attribute has the shape of the series without the starts.

    Attributes:
        estimate: Statistic of the means over all starts with values.
        lower: Lower end of the interval; missing (NaN) where there are too few starts.
        upper: Upper end.
        p_value: Probability of a statistic at least as far from zero if zero were true.
        n_starts: Number of starts with values.
        block_length: Number of consecutive starts in a block.
        independent: Number of independent starts whose mean is as certain.
    """

    estimate: Array
    lower: Array
    upper: Array
    p_value: Array
    n_starts: Array
    block_length: Array
    independent: Array


def bootstrap(
    parts: Sequence[ArrayLike],
    statistic: Statistic,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    block_length: int | None = None,
    n_resamples: int = N_RESAMPLES,
    lowest: float = -np.inf,
) -> Intervals:
    """Return intervals of a statistic of means over the starts.

    Each resample draws blocks of consecutive starts, also across the end of the series (Politis and
    Romano 1992), the same for all parts, so that the difference of two forecasts keeps the
    correlation between them. The block length is chosen for each series from the autocorrelation of
    its influence function (`blocks.automatic_lengths`).

    Plain percentiles of such resamples cover too seldom: 86 % in place of 95 % for 200 values with
    an autocorrelation of 0.8. Their distances from the estimate are therefore multiplied by two
    factors: the root of `blocks.inflation`, for correlations that blocks of this length miss, and
    the quotient of quantiles of Student's distribution with `blocks.degrees_of_freedom` and of the
    normal distribution, for the uncertainty of the variance.

    Args:
        parts: Values of each start, (n, ...), in the order of time; one array for each argument of
            the statistic. A start at which one of them is NaN is left out.
        statistic: Function of the means of the parts; see `Statistic`.
        confidence: Probability that an interval covers the true value.
        seed: Seed of the draws. They depend on it, on the number of starts and on the block length
            alone.
        block_length: Length of all blocks; from the autocorrelation if None. With 1, starts count
            as independent, and nothing is corrected for their correlation.
        n_resamples: Number of resamples.
        lowest: Smallest value that the statistic can have; intervals end there.

    Returns:
        Intervals, missing where there are fewer than `blocks.MIN_STARTS` starts or blocks, or fewer
        than `blocks.MIN_INDEPENDENT` independent starts.

    Raises:
        ValueError: If the shapes differ.
    """
    arrays = [np.asarray(part) for part in parts]
    if len({x.shape for x in arrays}) > 1:
        raise ValueError(f"values of shapes {[x.shape for x in arrays]}; expected one shape")
    shape = arrays[0].shape[1:]
    series = [x.reshape(len(x), -1) for x in arrays]
    found = {f.name: np.full(series[0].shape[1], np.nan) for f in fields(Intervals)}
    for known, columns in _by_missing_starts(series):
        x = [part[np.ix_(known, columns)].astype(np.float64) for part in series]
        found["n_starts"][columns] = len(x[0])
        if not len(x[0]):
            continue
        found["estimate"][columns] = statistic(*(part.mean(0) for part in x))
        if len(x[0]) < blocks.MIN_STARTS:
            continue
        phi, lengths = _correlation(_influence(x, statistic), block_length)
        independent = blocks.independent_starts(phi, len(x[0]))
        found["independent"][columns], found["block_length"][columns] = independent, lengths
        enough = (independent >= blocks.MIN_INDEPENDENT) & (
            lengths * blocks.MIN_STARTS <= len(x[0])
        )
        for length in np.unique(lengths[enough]):
            for part in _chunks(np.flatnonzero(enough & (lengths == length)), 4 * n_resamples):
                estimated = np.inf if block_length == 1 else independent[part]
                ends = _resampled(
                    [a[:, part] for a in x],
                    statistic,
                    np.sqrt(blocks.inflation(phi[part], int(length), len(x[0]))),
                    blocks.degrees_of_freedom(int(length), len(x[0]), estimated),
                    confidence,
                    _counts(len(x[0]), int(length), n_resamples, seed),
                )
                for name, values in zip(("lower", "upper", "p_value"), ends, strict=True):
                    found[name][columns[part]] = values
    found["lower"] = np.maximum(found["lower"], lowest)
    return Intervals(**{name: values.reshape(shape) for name, values in found.items()})


def _resampled(
    x: Sequence[Array],
    statistic: Statistic,
    widening: Array,
    freedom: Array,
    confidence: float,
    counts: NDArray[np.int32],
) -> tuple[Array, Array, Array]:
    """Return lower end, upper end and p-value of series (n, s) with one block length."""
    estimate = statistic(*(a.mean(0) for a in x))
    drawn = counts.astype(np.float64)
    resampled = statistic(*(drawn @ a / len(a) for a in x))
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    factor = widening * stdtrit(freedom, 1 - tail) / ndtri(1 - tail)
    error = widening * resampled.std(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(estimate == 0, 0.0, np.abs(estimate) / error)
    return (
        estimate + factor * (low - estimate),
        estimate + factor * (high - estimate),
        2 * stdtr(freedom, -t),
    )


def _influence(x: Sequence[Array], statistic: Statistic) -> Array:
    """Return the change of the statistic with the weight of each start, to first order, (n, s)."""
    means = [part.mean(0) for part in x]
    total = np.zeros_like(x[0])
    for i, part in enumerate(x):
        step = 1e-5 * (np.abs(means[i]) + part.std(0))
        above, below = list(means), list(means)
        above[i], below[i] = means[i] + step, means[i] - step
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = (statistic(*above) - statistic(*below)) / (2 * step)
            total += np.where(step > 0, slope, 0.0) * (part - means[i])
    return np.nan_to_num(total)


def _correlation(influence: Array, block_length: int | None) -> tuple[Array, NDArray[np.int64]]:
    """Return the first autocorrelation and the block length of each series, (s,)."""
    n, s = influence.shape
    if block_length == 1:
        return np.zeros(s), np.ones(s, dtype=np.int64)
    phi, lengths = np.empty(s), np.empty(s, dtype=np.int64)
    for part in _chunks(np.arange(s), 4 * n):
        gamma = blocks.autocovariances(influence[:, part], blocks.n_lags(n))
        phi[part] = blocks.lag_one(gamma, n)
        lengths[part] = blocks.automatic_lengths(gamma, n) if block_length is None else block_length
    return phi, lengths


@lru_cache(maxsize=4)
def _counts(n: int, length: int, n_resamples: int, seed: int) -> NDArray[np.int32]:
    """Return the number of times that each start is in each resample, (n_resamples, n).

    A resample has blocks from random starts on, as many as needed; the last one is shortened, so
    that it has n starts.
    """
    generator = np.random.default_rng([seed, n, length])
    n_blocks = -(-n // length)
    first = generator.integers(0, n, (n_resamples, n_blocks))
    last = first + length
    last[:, -1] -= n_blocks * length - n
    row = (n + length + 1) * np.arange(n_resamples)[:, None]
    size = (n + length + 1) * n_resamples
    steps = np.bincount((row + first).ravel(), minlength=size)
    steps -= np.bincount((row + last).ravel(), minlength=size)
    counts = steps.reshape(n_resamples, -1).cumsum(1, dtype=np.int32)[:, :-1]
    counts[:, :length] += counts[:, n:]
    return np.ascontiguousarray(counts[:, :n])


def _by_missing_starts(
    series: Sequence[Array],
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Yield the starts with values, (n,), and some series that have values at just these."""
    known = np.logical_and.reduce([np.isfinite(x) for x in series])
    packed = np.packbits(known, axis=0)
    _, first, group = np.unique(packed, axis=1, return_index=True, return_inverse=True)
    for i, example in enumerate(first):
        for part in _chunks(np.flatnonzero(group.ravel() == i), 4 * len(known)):
            yield known[:, example], part


def _chunks(indices: NDArray[np.int64], values_each: int) -> Iterator[NDArray[np.int64]]:
    """Split series so that the values of a part take little memory."""
    size = max(1, _CHUNK_BYTES // (8 * values_each))
    for first in range(0, len(indices), size):
        yield indices[first : first + size]
