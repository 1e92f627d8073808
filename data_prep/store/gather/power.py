"""Power of each degree of single states, from which the power about any mean follows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from sphere_ops.grid import Grid

Array = NDArray[np.float64]

_BATCH = 8
_VALUES = 1 << 20
"""Maximum number of values that are transformed together, for more than one state and channel."""
_MOST_STATES, _FEWEST_STATES = 1024, 32
_READ_VALUES = 1 << 27  # maximum number of values in a sample of more than the fewest states


def sampled(count: int, values: int) -> NDArray[np.intp]:
    """Return the positions of a sample of evenly spaced states.

    Args:
        count: Number of states.
        values: Number of values of a state.
    """
    chosen = min(count, _MOST_STATES, max(_FEWEST_STATES, _READ_VALUES // values))
    return np.unique(np.linspace(0, count - 1, chosen).round().astype(np.intp))


@dataclass(frozen=True)
class StatePower:
    """Power of states about their own area means, for n states.

    The departure from another mean is f + δ·v, with f the departure from the own mean (0 where
    values are missing), δ the difference of the means, and v = 1 at points with values, else 0.

    Attributes:
        mean: Area mean over the points with values, (n, c).
        square: Area mean of f² over the sphere, (n, c).
        covered: Area mean of v, (n, c).
        of_state: Power of each degree of f, (n, c, lmax).
        cross: Cross power of f and v, (n, c, lmax).
        of_cover: Power of each degree of v, (n, c, lmax).
    """

    mean: Array
    square: Array
    covered: Array
    of_state: Array
    cross: Array
    of_cover: Array

    @classmethod
    def of(cls, states: NDArray[np.float32], grid: Grid) -> StatePower:
        """Return the power of states (n, c, nlat, nlon), NaN where values are missing."""
        n, channels = states.shape[:2]
        together = min(channels, max(1, _VALUES // (grid.nlat * grid.nlon)))
        batch = min(_BATCH, max(1, _VALUES // (together * grid.nlat * grid.nlon)))
        rows = []
        for i in range(0, n, batch):
            parts = [
                _power(states[i : i + batch, c : c + together], grid)
                for c in range(0, channels, together)
            ]
            rows.append([np.concatenate(part, 1) for part in zip(*parts, strict=True)])
        return cls(*(np.concatenate(part) for part in zip(*rows, strict=True)))

    def about(self, mean: NDArray[np.floating], std: NDArray[np.floating]) -> Array:
        """Return the power of departures from another mean, in squared standard deviations.

        Args:
            mean: Mean of each channel, (c,).
            std: Standard deviation of each channel, (c,).

        Returns:
            Power of each degree, then of the rest of the field, (n, c, lmax + 1).
        """
        shift = (self.mean - mean)[..., None]
        power = self.of_state + 2 * shift * self.cross + shift**2 * self.of_cover
        rest = self.square + shift[..., 0] ** 2 * self.covered - power.sum(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = std[:, None].astype(np.float64) ** 2
            return np.maximum(np.concatenate([power, rest[..., None]], -1), 0) / scale

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return all values as arrays by name, for a file."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def chosen(self, places: NDArray[np.intp]) -> StatePower:
        """Return the power of some of the states."""
        return StatePower(*(getattr(self, part.name)[places] for part in fields(self)))


class Analysis:
    """Spherical harmonic analysis to all degrees of which a grid's quadrature is exact, float64.

    The same as `sphere_ops.RealSHT`, without the import of torch-harmonics (2 s, as long as the
    ingestion of a year at 5.6°) and its dense tables (0.7 GiB at 0.25°). The hemispheres are
    folded: functions with even l − m are symmetric about the equator, the others
    antisymmetric.
    """

    def __init__(self, grid: Grid) -> None:
        """Compute the tables of a grid."""
        self.grid, self.lmax = grid, grid.exact_lmax
        self._half = half = (grid.nlat + 1) // 2
        weights = 4 * math.pi * grid.area_weights[:half, 0].double().numpy()
        if grid.nlat % 2:
            weights[-1] /= 2  # the equator is folded onto itself
        cosine = np.cos(grid.colatitude[:half].double().numpy())
        self._tables = [
            [np.ascontiguousarray(of_order[odd::2] * weights) for odd in (0, 1)]
            for of_order in legendre_functions(self.lmax, cosine)
        ]

    def orders(self, fields: Array) -> Iterator[tuple[int, int, Array]]:
        """Yield coefficients of each order of fields (n, nlat, nlon).

        Yields:
            Order m, first degree l, and the real and imaginary parts of the coefficients of degrees
            l, l + 2, ..., (degree, n, 2).
        """
        n = len(fields)
        fourier = torch.fft.rfft(torch.from_numpy(fields), dim=-1)[..., : self.lmax]
        by_order = torch.view_as_real(fourier).permute(2, 1, 0, 3).contiguous().numpy()
        north, south = by_order[:, : self._half], by_order[:, : -self._half - 1 : -1]
        parities = north + south, north - south  # (m, h, n, 2)
        for m, tables in enumerate(self._tables):
            for odd, table in enumerate(tables):
                if len(table):
                    values = table @ parities[odd][m].reshape(self._half, 2 * n)
                    yield m, m + odd, values.reshape(-1, n, 2)

    def power(self, fields: Array, others: Array | None = None) -> Array:
        """Return the power of each degree of fields (n, nlat, nlon), or their cross power, (n, l).

        The cross power with other fields is Re Σ_m f_lm conj(g_lm) / 4π, over both signs of m.
        """
        power = np.zeros((self.lmax, len(fields)))
        found = self.orders(fields)
        other = found if others is None else self.orders(others)
        for m, l, f in found:
            g = f if others is None else next(other)[2]
            product = np.einsum("lnc,lnc->ln", f, g)
            power[l::2] += product * ((2 - (m == 0)) / (4 * math.pi))
        return power.T


def legendre_functions(lmax: int, cosine: Array) -> Iterator[Array]:
    """Yield the orthonormal associated Legendre functions of each order m from 0 on.

    The recurrence over degrees is that of Holmes and Featherstone (2002, Journal of Geodesy).

    Args:
        lmax: Number of degrees.
        cosine: Cosine of the colatitude, (h,).

    Yields:
        Functions of the degrees m to lmax − 1, (lmax − m, h).
    """
    sine = np.sqrt(1 - cosine**2)
    diagonal = np.full_like(cosine, math.sqrt(1 / (4 * math.pi)))
    for m in range(lmax):
        values = np.zeros((lmax - m, len(cosine)))
        values[0] = diagonal
        if lmax - m > 1:
            values[1] = math.sqrt(2 * m + 3) * cosine * diagonal
        for l in range(m + 2, lmax):
            a = math.sqrt((4 * l * l - 1) / (l * l - m * m))
            b = math.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1))
            values[l - m] = a * (cosine * values[l - m - 1] - b * values[l - m - 2])
        yield values
        diagonal = -math.sqrt((2 * m + 3) / (2 * m + 2)) * sine * diagonal


@lru_cache(maxsize=2)
def analysis(grid: Grid) -> Analysis:
    """Return the analysis on a grid; its tables are kept."""
    return Analysis(grid)


def power_and_rest(fields: Array, grid: Grid) -> Array:
    """Return the power of each degree of fields, and of the rest of them.

    On the degrees of which the quadrature is exact, analysis is an orthogonal projection: the rest
    needs no synthesis.

    Args:
        fields: Fields, (..., nlat, nlon), without missing values.
        grid: Grid of the fields.

    Returns:
        Power, (..., lmax + 1).
    """
    flat = fields.reshape(-1, *grid.shape)
    power = analysis(grid).power(flat)
    rest = np.maximum(_mean_square(flat, grid) - power.sum(-1), 0)
    return np.concatenate([power, rest[:, None]], -1).reshape(*fields.shape[:-2], -1)


def _mean_square(fields: Array, grid: Grid) -> Array:
    area = grid.area_weights[:, 0].numpy()
    return np.asarray(np.einsum("...hw,...hw->...h", fields, fields) @ area)


def _power(states: NDArray[np.float32], grid: Grid) -> tuple[Array, ...]:
    """Return the attributes of `StatePower` for some states."""
    transform, area = analysis(grid), grid.area_weights[:, 0].numpy()
    n, channels = states.shape[:2]
    field = states.astype(np.float64)
    mean, covered = field.sum(-1) @ area, np.ones((n, channels))
    there = ~np.isnan(field) if np.isnan(mean).any() else None
    if there is not None:
        covered = there.sum(-1) @ area
        mean = np.nan_to_num(field).sum(-1) @ area / np.maximum(covered, 1e-300)
    field -= mean[..., None, None]
    cross, of_cover = np.zeros((2, n, channels, transform.lmax))
    of_cover[..., 0] = 1
    if there is not None:
        np.copyto(field, 0.0, where=~there)
        for c in np.flatnonzero(~there.all((0, 2, 3))):
            cover = there[:, c].astype(np.float64)
            cross[:, c] = transform.power(field[:, c], cover)
            constant = (cover == cover[0]).all()
            of_cover[:, c] = transform.power(cover[:1] if constant else cover)
    of_state = transform.power(field.reshape(-1, *grid.shape)).reshape(n, channels, -1)
    return mean, _mean_square(field, grid), covered, of_state, cross, of_cover
