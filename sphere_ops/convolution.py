"""The sum of all branches as one differentiable operation between two Fourier transforms.

    x --rfft--> Z;  Y[m] = P_mᵀ κ P_m q Z[m] + Σ_k a_k[m] Z[m] W_k;  Y --irfft--> y

Everything between the transforms is a batched matrix product per wavenumber. The transforms are
unitary, so that the backward pass is the same pipeline with transposed tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import torch
from torch import Tensor

from sphere_ops.banded import Banded, Blocks
from sphere_ops.differential import differential_filters
from sphere_ops.filters import Symbols, stack, symbols
from sphere_ops.grid import Grid
from sphere_ops.integral import integral_filters
from sphere_ops.precision import product_dtype, products
from sphere_ops.triangle import Triangle, triangle
from sphere_ops.zonal import (
    Rows,
    cached,
    mix,
    mixed_outer,
    product_into,
    to_rows,
    to_wavenumbers,
)

# Elements of a mixed chunk, which exists once: what a core's cache holds, or 1 GiB of a GPU.
_CHUNK, _LARGE_CHUNK = 1 << 18, 1 << 28


@dataclass(frozen=True)
class IntegralFilter:
    """What names the filters of an integral branch."""

    theta_cutoff: float
    kernel_shape: tuple[int, ...]
    basis_type: str
    normalization: str


@dataclass(frozen=True)
class DifferentialFilter:
    """What names the filters of a differential branch."""

    order: int


@dataclass(frozen=True)
class Spec:
    """What names a convolution, but for its weights and channels.

    Attributes:
        grid: of the input.
        grid_out: of the output.
        lmax: degrees of the spectral branch, exclusive; 0 without one.
        filters: of the local branches, in the order of their weights.
    """

    grid: Grid
    grid_out: Grid
    lmax: int
    filters: tuple[IntegralFilter | DifferentialFilter, ...]

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


@dataclass(frozen=True)
class Tables:
    """All constants of a convolution in one dtype on one device."""

    rows_in: Rows
    rows_out: Rows
    spectral: tuple[Triangle, Triangle] | None
    real: Banded | None
    imag: Banded | None
    blocks: Blocks | None


@lru_cache(maxsize=16)
def local_symbols(spec: Spec) -> Symbols:
    """Symbols of all local branches of a convolution side by side, float64."""
    parts = []
    for f in spec.filters:
        match f:
            case IntegralFilter():
                filters = integral_filters(
                    spec.grid,
                    spec.grid_out,
                    f.theta_cutoff,
                    f.kernel_shape,
                    f.basis_type,
                    f.normalization,
                )
            case DifferentialFilter():
                filters = differential_filters(spec.grid, f.order)
        parts.append(symbols(filters, spec.orders))
    return stack(parts)


@lru_cache(maxsize=32)
def layout(spec: Spec) -> tuple[Rows, Rows, Blocks | None]:
    """Rows of input and output, and how the bands of the local branches are cut."""
    grid, grid_out, orders = spec.grid, spec.grid_out, spec.orders
    if not spec.filters:
        rows_in = Rows(grid.nlat, grid.nlon, orders, grid.nlat, 0)
        return rows_in, Rows(grid_out.nlat, grid_out.nlon, orders, grid_out.nlat, 0), None
    s = local_symbols(spec)
    blocks = Blocks.of(s.first_row, s.real.shape[2], grid.nlat)
    return (
        Rows(grid.nlat, grid.nlon, orders, blocks.count * blocks.rows_in, blocks.halo_in),
        Rows(grid_out.nlat, grid_out.nlon, orders, blocks.count * blocks.rows_out, blocks.halo_out),
        blocks,
    )


@lru_cache(maxsize=32)
def tables(spec: Spec, dtype: torch.dtype, device: torch.device) -> Tables:
    """Constants of a convolution, shared by all layers with the same spec."""
    grid, grid_out = spec.grid, spec.grid_out
    rows_in, rows_out, blocks = layout(spec)
    spectral = None
    if spec.lmax:
        analysis = triangle(grid, spec.lmax, spec.mmax, dtype, device)
        spectral = analysis, triangle(grid_out, spec.lmax, spec.mmax, dtype, device)
    if blocks is None:
        return Tables(rows_in, rows_out, spectral, None, None, None)
    s = local_symbols(spec)
    scale = (grid_out.nlon / grid.nlon) ** 0.5  # of unitary transforms of different lengths
    return Tables(
        rows_in,
        rows_out,
        spectral,
        Banded.of(s.real * scale, s.first_row, blocks, dtype, device),
        Banded.of(s.imag * scale, s.first_row, blocks, dtype, device),
        blocks,
    )


_SPECS: dict[int, Spec] = {}
_KEYS: dict[Spec, int] = {}
_NUMBERS = count()


def spec_key(spec: Spec) -> int:
    """A number that names the spec in the arguments of the operation."""
    if spec not in _KEYS:
        key = next(_NUMBERS)
        _SPECS[key], _KEYS[spec] = spec, key
    return _KEYS[spec]


@torch.library.custom_op("sphere_ops::convolve", mutates_args=())
def convolve(
    x: Tensor, kappa: Tensor, w_real: Tensor, w_imag: Tensor, key: int, precision: str
) -> tuple[Tensor, Tensor]:
    """Sum of all branches.

    Args:
        x: (b, c, nlat, nlon), float32 or float64.
        kappa: spectral weights (lmax, c, o) or, complex, (lmax, 2c, 2o); empty without the branch.
        w_real: weights of the real symbols, (k·o, c); empty without any.
        w_imag: weights of the imaginary symbols, (k·o, c); empty without any.
        key: of the spec, from `spec_key`.
        precision: of the products, from `sphere_ops.precision`; the transforms keep that of x.

    Returns:
        y (b, o, nlat_out, nlon_out), and the input in wavenumbers for the backward pass.
    """
    dtype = product_dtype(x.dtype, precision)
    t = tables(_SPECS[key], dtype, x.device)
    kappa, w_real, w_imag = kappa.to(dtype), w_real.to(dtype), w_imag.to(dtype)
    channels_out = _channels_out(_SPECS[key], kappa, w_real, w_imag, x.shape[1])
    z = to_wavenumbers(x, t.rows_in, dtype)
    y = z.new_empty(2, x.shape[0], t.rows_out.total, channels_out)
    with products(precision, x.device):
        if t.spectral is not None:
            scale = (t.rows_out.nlon / t.rows_in.nlon) ** 0.5
            coeffs = t.spectral[0].analyse(t.rows_in.body(z))
            mixed = _mix_degrees(coeffs, kappa * scale)
            t.spectral[1].synthesise(mixed, t.rows_out.body(y))
        _add_local(t, z, w_real, w_imag, y)
    return to_rows(y, t.rows_out), z


@convolve.register_fake
def _(
    x: Tensor, kappa: Tensor, w_real: Tensor, w_imag: Tensor, key: int, precision: str
) -> tuple[Tensor, Tensor]:
    rows_in, rows_out, _ = layout(_SPECS[key])
    o = _channels_out(_SPECS[key], kappa, w_real, w_imag, x.shape[1])
    y = x.new_empty(x.shape[0], o, rows_out.nlat, rows_out.nlon)
    dtype = product_dtype(x.dtype, precision)
    return y, x.new_empty(2, x.shape[0], rows_in.total, x.shape[1], dtype=dtype)


@torch.library.custom_op("sphere_ops::convolve_backward", mutates_args=())
def convolve_backward(
    dy: Tensor, z: Tensor, kappa: Tensor, w_real: Tensor, w_imag: Tensor, key: int, precision: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `convolve` by x, kappa, w_real and w_imag."""
    t = tables(_SPECS[key], z.dtype, dy.device)
    kappa_z, w_real_z, w_imag_z = kappa.to(z.dtype), w_real.to(z.dtype), w_imag.to(z.dtype)
    dyz = to_wavenumbers(dy, t.rows_out, z.dtype)
    dz = z.new_empty(z.shape)
    dkappa = torch.zeros_like(kappa)
    with products(precision, dy.device):
        if t.spectral is not None:
            scale = (t.rows_out.nlon / t.rows_in.nlon) ** 0.5
            dmixed = t.spectral[1].analyse(t.rows_out.body(dyz), quadrature=False) * scale
            coeffs = t.spectral[0].analyse(t.rows_in.body(z))
            dkappa = _outer_degrees(coeffs, dmixed, kappa.shape)
            dcoeffs = _mix_degrees(dmixed, kappa_z.transpose(1, 2))
            t.spectral[0].synthesise(dcoeffs, t.rows_in.body(dz), quadrature=True)
        dw_real, dw_imag = _local_backward(t, z, dyz, w_real_z, w_imag_z, dz)
    dx = to_rows(dz, t.rows_in)
    return dx, dkappa.to(kappa.dtype), dw_real.to(w_real.dtype), dw_imag.to(w_imag.dtype)


@convolve_backward.register_fake
def _(
    dy: Tensor, z: Tensor, kappa: Tensor, w_real: Tensor, w_imag: Tensor, key: int, precision: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grid = _SPECS[key].grid
    dx = dy.new_empty(dy.shape[0], z.shape[3], grid.nlat, grid.nlon)
    return dx, torch.empty_like(kappa), torch.empty_like(w_real), torch.empty_like(w_imag)


def _setup_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    _, kappa, w_real, w_imag, ctx.key, ctx.precision = inputs
    ctx.save_for_backward(output[1], kappa, w_real, w_imag)


def _backward(ctx, dy: Tensor, _dz: Tensor):  # type: ignore[no-untyped-def]
    z, kappa, w_real, w_imag = ctx.saved_tensors
    gradients = convolve_backward(dy, z, kappa, w_real, w_imag, ctx.key, ctx.precision)
    return *gradients, None, None


convolve.register_autograd(_backward, setup_context=_setup_context)


def _channels_out(
    spec: Spec, kappa: Tensor, w_real: Tensor, w_imag: Tensor, channels_in: int
) -> int:
    if spec.lmax:
        return kappa.shape[2] * channels_in // kappa.shape[1]
    s = local_symbols(spec)
    return w_real.shape[0] // len(s.real) if len(s.real) else w_imag.shape[0] // len(s.imag)


def _degree_blocks(coeffs: Tensor) -> list[tuple[int, int, int]]:
    """Blocks of degrees [first, last) and the orders below which theirs lie."""
    lmax, mmax = coeffs.shape[:2]
    size = 16 if cached(coeffs.device) else math.ceil(lmax / 4)
    return [(a, min(a + size, lmax), min(a + size, lmax, mmax)) for a in range(0, lmax, size)]


def _mix_degrees(coeffs: Tensor, kappa: Tensor) -> Tensor:
    """Mix the channels of every degree: (l, m, b, 2, c) with (l, c, o) to (l, m, b, 2, o)."""
    lmax, mmax, b, _, c = coeffs.shape
    rows = coeffs.view(lmax, -1, kappa.shape[1])  # (l, m·b·2, c), or 2c for a complex kernel
    per_order = rows.shape[1] // mmax if mmax else 0
    out = coeffs.new_empty(lmax, rows.shape[1], kappa.shape[2])
    for first, last, orders in _degree_blocks(coeffs):
        n = orders * per_order
        product_into(rows[first:last, :n], kappa[first:last], out[first:last, :n])
        # The synthesis multiplies these by zero, which memory with a NaN in it would survive.
        out[first:last, n:].zero_()
    return out.view(lmax, mmax, b, 2, kappa.shape[2] * c // kappa.shape[1])


def _outer_degrees(coeffs: Tensor, dmixed: Tensor, shape: torch.Size) -> Tensor:
    """Gradient of the weights of every degree; an order m > 0 stands for −m too."""
    lmax, mmax = coeffs.shape[:2]
    a, d = coeffs.view(lmax, -1, shape[1]), dmixed.view(lmax, -1, shape[2])
    per_order = a.shape[1] // mmax
    out = coeffs.new_empty(shape)
    for first, last, orders in _degree_blocks(coeffs):
        n = orders * per_order
        block_a, block_d = a[first:last, :n], d[first:last, :n]
        total = torch.bmm(block_a.mT, block_d) * 2
        zero = torch.bmm(block_a[:, :per_order].mT, block_d[:, :per_order])
        out[first:last] = total - zero
    return out


def _chunks(t: Tables, columns: int, out: Tensor, rows: Rows) -> list[tuple[int, int, bool]]:
    """Ranges of orders to mix together, and whether the output is there already.

    Where launches count, the few orders without a spectral branch do not get their own: their
    output (2, b, total, o) is set to zero, to be added to like the others.
    """
    orders = t.rows_in.orders
    spectral = t.spectral[0].mmax if t.spectral is not None else 0
    chunk = _CHUNK
    if not cached(out.device):
        chunk = _LARGE_CHUNK
        if 0 < spectral < orders:
            rows.body(out)[:, :, spectral:].zero_()
            spectral = orders
    size = max(1, chunk // (t.rows_in.padded * columns))
    edges = {*range(0, spectral, size), *range(spectral, orders, size), spectral, orders}
    ordered = sorted(e for e in edges if e <= orders)
    return [(a, e, e <= spectral) for a, e in zip(ordered, ordered[1:], strict=False)]


def _add_local(t: Tables, z: Tensor, w_real: Tensor, w_imag: Tensor, y: Tensor) -> None:
    """Add the local branches to y where the spectral branch wrote, and write y elsewhere.

    A real symbol maps real to real and imaginary to imaginary part; an imaginary one maps real to
    imaginary, and imaginary to minus real.
    """
    if t.blocks is None:
        return
    rows_in, rows_out = t.rows_in, t.rows_out
    columns = max(w_real.shape[0], w_imag.shape[0], 1)
    chunks = _chunks(t, columns, y, rows_out)
    for b in range(z.shape[1]):
        for first, last, add in chunks:
            start = rows_in.halo + first * rows_in.padded - t.blocks.offset
            stop = rows_in.halo + last * rows_in.padded + rows_in.halo
            inner = slice(
                rows_out.halo + first * rows_out.padded, rows_out.halo + last * rows_out.padded
            )
            for part in (0, 1):
                out = y[part, b, inner].view(last - first, rows_out.padded, -1)
                written = add
                if t.real is not None:
                    v = mix(z[part, b, start:stop], w_real)
                    t.real.apply(v, first, out, written, 1)
                    written = True
                if t.imag is not None:
                    v = mix(z[1 - part, b, start:stop], w_imag)
                    t.imag.apply(v, first, out, written, -1 if part == 0 else 1)


def _local_backward(
    t: Tables, z: Tensor, dy: Tensor, w_real: Tensor, w_imag: Tensor, dz: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the local branches: dz is added to, those of the weights are returned."""
    wide = torch.promote_types(z.dtype, torch.float32)  # sums over all rows and wavenumbers
    dw_real, dw_imag = torch.zeros_like(w_real, dtype=wide), torch.zeros_like(w_imag, dtype=wide)
    if t.blocks is None:
        return dw_real, dw_imag
    rows_in, rows_out = t.rows_in, t.rows_out
    columns = max(w_real.shape[0], w_imag.shape[0], 1)
    w_real_t, w_imag_t = w_real.t().contiguous(), w_imag.t().contiguous()
    nyquist = rows_in.nlon % 2 == 0 and rows_in.orders == rows_in.nlon // 2 + 1
    chunks = _chunks(t, columns, dz, rows_in)
    for b in range(z.shape[1]):
        for first, last, add in chunks:
            start = rows_out.halo + first * rows_out.padded - t.blocks.offset_t
            stop = rows_out.halo + last * rows_out.padded + rows_out.halo
            inner = slice(
                rows_in.halo + first * rows_in.padded, rows_in.halo + last * rows_in.padded
            )
            single = [0] * (first == 0) + [last - first - 1] * (nyquist and last == rows_in.orders)
            for part in (0, 1):
                target = dz[part, b, inner]
                written = add
                for banded, w_t, dw, source, sign in (
                    (t.real, w_real_t, dw_real, part, 1),
                    (t.imag, w_imag_t, dw_imag, 1 - part, 1 if part == 0 else -1),
                ):
                    if banded is None:
                        continue
                    dv = z.new_empty(last - first, rows_in.padded, w_t.shape[1])
                    banded.apply_transposed(dy[source, b, start:stop], first, dv, sign)
                    dx = mix(dv.view(-1, w_t.shape[1]), w_t)
                    target.add_(dx) if written else target.copy_(dx)
                    written = True
                    # An order m > 0 stands for −m too; 0 and the Nyquist order for themselves.
                    for order in single:
                        dv[order].mul_(0.5)
                    dw += mixed_outer(dv.view(-1, w_t.shape[1]), z[part, b, inner])
    return dw_real * 2, dw_imag * 2
