"""What a convolution consists of: its branches, and the tables that follow from their settings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from typing import Literal

import torch

from sphere_ops.engine.banded import Banded, Blocks
from sphere_ops.engine.layout import ZonalLayout
from sphere_ops.engine.legendre_tables import legendre_tables
from sphere_ops.engine.spectral import SpectralProducts
from sphere_ops.grid import Grid
from sphere_ops.kernels.disco import Normalization, integral_filters
from sphere_ops.kernels.filters import Symbols, stack, symbols
from sphere_ops.kernels.stencils import differential_filters
from sphere_ops.parallel.partition import Orders, Shard


@dataclass(frozen=True)
class IntegralFilter:
    """What names the filters of an integral branch."""

    theta_cutoff: float
    kernel_shape: tuple[int, ...]
    basis_type: str
    normalization: Normalization


@dataclass(frozen=True)
class DifferentialFilter:
    """What names the filters of a differential branch."""

    order: Literal[1, 2]


@dataclass(frozen=True)
class ConvolutionSpec:
    """What names a convolution, but for its weights and channels.

    Attributes:
        grid: of the input.
        grid_out: of the output.
        lmax: degrees of the spectral branch, exclusive; 0 without one.
        filters: of the local branches, in the order of their weights.
        name: says all of it; what the operations take, so that a graph that holds them means the
            same in another process.
    """

    grid: Grid
    grid_out: Grid
    lmax: int
    filters: tuple[IntegralFilter | DifferentialFilter, ...]
    name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Give the spec its name."""
        filters = [asdict(f) for f in self.filters]
        name = json.dumps([asdict(self.grid), asdict(self.grid_out), self.lmax, filters])
        object.__setattr__(self, "name", name)

    @property
    def orders(self) -> int:
        """Wavenumbers that either grid needs; on different grids those that both can hold."""
        nlon, nlon_out = self.grid.nlon, self.grid_out.nlon
        held = nlon // 2 + 1 if nlon == nlon_out else (min(nlon, nlon_out) + 1) // 2
        return held if self.filters else self.mmax

    @property
    def mmax(self) -> int:
        """Orders of the spectral branch, exclusive; those below the Nyquist order."""
        return min(self.lmax, (min(self.grid.nlon, self.grid_out.nlon) + 1) // 2)

    @property
    def scale(self) -> float:
        """Of what comes back from the wavenumbers: unitary transforms may differ in length."""
        return (self.grid_out.nlon / self.grid.nlon) ** 0.5

    def own_orders(self, shard: Shard) -> Orders:
        """The wavenumbers of one rank."""
        return shard.orders(self.orders, self.mmax)


@cache
def spec_from_json(name: str) -> ConvolutionSpec:
    """The spec of a name."""
    grid, grid_out, lmax, filters = json.loads(name)
    parts = [
        DifferentialFilter(**f)
        if "order" in f
        else IntegralFilter(**{**f, "kernel_shape": tuple(f["kernel_shape"])})
        for f in filters
    ]
    return ConvolutionSpec(Grid(**grid), Grid(**grid_out), lmax, tuple(parts))


@dataclass(frozen=True)
class Tables:
    """All constants of a convolution in one dtype on one device, for the wavenumbers of one rank.

    Attributes:
        rows_in: layout of the input.
        rows_out: layout of the output.
        self_conjugate: slots of the wavenumbers 0 and nlon / 2, which have no complex conjugate.
        spectral: number of the wavenumbers, the first, that a spectral branch writes.
        real: the real symbols of the local branches.
        imag: the imaginary ones.
        blocks: how their bands are cut.
    """

    rows_in: ZonalLayout
    rows_out: ZonalLayout
    self_conjugate: tuple[int, ...]
    spectral: int
    real: Banded | None
    imag: Banded | None
    blocks: Blocks | None


@lru_cache(maxsize=16)
def local_symbols(spec: ConvolutionSpec, shard: Shard) -> Symbols:
    """Symbols of all local branches of a convolution side by side, of one rank, float64."""
    of = spec.grid, spec.grid_out, spec.own_orders(shard)
    return stack([_filter_symbols(f, *of) for f in spec.filters])


@lru_cache(maxsize=16)
def _filter_symbols(
    f: IntegralFilter | DifferentialFilter, grid: Grid, grid_out: Grid, orders: Orders
) -> Symbols:
    """Symbols of one branch; the filters, which are whole on every rank, are not kept."""
    match f:
        case IntegralFilter():
            filters = integral_filters(
                grid, grid_out, f.theta_cutoff, f.kernel_shape, f.basis_type, f.normalization
            )
        case DifferentialFilter():
            filters = differential_filters(grid, f.order)
    return symbols(filters, orders)


@lru_cache(maxsize=32)
def layout(spec: ConvolutionSpec, shard: Shard) -> tuple[ZonalLayout, ZonalLayout, Blocks | None]:
    """Rows of input and output, and how the bands of the local branches are cut."""
    grid, grid_out = spec.grid, spec.grid_out
    for of in (grid, grid_out):
        shard.rows(of.nlat)  # refuses fewer rows than ranks before anything is computed
    per_rank = tuple(spec.own_orders(other) for other in shard.all())
    if not spec.filters:
        rows_in = ZonalLayout(grid.nlat, grid.nlon, per_rank, shard, grid.nlat, 0)
        return (
            rows_in,
            ZonalLayout(grid_out.nlat, grid_out.nlon, per_rank, shard, grid_out.nlat, 0),
            None,
        )
    s = local_symbols(spec, shard)
    blocks = Blocks.of(s.first_row, s.real.shape[2], grid.nlat)
    padded_in, padded_out = blocks.count * blocks.rows_in, blocks.count * blocks.rows_out
    return (
        ZonalLayout(grid.nlat, grid.nlon, per_rank, shard, padded_in, blocks.halo_in),
        ZonalLayout(grid_out.nlat, grid_out.nlon, per_rank, shard, padded_out, blocks.halo_out),
        blocks,
    )


@lru_cache(maxsize=32)
def spectral_products(
    spec: ConvolutionSpec, dtype: torch.dtype, device: torch.device, shard: Shard
) -> SpectralProducts:
    """The spectral branch, shared by all layers with the same spec."""
    of = spec.lmax, spec.own_orders(shard).below(spec.mmax), dtype, device
    tables_in, tables_out = (legendre_tables(grid, *of) for grid in (spec.grid, spec.grid_out))
    return SpectralProducts(tables_in, tables_out, spec.scale)


@lru_cache(maxsize=32)
def tables(spec: ConvolutionSpec, dtype: torch.dtype, device: torch.device, shard: Shard) -> Tables:
    """Constants of a convolution, shared by all layers with the same spec."""
    grid, orders = spec.grid, spec.own_orders(shard)
    rows_in, rows_out, blocks = layout(spec, shard)
    alone = [0] + [grid.nlon // 2] * (grid.nlon % 2 == 0)
    self_conjugate = tuple(
        orders.count_below(m) for m in alone if orders.count_below(m) < orders.count_below(m + 1)
    )
    spectral = orders.count_below(spec.mmax)
    if blocks is None:
        return Tables(rows_in, rows_out, self_conjugate, spectral, None, None, None)
    s = local_symbols(spec, shard)
    return Tables(
        rows_in,
        rows_out,
        self_conjugate,
        spectral,
        Banded.of(s.real * spec.scale, s.first_row, blocks, dtype, device),
        Banded.of(s.imag * spec.scale, s.first_row, blocks, dtype, device),
        blocks,
    )
