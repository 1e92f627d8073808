"""Description of a convolution, and the tables that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sphere_ops.engine.banded import Banded, Blocks
from sphere_ops.engine.layout import ZonalLayout
from sphere_ops.engine.legendre_tables import legendre_tables
from sphere_ops.engine.spec import Spec
from sphere_ops.engine.spectral import SpectralProducts
from sphere_ops.engine.tables import in_table_set, shared
from sphere_ops.grid import Grid
from sphere_ops.kernels.filters import Filter, Symbols, stack, symbols
from sphere_ops.parallel.partition import Orders, Shard


@dataclass(frozen=True)
class ConvolutionSpec(Spec):
    """Description of a convolution, but for its weights and channels.

    Attributes:
        grid: grid of the input.
        grid_out: grid of the output.
        lmax: degrees of the spectral branch, exclusive; 0 without one.
        filters: filters of the local branches, in the order of their weights.
    """

    grid: Grid
    grid_out: Grid
    lmax: int
    filters: tuple[Filter, ...]

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
        """Factor applied to the output when nlon changes: the transforms are unitary."""
        return (self.grid_out.nlon / self.grid.nlon) ** 0.5

    def own_orders(self, shard: Shard) -> Orders:
        """The wavenumbers of one rank."""
        return shard.orders(self.orders, self.mmax)


@dataclass(frozen=True, eq=False)
class Tables:
    """Tables of a convolution in one dtype on one device, for the wavenumbers of one rank.

    Attributes:
        layout_in: layout of the input.
        layout_out: layout of the output.
        self_conjugate: slots of the wavenumbers 0 and nlon / 2, which have no complex conjugate.
        spectral: number of the wavenumbers, the first, that a spectral branch writes.
        real: the real symbols of the local branches.
        imag: the imaginary ones.
        blocks: cut of their bands into blocks.
    """

    layout_in: ZonalLayout
    layout_out: ZonalLayout
    self_conjugate: tuple[int, ...]
    spectral: int
    real: Banded | None
    imag: Banded | None
    blocks: Blocks | None


@in_table_set
def local_symbols(spec: ConvolutionSpec, shard: Shard) -> Symbols:
    """Symbols of all local branches of a convolution side by side, of one rank, float64."""
    of = spec.grid, spec.grid_out, spec.own_orders(shard)
    return stack([_filter_symbols(f, *of) for f in spec.filters])


@shared
def _filter_symbols(f: Filter, grid: Grid, grid_out: Grid, orders: Orders) -> Symbols:
    """Symbols of one branch; the filters, which are whole on every rank, are not kept."""
    return symbols(f.sample(grid, grid_out), orders)


@in_table_set
def layouts(spec: ConvolutionSpec, shard: Shard) -> tuple[ZonalLayout, ZonalLayout, Blocks | None]:
    """Layouts of input and output, and the cut of the bands of the local branches into blocks."""
    grid, grid_out = spec.grid, spec.grid_out
    for of in (grid, grid_out):
        shard.rows(of.nlat)  # refuses fewer rows than ranks before anything is computed
    per_rank = tuple(spec.own_orders(other) for other in shard.all())
    if not spec.filters:
        layout_in = ZonalLayout(grid.nlat, grid.nlon, per_rank, shard, grid.nlat, 0)
        return (
            layout_in,
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


@in_table_set
def spectral_products(
    spec: ConvolutionSpec, dtype: torch.dtype, device: torch.device, shard: Shard
) -> SpectralProducts:
    """Legendre products of a convolution."""
    of = spec.lmax, spec.own_orders(shard).below(spec.mmax), dtype, device
    tables_in, tables_out = (legendre_tables(grid, *of, "P") for grid in (spec.grid, spec.grid_out))
    return SpectralProducts(tables_in, tables_out, spec.scale)


@in_table_set
def tables(spec: ConvolutionSpec, dtype: torch.dtype, device: torch.device, shard: Shard) -> Tables:
    """Tables of a convolution."""
    grid, orders = spec.grid, spec.own_orders(shard)
    layout_in, layout_out, blocks = layouts(spec, shard)
    alone = [0] + [grid.nlon // 2] * (grid.nlon % 2 == 0)
    self_conjugate = tuple(
        orders.count_below(m) for m in alone if orders.count_below(m) < orders.count_below(m + 1)
    )
    spectral = orders.count_below(spec.mmax)
    if blocks is None:
        return Tables(layout_in, layout_out, self_conjugate, spectral, None, None, None)
    s = local_symbols(spec, shard)
    return Tables(
        layout_in,
        layout_out,
        self_conjugate,
        spectral,
        Banded.of(s.real * spec.scale, s.first_row, blocks, dtype, device),
        Banded.of(s.imag * spec.scale, s.first_row, blocks, dtype, device),
        blocks,
    )
