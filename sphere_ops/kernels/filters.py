"""Local filters on the rows of a grid, and their symbols: one banded matrix per wavenumber.

For every output row, a filter holds the weights of the input points around the point of that row
at longitude 0. Points of other columns have the same weights, shifted. A filter is therefore
diagonal in the wavenumber, Y[h', m] = Σ_h a_m[h', h] X[h, m], with a_m the conjugate Fourier
transform of its weights over longitude. A filter that is even in longitude has a real symbol, an
odd one an imaginary symbol. Mirror images are combined in pairs, so that every symbol is purely
real or purely imaginary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.parallel.partition import Orders

_MIRROR_TOLERANCE = 1e-9  # relative; mirror images agree to rounding in float64


@dataclass(frozen=True)
class BandedFilters:
    """Weights of K filters on the rows near each output row.

    Attributes:
        first_row: First input row of each output row's band, (nlat_out,) int64.
        values: Weights, (K, nlat_out, band, nlon_in) float64; rows beyond the grid hold zeros.
    """

    first_row: Tensor
    values: Tensor


@dataclass(frozen=True)
class Filter(ABC):
    """Settings that identify the filters of a local branch; hashable, with numbers and text only.

    Specs of operations refer to a subclass by its name.
    """

    kinds: ClassVar[dict[str, type[Filter]]] = {}

    def __init_subclass__(cls) -> None:
        """Register the subclass."""
        Filter.kinds[cls.__name__] = cls

    @abstractmethod
    def sample(self, grid: Grid, grid_out: Grid) -> BandedFilters:
        """Return the weights of the filters, for input on one grid and output on another."""


@dataclass(frozen=True)
class Symbols:
    """Purely real and purely imaginary symbols of K filters.

    Attributes:
        first_row: First input row of each output row's band, (nlat_out,) int64.
        real: Real symbols, (K_real, nlat_out, band, orders) float64.
        imag: Imaginary parts of the imaginary symbols, (K_imag, nlat_out, band, orders) float64.
        combine_real: Matrix from filter weights to real-symbol weights, (K_real, K) float64.
        combine_imag: Matrix from filter weights to imaginary-symbol weights, (K_imag, K) float64.
    """

    first_row: Tensor
    real: Tensor
    imag: Tensor
    combine_real: Tensor
    combine_imag: Tensor


def band_rows(grid: Grid, grid_out: Grid, radius: float) -> tuple[Tensor, int]:
    """Return the band of input rows within `radius` (radians) of each output row.

    The difference in colatitude never exceeds the geodesic distance, so that points beyond a pole
    are in the band too.

    Returns:
        First row of each band, (nlat_out,), and the common number of rows of the bands.
    """
    distance = (grid.colatitude[None, :] - grid_out.colatitude[:, None]).abs()
    inside = distance <= radius
    inside[torch.arange(grid_out.nlat), distance.argmin(dim=1)] = True
    count = inside.sum(dim=1)
    band = int(count.max())
    first = inside.to(torch.int8).argmax(dim=1)
    return torch.minimum(first, torch.tensor(grid.nlat - band)).clamp(min=0), band


def symbols(filters: BandedFilters, orders: Orders) -> Symbols:
    """Return the symbols of filters for some wavenumbers.

    Args:
        filters: K filters.
        orders: Wavenumbers, below nlon_in // 2 + 1.
    """
    even, odd, combine_even, combine_odd = _mirror_pairs(filters.values)
    return Symbols(
        filters.first_row,
        _transform(even, orders.index).real.contiguous(),
        -_transform(odd, orders.index).imag,  # imaginary part of the conjugate
        combine_even,
        combine_odd,
    )


def _transform(values: Tensor, orders: Tensor) -> Tensor:
    """Return some orders of the Fourier transform over longitude, row by row; K may be 0."""
    out = values.new_zeros(*values.shape[:-1], len(orders), dtype=torch.complex128)
    for row in range(values.shape[1] if len(values) else 0):
        out[:, row] = torch.fft.rfft(values[:, row], dim=-1)[..., orders]
    return out


def _mirror_pairs(values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split filters into even and odd ones; K in all if each has a mirror image among them.

    For two filters that are mirror images of each other, w₁ f₁ + w₂ f₂ is (w₁ + w₂) times their
    even part plus (w₁ − w₂) times their odd part. A filter without a partner contributes both of
    its parts.

    Returns:
        Even filters, odd filters, and the matrices from filter weights to their weights.
    """
    k = len(values)
    mirrored = values.flip(-1).roll(1, dims=-1)  # λ -> −λ
    scale = values.abs().amax(dim=(1, 2, 3)).clamp(min=1e-300)
    even, odd, rows_even, rows_odd = [], [], [], []
    done: set[int] = set()
    for i in range(k):
        if i in done:
            continue
        partner = next(
            (
                (j, sign)
                for j in range(i, k)
                if j not in done
                for sign in (1.0, -1.0)
                if (mirrored[i] - sign * values[j]).abs().max() <= _MIRROR_TOLERANCE * scale[i]
            ),
            None,
        )
        unit = torch.eye(k, dtype=values.dtype)
        parts = (values[i] + mirrored[i]) / 2, (values[i] - mirrored[i]) / 2
        if partner is None:
            weights_even, weights_odd = unit[i], unit[i]
        elif partner[0] == i:
            weights_even = weights_odd = unit[i]
        else:
            j, sign = partner
            done.add(j)
            weights_even, weights_odd = unit[i] + sign * unit[j], unit[i] - sign * unit[j]
        done.add(i)
        if partner is None or partner != (i, -1.0):
            even.append(parts[0])
            rows_even.append(weights_even)
        if partner is None or partner != (i, 1.0):
            odd.append(parts[1])
            rows_odd.append(weights_odd)
    empty = values[:0]
    return (
        torch.stack(even) if even else empty,
        torch.stack(odd) if odd else empty,
        torch.stack(rows_even) if even else values.new_zeros(0, k),
        torch.stack(rows_odd) if odd else values.new_zeros(0, k),
    )


def stack(parts: list[Symbols]) -> Symbols:
    """Concatenate the symbols of several sets of filters, on the union of their bands."""
    if len(parts) == 1:
        return parts[0]
    first = torch.stack([s.first_row for s in parts]).amin(dim=0)
    last = torch.stack([s.first_row + s.real.shape[2] for s in parts]).amax(dim=0)
    band = int((last - first).max())

    def widen(s: Symbols, values: Tensor) -> Tensor:
        out = values.new_zeros(len(values), values.shape[1], band, values.shape[3])
        rows = torch.arange(values.shape[2]) + (s.first_row - first)[:, None]  # (h', band)
        index = rows[None, :, :, None].expand(values.shape)
        return out.scatter_(2, index, values)

    return Symbols(
        first,
        torch.cat([widen(s, s.real) for s in parts]),
        torch.cat([widen(s, s.imag) for s in parts]),
        torch.block_diag(*[s.combine_real for s in parts]),
        torch.block_diag(*[s.combine_imag for s in parts]),
    )
