"""The layout in which every branch is a batched matrix product, and those products.

A field (b, c, h, w) becomes Z (2, b, rows, c): real and imaginary part first, then for each
wavenumber its nlat rows one after another, channels innermost. Mixing channels is then one large
matrix product, and the rows of a wavenumber are a matrix for the products over latitude. Rows are
padded per wavenumber to a multiple of the row block, and `halo` rows stand before the first and
after the last wavenumber, so that the overlapping windows of a banded product are a view with one
stride: what they reach beyond their wavenumber meets zeros of the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Where the rows of each wavenumber lie in the layout.

    Attributes:
        nlat: rows of the grid.
        nlon: columns of the grid.
        orders: wavenumbers kept.
        padded: rows per wavenumber, at least nlat; those beyond nlat are zero.
        halo: rows before the first and after the last wavenumber.
    """

    nlat: int
    nlon: int
    orders: int
    padded: int
    halo: int

    @property
    def total(self) -> int:
        """Rows of all wavenumbers and both halos."""
        return self.orders * self.padded + 2 * self.halo

    def body(self, z: Tensor) -> Tensor:
        """The rows of the grid in z (..., total, c), as a view (..., orders, nlat, c)."""
        inner = z[..., self.halo : self.total - self.halo, :]
        return inner.unflatten(-2, (self.orders, self.padded))[..., : self.nlat, :]


def to_wavenumbers(x: Tensor, rows: Rows) -> Tensor:
    """Fourier transform of the rows of x (b, c, h, w), unitary, in the layout (2, b, rows, c)."""
    spectrum = torch.fft.rfft(x, dim=-1, norm="ortho")[..., : rows.orders]  # (b, c, h, m)
    b, c = x.shape[:2]
    z = x.new_empty(2, b, rows.total, c)
    if rows.halo:
        z[:, :, : rows.halo].zero_()
        z[:, :, rows.total - rows.halo :].zero_()
    if rows.padded > rows.nlat:
        inner = z[:, :, rows.halo : rows.total - rows.halo]
        inner.unflatten(2, (rows.orders, rows.padded))[:, :, :, rows.nlat :].zero_()
    body = rows.body(z)  # (2, b, m, h, c)
    body.copy_(torch.view_as_real(spectrum).permute(4, 0, 3, 2, 1))
    return z


def to_rows(y: Tensor, rows: Rows) -> Tensor:
    """Inverse of `to_wavenumbers`: y (2, b, rows, c) to a field (b, c, h, w)."""
    real, imag = rows.body(y)  # (b, m, h, c) each
    spectrum = torch.complex(real, imag).permute(0, 3, 2, 1).contiguous()  # (b, c, h, m)
    return torch.fft.irfft(spectrum, n=rows.nlon, dim=-1, norm="ortho")


def mix(a: Tensor, weight: Tensor) -> Tensor:
    """Matrix product a (..., c) with weight (o, c): (..., o).

    In float32 on a CPU oneDNN's product is two to three times as fast as the BLAS behind
    `torch.matmul` for these tall, narrow matrices.
    """
    if _onednn(a):
        flat = a.reshape(-1, a.shape[-1])
        out = torch.ops.mkldnn._linear_pointwise(flat, weight, None, "none", [], "")
        return out.view(*a.shape[:-1], len(weight))
    return torch.matmul(a, weight.mT)


def mixed_outer(a: Tensor, b: Tensor) -> Tensor:
    """Sum over rows of the outer products of a (rows, c) and b (rows, o): (c, o)."""
    if _onednn(a):
        out = torch.ops.mkldnn._linear_pointwise(
            a.t(), b.t().contiguous() if a.shape[0] < 64 else b.t(), None, "none", [], ""
        )
        return out
    return a.t() @ b


def _onednn(a: Tensor) -> bool:
    return a.device.type == "cpu" and a.dtype == torch.float32 and _HAS_ONEDNN and a.numel() > 0


_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)
