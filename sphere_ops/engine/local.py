"""Local branches on wavenumbers: a channel product for every symbol, then a banded product."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from sphere_ops.engine.layout import ZonalLayout
from sphere_ops.engine.plan import Tables
from sphere_ops.engine.products import (
    channel_matmul_weight_gradient,
    prefers_small_blocks,
    split_to_size,
)

# Elements of a chunk after the channel product, of which one exists at a time: a CPU core's cache,
# or 1 GiB of a GPU.
_CHUNK, _LARGE_CHUNK = 1 << 20, 1 << 28


def _chunks(
    t: Tables, columns: int, out: Tensor, layout: ZonalLayout
) -> list[tuple[int, int, bool]]:
    """Return ranges of orders to process together, and True where to add to existing output.

    If the orders beyond the spectral branch are fewer than a chunk, they do not get a range of
    their own. Their output (2, b, total, o) is set to zero, and added to like that of the others.
    """
    orders = t.layout_in.orders
    spectral = t.spectral
    chunk = _CHUNK if prefers_small_blocks(out.device) else _LARGE_CHUNK
    size = max(1, chunk // (t.layout_in.padded * columns))
    if 0 < spectral < orders < spectral + size:
        layout.body(out)[:, :, spectral:].zero_()
        spectral = orders
    return [
        *((p.start, p.stop, True) for p in split_to_size(0, spectral, size)),
        *((p.start, p.stop, False) for p in split_to_size(spectral, orders, size)),
    ]


def add_local(t: Tables, z: Tensor, w_real: Tensor, w_imag: Tensor, y: Tensor) -> None:
    """Add the local branches to y for orders of the spectral branch, and overwrite y elsewhere.

    A real symbol maps the real part to the real and the imaginary to the imaginary part. An
    imaginary symbol maps the real part to the imaginary, and the imaginary to minus the real part.
    """
    if t.blocks is None:
        return
    layout_in, layout_out = t.layout_in, t.layout_out
    columns = max(w_real.shape[0], w_imag.shape[0], 1)
    chunks = _chunks(t, columns, y, layout_out)
    for b in range(z.shape[1]):
        for first, last, add in chunks:
            start = layout_in.halo + first * layout_in.padded - t.blocks.offset
            stop = layout_in.halo + last * layout_in.padded + layout_in.halo
            inner = slice(
                layout_out.halo + first * layout_out.padded,
                layout_out.halo + last * layout_out.padded,
            )
            for part in (0, 1):
                out = y[part, b, inner].view(last - first, layout_out.padded, -1)
                written = add
                if t.real is not None:
                    v = linear(z[part, b, start:stop], w_real)
                    t.real.apply(v, first, out, written, 1)
                    written = True
                if t.imag is not None:
                    v = linear(z[1 - part, b, start:stop], w_imag)
                    t.imag.apply(v, first, out, written, -1 if part == 0 else 1)


def local_backward(
    t: Tables, z: Tensor, dy: Tensor, w_real: Tensor, w_imag: Tensor, dz: Tensor
) -> tuple[Tensor, Tensor]:
    """Add the gradient of the local branches to dz, and return those of w_real and w_imag."""
    wide = torch.promote_types(z.dtype, torch.float32)  # sums over all rows and wavenumbers
    dw_real, dw_imag = torch.zeros_like(w_real, dtype=wide), torch.zeros_like(w_imag, dtype=wide)
    if t.blocks is None:
        return dw_real, dw_imag
    layout_in, layout_out = t.layout_in, t.layout_out
    columns = max(w_real.shape[0], w_imag.shape[0], 1)
    chunks = _chunks(t, columns, dz, layout_in)
    for b in range(z.shape[1]):
        for first, last, add in chunks:
            start = layout_out.halo + first * layout_out.padded - t.blocks.offset_t
            stop = layout_out.halo + last * layout_out.padded + layout_out.halo
            inner = slice(
                layout_in.halo + first * layout_in.padded, layout_in.halo + last * layout_in.padded
            )
            single = [place - first for place in t.self_conjugate if first <= place < last]
            for part in (0, 1):
                target = dz[part, b, inner]
                written = add
                for banded, w, dw, source, sign in (
                    (t.real, w_real, dw_real, part, 1),
                    (t.imag, w_imag, dw_imag, 1 - part, 1 if part == 0 else -1),
                ):
                    if banded is None:
                        continue
                    dv = z.new_empty(last - first, layout_in.padded, w.shape[0])
                    banded.apply_transposed(dy[source, b, start:stop], first, dv, sign)
                    flat = dv.view(-1, w.shape[0])
                    torch.addmm(target, flat, w, beta=float(written), out=target)
                    written = True
                    # An order m > 0 represents −m too; 0 and the Nyquist order are self-conjugate.
                    for order in single:
                        dv[order].mul_(0.5)
                    dw += channel_matmul_weight_gradient(flat, z[part, b, inner])
    return dw_real * 2, dw_imag * 2
